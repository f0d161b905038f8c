"""Boxes with labels drawn into an image, readable on any background and at any size."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Color = tuple[int, int, int]  # RGB, 0..255
Point = tuple[int, int]  # (x, y) px

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


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
