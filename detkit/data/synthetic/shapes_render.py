"""Draws the built-in shapes set: silhouettes of seven classes, textures for objects and backgrounds, light and grain.

A field is (H, W) float32 in 0..1, a texture before it has colours. A canvas is (H, W, 3) float32 RGB in 0..1.
A class has an outline, a kind of texture and a hue; size, rotation, stretch, shades and light are random for every
object, and grey images have no hue.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

CLASSES = ("crescent", "cross", "disc", "ring", "square", "star", "triangle")
FIELDS = ("noise", "gradient", "stripes", "checker", "blotches", "dots", "cells")
SUPERSAMPLING = 4  # silhouettes are drawn this much larger and averaged down: smooth edges
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, what OpenCV's RGB -> grey uses
CLEAR_CONTRAST = 30.0  # CIELAB distance between an object and what lies under it; 2 is just visible


@dataclass(frozen=True)
class Style:
    """What all of one image shares."""

    grey: bool
    light: tuple[float, float]  # unit vector (x, y) towards the light
    shadow: float  # how dark cast shadows are, 0..1


def draw_style(grey: bool, rng: Generator) -> Style:
    angle = rng.uniform(0, 2 * np.pi)
    return Style(grey, (float(np.cos(angle)), float(np.sin(angle))), float(rng.uniform(0.1, 0.5)))


@dataclass(frozen=True)
class Dress:
    """What an object is covered with."""

    texture: str
    hue: float  # degrees


def dress(name: str) -> Dress:
    """What objects of a class wear: minutes of training on a CPU are not enough to tell seven outlines apart."""
    label = CLASSES.index(name)
    return Dress(FIELDS[label], 360 * label / len(CLASSES))


# Silhouettes


def _floats(rows: ArrayLike) -> Floats:
    return np.array(rows, np.float32)


def _arc(radius: float, start: float, stop: float) -> Floats:
    angles = np.linspace(start, stop, 64)
    return (radius * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)


def _outline(name: str, rng: Generator) -> list[Floats]:
    """Closed contours (P, 2) around the origin; where two overlap there is a hole."""
    match name:
        case "disc":
            return [_arc(1.0, 0, 2 * np.pi)]
        case "ring":
            return [_arc(1.0, 0, 2 * np.pi), _arc(rng.uniform(0.5, 0.7), 0, 2 * np.pi)]
        case "crescent":  # a half circle closed by a flatter arc: half an ellipse
            half = _arc(1.0, -np.pi / 2, np.pi / 2)
            return [np.concatenate([half, half[::-1] * _floats([rng.uniform(0.2, 0.5), 1.0])])]
        case "square":
            return [_arc(1.0, 0, 2 * np.pi)[[0, 16, 32, 47]].round()]
        case "triangle":
            return [_floats([(0.0, -1.0), (0.9, 0.6), (-0.9, 0.6)])]
        case "star":
            radii = np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
            angles = np.arange(10) * np.pi / 5
            return [np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1).astype(np.float32)]
        case "cross":
            a = rng.uniform(0.25, 0.38)
            corners = [(a, a), (1, a), (1, -a), (a, -a), (a, -1), (-a, -1)]
            return [_floats(corners + [(-x, -y) for x, y in corners])]
        case _:
            raise ValueError(f"shape {name!r}: expected one of {', '.join(CLASSES)}")


def silhouette(name: str, size: float, rng: Generator) -> Floats:
    """A random instance of a class as coverage 0..1, cropped to a margin of a pixel; its longer side is `size` px."""
    turn, skew = (_rotation(rng.uniform(0, 2 * np.pi)) for _ in range(2))
    stretch = np.diag([1.0, rng.uniform(0.8, 1.0)]).astype(np.float32)
    contours = [contour @ (turn @ stretch @ skew) for contour in _outline(name, rng)]
    low = np.min([contour.min(0) for contour in contours], 0)
    extent = np.max([contour.max(0) for contour in contours], 0) - low
    scale = size / extent.max()
    width, height = (np.ceil(extent * scale) + 2).astype(int)
    mask = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    points = [(((contour - low) * scale + 1) * SUPERSAMPLING).round().astype(np.int32) for contour in contours]
    cv2.fillPoly(mask, points, 255)
    alpha = cv2.resize(mask, (int(width), int(height)), interpolation=cv2.INTER_AREA).astype(np.float32)
    return alpha / np.float32(255)


def _rotation(angle: float) -> Floats:
    return _floats([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])


# Textures


def _noise(height: int, width: int, cell: float, rng: Generator, octaves: int = 3) -> Floats:
    """Value noise: random grids, enlarged smoothly and added, each twice as fine and half as strong as the last."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        grid = rng.random((int(height / step) + 2, int(width / step) + 2), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return _to_unit_range(total)


