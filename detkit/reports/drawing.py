"""Boxes with labels drawn into an image, readable on any background and at any size."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Color = tuple[int, int, int]  # RGB, 0..255
Point = tuple[int, int]  # (x, y) px

LEGEND_WIDTH = 360  # px, that a legend has at least: a smaller image gets a margin
LEGEND_GROUND = (32, 34, 40)  # RGB

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class LegendEntry:
    """A kind of box, or with no colour a text alone."""

    text: str
    color: Color | None = None
    dashed: bool = False
    thin: bool = False


def draw_boxes(
    image: Pixels,
    boxes: npt.ArrayLike,
    texts: Sequence[str],
    colors: Sequence[Color],
    dashed: bool | Sequence[bool] = False,
) -> Pixels:
    """A copy of the image with one box, label ("" for none) and colour a row of `boxes` (N, 4); later rows on top.

    Lines and letters grow with the image. Labels are drawn after all boxes and moved inside the image.
    """
    dashes = [dashed] * len(texts) if isinstance(dashed, bool) else dashed
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    counts = {"boxes": len(corners), "texts": len(texts), "colors": len(colors), "dashed": len(dashes)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"{counts}: expected as many of each; give every box its text and colour")
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    thickness = max(1, round(max(height, width) / 250))
    limits = np.array([width - 1, height - 1] * 2)
    places = np.rint(corners.clip(0, limits)).astype(int).tolist()
    for (x1, y1, x2, y2), color, is_dashed in zip(places, colors, dashes, strict=True):
        for line_color, line_width in ((_BLACK, thickness + 2), (color, thickness)):  # a dark rim shows on any ground
            _draw_rectangle(canvas, (x1, y1), (x2, y2), line_color, line_width, is_dashed)
    for (x1, y1, _, _), text, color in zip(places, texts, colors, strict=True):
        if text:
            _draw_label(canvas, (x1, y1), text, color)
    return canvas


def with_legend(image: Pixels, entries: Sequence[LegendEntry]) -> Pixels:
    """The image above a dark strip that tells what its boxes mean, in as many lines as that takes."""
    height, width = image.shape[:2]
    full_width = max(width, LEGEND_WIDTH)
    scale = max(0.42, max(height, full_width) / 1500)
    stroke, line_height = max(1, round(scale * 1.4)), round(scale * 46)
    swatch, gap = round(scale * 44), round(scale * 20)  # px
    places: list[tuple[LegendEntry, Point]] = []
    x, lines = gap, 1
    for entry in entries:
        needed = _text_width(entry.text, scale, stroke) + (swatch + gap // 2 if entry.color else 0)
        if x > gap and x + needed + gap > full_width:
            x, lines = gap, lines + 1
        places.append((entry, (x, lines * line_height - line_height // 2)))
        x += needed + gap
    strip = np.empty((lines * line_height + gap // 2, full_width, 3), dtype=np.uint8)
    strip[:] = LEGEND_GROUND
    for entry, (left, middle) in places:
        if entry.color is not None:
            half, thickness = round(scale * 11), 1 if entry.thin else max(2, round(scale * 4))
            corners = (left, middle - half), (left + swatch, middle + half)
            _draw_rectangle(strip, *corners, entry.color, thickness, entry.dashed)
            left += swatch + gap // 2
        bottom = middle + round(scale * 10)
        cv2.putText(strip, entry.text, (left, bottom), _FONT, scale, _WHITE, stroke, cv2.LINE_AA)
    whole = np.empty((height + len(strip), full_width, 3), dtype=np.uint8)
    whole[:] = LEGEND_GROUND
    whole[:height, :width], whole[height:] = image, strip
    return whole


def _text_width(text: str, scale: float, stroke: int) -> int:
    return int(cv2.getTextSize(text, _FONT, scale, stroke)[0][0])


def _draw_rectangle(canvas: Pixels, start: Point, end: Point, color: Color, thickness: int, dashed: bool) -> None:
    (x1, y1), (x2, y2) = start, end
    if not dashed:
        cv2.rectangle(canvas, start, end, color, thickness, cv2.LINE_AA)
        return
    dash = max(6, max(canvas.shape[:2]) // 50)
    for x in range(x1, x2, 2 * dash):
        for y in (y1, y2):
            cv2.line(canvas, (x, y), (min(x + dash, x2), y), color, thickness, cv2.LINE_AA)
    for y in range(y1, y2, 2 * dash):
        for x in (x1, x2):
            cv2.line(canvas, (x, y), (x, min(y + dash, y2)), color, thickness, cv2.LINE_AA)


def _draw_label(canvas: Pixels, corner: Point, text: str, color: Color) -> None:
    """The text on a plate of the box's colour: above the corner where there is room, else below it."""
    height, width = canvas.shape[:2]
    scale = max(0.35, max(height, width) / 1000)
    stroke = max(1, round(scale * 1.6))
    text = _shortened(text, scale, stroke, width - 4)
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, stroke)
    plate_width, plate_height = text_width + 4, text_height + baseline + 2
    left = max(0, min(corner[0], width - plate_width))
    top = corner[1] - plate_height if corner[1] >= plate_height else corner[1]
    top = max(0, min(top, height - plate_height))
    cv2.rectangle(canvas, (left, top), (left + plate_width, top + plate_height), color, cv2.FILLED)
    ink = _BLACK if np.dot(color, (0.299, 0.587, 0.114)) > 140 else _WHITE  # Rec. 601 luma
    cv2.putText(canvas, text, (left + 2, top + text_height + 1), _FONT, scale, ink, stroke, cv2.LINE_AA)


def _shortened(text: str, scale: float, stroke: int, max_width: int) -> str:
    while len(text) > 1 and cv2.getTextSize(text, _FONT, scale, stroke)[0][0] > max_width:
        text = text.removesuffix("..")[:-1] + ".."
        if len(text) <= 3:
            break
    return text


def class_color(label: int) -> Color:
    """A colour for each class, neighbours far apart: hues a golden angle apart, strong enough on any image."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.381966 % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
