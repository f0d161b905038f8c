"use strict";
// Images with boxes over them, as elements: what gallery.js builds its tiles and its large view from.
// Names from the data set are put in as text only, never as HTML: anyone may have written them.

// Boxes are stored in tenths of a px, one after the other.
function boxOf(flat, row) {
  const [x1, y1, x2, y2] = flat.slice(4 * row, 4 * row + 4).map((tenths) => tenths / 10);
  return { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
}

function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function dot(color) {
  const made = make("i", undefined, "dot");
  made.style.background = color;
  return made;
}

// `drawn` has the boxes of one image: {box, color, dashed, faint, strong, text}, the last on top; `line` is in px of the screen.
function makeImage(images, image, drawn, line) {
  const [width, height] = [images.width[image], images.height[image]];
  const svg = svgNode("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  if (!images.with_thumbnail[image]) svg.append(svgNode("rect", { width, height, class: "blank" }));
  for (const one of drawn) {
    for (const [color, extra] of [["#000", 2], [one.color, 0]]) { // a dark rim shows on any ground
      const look = { ...one.box, stroke: color, "stroke-width": line + extra + (one.strong ? 1.5 : 0) };
      if (one.dashed) look["stroke-dasharray"] = "7 6";
      if (one.faint) look.opacity = 0.6;
      svg.append(svgNode("rect", look));
    }
  }
  for (const one of drawn.filter((box) => box.text)) svg.append(makeLabel(one, width));
  if (!images.with_thumbnail[image]) return [svg];
  const thumbnail = make("img");
  thumbnail.loading = "lazy";
  thumbnail.alt = "";
  thumbnail.src = `report_files/images/${image}.jpg`;
  return [thumbnail, svg];
}

function makeLabel(one, width) {
  const size = width / 65;
  const y = one.box.y > 1.4 * size ? one.box.y - 0.35 * size : one.box.y + 1.1 * size;
  const isAtRight = one.box.x + 0.65 * size * one.text.length > width;
  const x = isAtRight ? Math.min(width, one.box.x + one.box.width) : Math.max(0, one.box.x);
  const label = svgNode("text", { x, y, "font-size": size, fill: one.color, "text-anchor": isAtRight ? "end" : "start" });
  label.textContent = one.text;
  return label;
}

function svgNode(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