def _to_unit_range(field: Floats) -> Floats:
    scaled: Floats = (field - field.min()) / max(float(np.ptp(field)), 1e-6)
    return scaled


def _field(kind: str, height: int, width: int, period: float, rng: Generator) -> Floats:
    """A texture of about `period` px to the repeat, turned at random and bent a little by noise."""
    noise = _noise(height, width, 2 * period, rng)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    bend = rng.uniform(0, 0.6) * period * noise
    u = (x * np.cos(angle) + y * np.sin(angle) + bend).astype(np.float32) / np.float32(period)
    v = (y * np.cos(angle) - x * np.sin(angle) + bend).astype(np.float32) / np.float32(period)
    match kind:
        case "noise":
            field = noise
        case "gradient":
            field = _to_unit_range(u)
        case "stripes":
            field = _soften(np.sin(2 * np.pi * u), rng)
        case "checker":
            field = _soften(np.sin(np.pi * u) * np.sin(np.pi * v), rng)
        case "blotches":
            field = np.floor(noise * 4).astype(np.float32) / np.float32(3)
        case "dots":
            field = _soften(np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v) - 0.8, rng)
        case "cells":
            field = _cells(height, width, 1.5 * period, rng)
        case _:
            raise ValueError(f"texture {kind!r}: expected one of {', '.join(FIELDS)}")
    return np.clip(0.85 * field + 0.15 * noise, 0, 1).astype(np.float32)


def _soften(wave: Floats, rng: Generator) -> Floats:
    """A wave around 0 as steps of 0 and 1 with edges between blurred and sharp."""
    softened: Floats = 0.5 + 0.5 * np.tanh(rng.uniform(0.8, 5.0) * wave)
    return softened


def _cells(height: int, width: int, cell: float, rng: Generator) -> Floats:
    """Irregular paving: every stone has its own tone and a dark joint around it."""
    rows, columns = int(height / cell) + 2, int(width / cell) + 2
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    seeds = np.clip((grid + rng.uniform(-0.5, 0.5, grid.shape)) * cell, 0, [width - 1, height - 1]).astype(int)
    joints = np.full((height, width), 255, np.uint8)
    joints[seeds[:, 1], seeds[:, 0]] = 0
    distance, owner = cv2.distanceTransformWithLabels(joints, cv2.DIST_L2, 5)
    tones = rng.random(int(owner.max()) + 1, np.float32)[owner]
    paving: Floats = (0.35 + 0.65 * tones) * np.clip(1.25 - distance / cell, 0.2, 1)
    return paving


# Colours


def _colours(
    count: int, hue: float, saturation: tuple[float, float], spread: float, style: Style, rng: Generator
) -> Floats:
    """RGB colours about a hue, dark to light: (count, 3). `spread` is how far their HSV values lie apart."""
    middle = rng.uniform(0.25 + spread / 2, 0.95 - spread / 2)
    hsv = np.zeros((count, 3), np.float32)
    hsv[:, 0] = (hue + rng.uniform(-20, 20, count)) % 360
    hsv[:, 1] = 0.0 if style.grey else rng.uniform(*saturation, count)
    hsv[:, 2] = np.linspace(middle - spread / 2, middle + spread / 2, count)
    return _convert(hsv, cv2.COLOR_HSV2RGB)


def _convert(colours: Floats, code: int) -> Floats:
    """The colours (count, 3) in another colour space."""
    converted: Floats = cv2.cvtColor(colours[None], code)[0].astype(np.float32)
    return converted


def _colours_against(under: Floats, hue: float, style: Style, rng: Generator) -> Floats:
    """Colours about a hue that stand out from the RGB (3,) under the object: the first clear draw of 8, or the best."""
    best, most = np.zeros((2, 3), np.float32), -1.0
    for _ in range(8):
        colours = _colours(2, hue, (0.3, 0.95), rng.uniform(0.2, 0.6), style, rng)
        lab = _convert(np.stack([colours.mean(0), under]), cv2.COLOR_RGB2Lab)
        contrast = float(np.linalg.norm(lab[0] - lab[1]))
        if contrast > most:
            best, most = colours, contrast
        if contrast >= CLEAR_CONTRAST:
            break
    return best


