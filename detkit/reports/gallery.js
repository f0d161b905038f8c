"use strict";
// The gallery: filters the entries of data.js, shows them as tiles, and one image at a time in a larger view.
(() => {
  const AT_ONCE = 60; // tiles
  const OBJECT = "#ffd63c";
  const element = (name) => document.getElementById("gallery-" + name);
  const data = window.detkitGallery;
  if (!data) {
    element("count").textContent = "report_files/data.js is not beside this page: keep the page and that folder together.";
    return;
  }
  const { classes, kinds, notes, images, objects, entries } = data;
  const area = entries.kind.map((_, row) => {
    const at = entries.score[row] < 0 ? boxOf(objects.box, entries.object[row]) : boxOf(entries.box, row);
    return at.width * at.height;
  });

  // The filter, as the address has it after "#": kind, class, min, max, sort, find, open.
  const START = { kind: data.start, class: "", min: "", max: "", sort: "score", find: "", open: "" };
  let state = { ...START };
  let shown = []; // rows of the entries that pass the filter, in order
  let numTiles = 0;

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    state = { ...START };
    for (const key of Object.keys(START)) if (given.has(key)) state[key] = given.get(key);
    if (state.class && !classes.includes(state.class)) state.class = "";
    if (!chips.has(state.kind)) state.kind = data.start;
    if (!ORDERS[state.sort]) state.sort = "score";
    for (const key of ["class", "min", "max", "sort", "find"]) element(key).value = state[key];
  }

  function writeAddress() {
    const changed = Object.entries(state).filter(([key, value]) => value !== START[key] || key === "kind");
    const address = "#" + new URLSearchParams(changed);
    if (address !== location.hash) location.replace(address); // replaceState is refused to some local files
  }

  const ORDERS = {
    score: (a, b) => entries.score[b] - entries.score[a] || a - b,
    unsure: (a, b) => (entries.score[a] < 0) - (entries.score[b] < 0) || entries.score[a] - entries.score[b] || a - b,
    large: (a, b) => area[b] - area[a] || a - b,
    small: (a, b) => area[a] - area[b] || a - b,
  };

  function applyFilter() {
    const label = state.class === "" ? -1 : classes.indexOf(state.class);
    const least = state.min === "" ? -Infinity : Number(state.min);
    const most = state.max === "" ? Infinity : Number(state.max);
    const wanted = state.find.trim().toLowerCase();
    const matches = wanted ? images.id.map((id) => id.toLowerCase().includes(wanted)) : null;
    const counts = kinds.map(() => 0);
    const isChosen = kinds.map((kind) => state.kind === "all" || kind.key === state.kind || kind.group === state.kind);
    shown = [];
    for (let row = 0; row < entries.kind.length; row++) {
      const score = entries.score[row];
      if (label >= 0 && entries.label[row] !== label) continue;
      if (score >= 0 && (score < least || score > most)) continue; // objects without a detection have no score
      if (matches && !matches[entries.image[row]]) continue;
      counts[entries.kind[row]]++;
      if (isChosen[entries.kind[row]]) shown.push(row);
    }
    shown.sort(ORDERS[state.sort]);
    showChips(counts);
    const numImages = new Set(shown.map((row) => entries.image[row])).size;
    element("count").textContent = shown.length
      ? `${shown.length.toLocaleString("en")} in ${numImages.toLocaleString("en")} images. ${meaning()}`
      : "Nothing is left by this filter.";
    element("tiles").replaceChildren();
    numTiles = 0;
    showMore();
  }

  function meaning() {
    const kind = kinds.find((one) => one.key === state.kind);
    return kind ? kind.meaning : "";
  }

  // Kinds, as buttons.
  const chips = new Map(); // key: {button, number, includes}
  function makeChips() {
    const groups = [...new Set(kinds.map((kind) => kind.group))];
    const whole = groups.filter((group) => kinds.filter((kind) => kind.group === group).length > 1);
    const all = { key: "all", name: "all", has: () => true };
    const ofGroups = whole.map((group) => ({ key: group, name: group + " (all)", has: (kind) => kind.group === group }));
    const single = kinds.map((one) => ({ key: one.key, name: one.name, color: one.color, has: (kind) => kind === one }));
    for (const choice of [all, ...ofGroups, ...single]) {
      const button = make("button", undefined, "chip");
      button.type = "button";
      if (choice.color) button.append(dot(choice.color));
      const number = make("span", "", "quiet");
      button.append(choice.name + " ", number);
      button.addEventListener("click", () => change("kind", choice.key));
      chips.set(choice.key, { button, number, has: choice.has });
      element("kinds").append(button);
    }
  }

  function showChips(counts) {
    for (const [key, chip] of chips) {
      const sum = kinds.reduce((total, kind, index) => total + (chip.has(kind) ? counts[index] : 0), 0);
      chip.number.textContent = sum.toLocaleString("en");
      chip.button.setAttribute("aria-pressed", String(key === state.kind));
    }
  }

  // Tiles.
  function showMore() {
    const next = shown.slice(numTiles, numTiles + AT_ONCE);
    element("tiles").append(...next.map((row, index) => makeTile(row, numTiles + index)));
    numTiles += next.length;
    const left = shown.length - numTiles;
    element("more").hidden = left <= 0;
    element("more").textContent = `Show ${Math.min(AT_ONCE, left)} more of ${left.toLocaleString("en")}`;
  }

  function makeTile(row, place) {
    const tile = make("figure", undefined, "card tile");
    const button = make("button", undefined, "image");
    button.type = "button";
    button.setAttribute("aria-label", "enlarge " + describe(row) + " in image " + images.id[entries.image[row]]);
    button.append(...makeImage(images, entries.image[row], drawingOf(row), 2));
    button.addEventListener("click", () => openView(place));
    const caption = make("figcaption");
    const kind = kinds[entries.kind[row]];
    const name = make("span", kind.name, "kind");
    name.prepend(dot(kind.color));
    caption.append(name, " " + describe(row), make("br"), make("span", images.id[entries.image[row]], "quiet"));
    tile.append(button, caption);
    return tile;
  }

  function describe(row) {
    const parts = [classes[entries.label[row]]];
    if (entries.score[row] >= 0) parts.push("score " + entries.score[row].toFixed(2));
    if (entries.iou[row] > 0) parts.push("IoU " + entries.iou[row].toFixed(2));
    const object = entries.object[row];
    if (object >= 0 && objects.label[object] !== entries.label[row]) parts.push("object: " + classes[objects.label[object]]);
    if (entries.score[row] < 0 && object >= 0) {
      const box = boxOf(objects.box, object);
      parts.push(`${Math.round(box.width)} × ${Math.round(box.height)} px`);
    }
    if (entries.note[row] >= 0) parts.push(notes[entries.note[row]]);
    return parts.join(", ");
  }

  function drawingOf(row) {
    const drawn = [];
    if (entries.score[row] >= 0) drawn.push({ box: boxOf(entries.box, row), color: kinds[entries.kind[row]].color });
    if (entries.object[row] >= 0) drawn.push({ box: boxOf(objects.box, entries.object[row]), color: OBJECT, dashed: true });
    return drawn;
  }

  // One image, larger, with all its boxes.
  let place = -1; // into shown; -1: an image that was asked for by id alone
  let image = 0;
  const byImage = new Map(); // image: its entries
  entries.image.forEach((one, row) => byImage.has(one) ? byImage.get(one).push(row) : byImage.set(one, [row]));
  const hidden = new Set(); // groups of kinds

  function openView(at) {
    place = at;
    image = entries.image[shown[at]];
    state.open = images.id[image];
    writeAddress();
    showView();
    if (!element("view").open) element("view").showModal();
  }

  function openAsked() {
    const asked = images.id.indexOf(state.open);
    if (asked < 0) return;
    const at = shown.findIndex((row) => entries.image[row] === asked);
    if (at >= 0) return openView(at);
    [place, image] = [-1, asked];
    showView();
    if (!element("view").open) element("view").showModal();
  }

  function showView() {
    const chosen = place < 0 ? -1 : shown[place];
    const rows = (byImage.get(image) || []).filter((row) => !hidden.has(kinds[entries.kind[row]].group) || row === chosen);
    const drawn = hidden.has("objects") ? [] : objectsOf(image);
    for (const row of rows.filter((one) => entries.score[one] < 0)) {
      drawn.push({ box: boxOf(objects.box, entries.object[row]), color: OBJECT, dashed: true });
    }
    for (const row of rows.filter((one) => entries.score[one] >= 0).reverse()) { // the surest on top
      const kind = kinds[entries.kind[row]];
      const text = `${classes[entries.label[row]]} ${entries.score[row].toFixed(2)}`;
      drawn.push({ box: boxOf(entries.box, row), color: kind.color, strong: row === chosen, text });
    }
    if (chosen >= 0 && entries.object[chosen] >= 0) {
      const object = entries.object[chosen];
      const text = entries.score[chosen] < 0 ? classes[objects.label[object]] : "";
      drawn.push({ box: boxOf(objects.box, object), color: OBJECT, dashed: true, strong: true, text });
    }
    element("large").replaceChildren(...makeImage(images, image, drawn, 2.2));
    element("large").style.aspectRatio = `${images.width[image]} / ${images.height[image]}`;
    element("large").style.setProperty("--ratio", images.width[image] / images.height[image]);
    element("title").textContent = images.id[image];
    element("place").textContent = place < 0 ? "" : `${(place + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
    element("list").replaceChildren(...rows.map((row) => {
      const item = make("li", undefined, row === chosen ? "chosen" : "");
      const kind = kinds[entries.kind[row]];
      item.append(dot(kind.color), kind.name + ": " + describe(row));
      return item;
    }));
    element("previous").disabled = place <= 0;
    element("next").disabled = place < 0 || place >= shown.length - 1;
  }

  function objectsOf(one) {
    const first = images.firstObject[one];
    return Array.from({ length: images.objects[one] }, (_, index) => {
      const row = first + index;
      return { box: boxOf(objects.box, row), color: objects.ignore[row] ? "#b0b4bc" : OBJECT, dashed: true, faint: true };
    });
  }

  function step(by) {
    if (place >= 0 && place + by >= 0 && place + by < shown.length) openView(place + by);
  }

  function makeToggles() {
    for (const group of ["objects", ...new Set(kinds.map((kind) => kind.group))]) {
      const label = make("label");
      const box = make("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(group); else hidden.add(group);
        showView();
      });
      label.append(box, " " + group);
      element("toggles").append(label);
    }
  }

  function change(key, value) {
    state[key] = value;
    writeAddress();
    applyFilter();
  }

  // Start.
  for (const name of [...classes].sort((a, b) => a.localeCompare(b))) {
    const option = make("option", name);
    option.value = name;
    element("class").append(option);
  }
  makeChips();
  makeToggles();
  for (const key of ["class", "sort"]) element(key).addEventListener("change", (event) => change(key, event.target.value));
  for (const key of ["min", "max", "find"]) element(key).addEventListener("input", (event) => change(key, event.target.value));
  element("form").addEventListener("submit", (event) => event.preventDefault());
  element("reset").addEventListener("click", () => { state = { ...START }; writeAddress(); readAddress(); applyFilter(); });
  element("more").addEventListener("click", showMore);
  element("previous").addEventListener("click", () => step(-1));
  element("next").addEventListener("click", () => step(1));
  element("close").addEventListener("click", () => element("view").close());
  element("view").addEventListener("close", () => { state.open = ""; writeAddress(); });
  element("view").addEventListener("click", (event) => { if (event.target === element("view")) element("view").close(); });
  element("view").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  window.addEventListener("hashchange", () => {
    const before = JSON.stringify(state);
    if (!location.hash.includes("=")) return; // a place on the page
    readAddress();
    if (JSON.stringify(state) === before) return; // our own writing
    applyFilter();
    if (state.open) openAsked(); else element("view").close();
    element("form").scrollIntoView(); // a link of the page's other parts was followed
  });
  readAddress();
  applyFilter();
  openAsked();
  if (location.hash.includes("=")) element("form").scrollIntoView();
})();
document.documentElement.dataset.ready = "true";