def _coloured(field: Floats, colours: Floats) -> Floats:
    """The field as (H, W, 3): 0 is the first colour, 1 the last, linear between."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(field, stops, colours[:, c]) for c in range(3)], -1).astype(np.float32)


# Painting


def background(height: int, width: int, style: Style, rng: Generator) -> Floats:
    """A textured canvas with uneven light and clutter that belongs to no class."""
    kind = FIELDS[rng.integers(len(FIELDS))]
    field = _field(kind, height, width, rng.uniform(12, 70), rng)
    canvas = _coloured(field, _colours(3, rng.uniform(0, 360), (0.05, 0.55), rng.uniform(0.1, 0.4), style, rng))
    canvas *= 0.75 + 0.5 * _field("gradient", height, width, 100.0, rng)[..., None]
    for _ in range(rng.integers(0, 8)):
        _paint_clutter(canvas, style, rng)
    return canvas


def _paint_clutter(canvas: Floats, style: Style, rng: Generator) -> None:
    """A bent stroke or a ragged patch in the colours of a background."""
    height, width = canvas.shape[:2]
    reach = rng.uniform(0.1, 0.45) * min(height, width)
    centre = rng.uniform(0, [width, height])
    mask = np.zeros((height, width), np.uint8)
    if rng.random() < 0.5:
        steps = rng.normal(0, 1, (12, 2)).cumsum(0)  # a random walk, smoothed
        points = centre + cv2.GaussianBlur(steps, (1, 5), 1.0) * reach / 3
        points = points.astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(mask, [points], False, 255, int(rng.integers(1, 5)), cv2.LINE_AA)
    else:
        y, x = np.ogrid[:height, :width]
        distance = np.hypot(x - centre[0], y - centre[1]) / reach
        mask[distance + 1.6 * _noise(height, width, reach / 2, rng) < 1.3] = 255
        mask = cv2.GaussianBlur(mask, (0, 0), 0.7).astype(np.uint8)
    alpha = mask[..., None].astype(np.float32) / 255 * np.float32(rng.uniform(0.4, 0.9))
    canvas += alpha * (_colours(1, rng.uniform(0, 360), (0.05, 0.55), 0.0, style, rng)[0] - canvas)


def paint(canvas: Floats, alpha: Floats, x: int, y: int, worn: Dress, style: Style, rng: Generator) -> None:
    """Put an object with the silhouette `alpha`, its upper left at (x, y) px, on the canvas, with its shadow."""
    size = max(alpha.shape)
    pad = size // 4 + 2  # room for the shadow
    alpha = np.pad(alpha, pad)
    x, y = x - pad, y - pad
    top, left = max(-y, 0), max(-x, 0)
    bottom, right = min(alpha.shape[0], canvas.shape[0] - y), min(alpha.shape[1], canvas.shape[1] - x)
    ground = canvas[y + top : y + bottom, x + left : x + right]  # a view: painting here changes the canvas
    here = (slice(top, bottom), slice(left, right))
    inside = alpha[here] > 0.5
    colours = _colours_against(ground[inside].mean(0), worn.hue, style, rng)
    surface = _surface(alpha, worn.texture, colours, style, rng)
    shift = _floats([(1, 0, -style.light[0] * size * 0.07), (0, 1, -style.light[1] * size * 0.07)])
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, alpha.shape[::-1]), (0, 0), 0.5 + size * 0.03)
    ground *= 1 - style.shadow * shadow[here][..., None]
    ground += alpha[here][..., None] * (surface[here] - ground)


def _surface(alpha: Floats, texture: str, colours: Floats, style: Style, rng: Generator) -> Floats:
    """The texture with light on its face and on its rounded edges: (h, w, 3)."""
    height, width = alpha.shape
    size = max(height, width)
    surface = _coloured(_field(texture, height, width, rng.uniform(0.12, 0.5) * size, rng), colours)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light_x, light_y = style.light
    relief = cv2.GaussianBlur(alpha, (0, 0), 0.6 + 0.03 * size)
    slope = light_x * cv2.Sobel(relief, cv2.CV_32F, 1, 0) + light_y * cv2.Sobel(relief, cv2.CV_32F, 0, 1)
    shade = 1 + 0.2 * (x * light_x + y * light_y) - rng.uniform(0.0, 0.012) * size * slope
    light: Floats = np.clip(shade, 0.4, 1.6)[..., None].astype(np.float32)
    return surface * light


def develop(canvas: Floats, style: Style, rng: Generator) -> NDArray[np.uint8]:
    """The canvas as a camera would give it, a little soft and grainy: (H, W, 3) RGB, or (H, W) if grey."""
    soft = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.2, 0.8))
    grain = rng.normal(0, rng.uniform(0.005, 0.035), (*soft.shape[:2], 1))
    pixels = np.clip((soft + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
    return (pixels @ LUMA + 0.5).astype(np.uint8) if style.grey else pixels
