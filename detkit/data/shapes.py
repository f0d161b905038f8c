"""The built-in data set: rendered scenes of seven kinds of object, written as a PASCAL VOC folder.

It needs no download, trains in minutes on a CPU and has what real sets have: clutter, occlusion, truncation, difficult
objects, pictures without objects, grey pictures and files that are not JPEG. Picture `index` depends on nothing but
the seed, the index and the size ranges. A box is the extent of an object's visible part, as in VOC.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from detkit.console import track
from detkit.data.shapes_render import CLASSES, Bools, Floats, background, develop, draw_look, paint, silhouette

SPLITS = ("train", "val", "test")
COUNTS: Mapping[str, int] = MappingProxyType({"train": 400, "val": 60, "test": 120})
LONG_SIDES = (220, 300)  # px, of pictures
OBJECT_SIZES = (16, 180)  # px, longer side of a whole object
DRAWING = 1  # raise it when the same parameters come to give other pictures

ASPECTS = (1.0, 1.25, 4 / 3, 1.5)  # long side / short side
DIFFICULT_BELOW = 0.3  # visible fraction of the whole object
VISIBLE_AT_LEAST = (0.8, 0.5, 0.1)  # of every object; one is drawn for a picture: from loose to crowded
SMALLEST_VISIBLE = 8  # px, either side of a box


@dataclass(frozen=True)
class Placed:
    """An object where it stands; those placed later may hide it."""

    name: str
    alpha: Floats  # (h, w) coverage of the whole object
    x: int  # px of the upper left of alpha, may be outside the picture
    y: int
    visible: Bools  # (H, W) pixels of the picture that show this object

    @property
    def whole_area(self) -> int:
        return int((self.alpha > 0.5).sum())

    @property
    def visible_fraction(self) -> float:
        return int(self.visible.sum()) / self.whole_area

    @property
    def truncated(self) -> bool:
        height, width = self.visible.shape
        ys, xs = np.nonzero(self.alpha > 0.5)
        ys, xs = ys + self.y, xs + self.x
        return bool(min(xs.min(), ys.min()) < 0 or xs.max() >= width or ys.max() >= height)

    @property
    def voc_box(self) -> tuple[int, int, int, int]:
        """Extent of the visible part, 1-based with both corners inside."""
        ys, xs = np.nonzero(self.visible)
        return int(xs.min()) + 1, int(ys.min()) + 1, int(xs.max()) + 1, int(ys.max()) + 1

    def shows(self, least: float) -> bool:
        """Whether at least this fraction is visible, and enough of it to have a box."""
        if not self.visible.any() or self.visible_fraction < least:
            return False
        x1, y1, x2, y2 = self.voc_box
        return min(x2 - x1, y2 - y1) + 1 >= SMALLEST_VISIBLE


@dataclass(frozen=True)
class Scene:
    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, or (H, W) grey
    objects: tuple[Placed, ...]


def draw_scene(
    seed: int, index: int, long_sides: tuple[int, int] = LONG_SIDES, object_sizes: tuple[int, int] = OBJECT_SIZES
) -> Scene:
    """Picture `index`. Which are grey or empty follows from the index, so that every set of 20 has both."""
    rng = np.random.default_rng([seed, index])
    long = int(rng.integers(long_sides[0], long_sides[1] + 1))
    short = round(long / ASPECTS[rng.integers(len(ASPECTS))])
    height, width = (short, long) if rng.random() < 0.7 else (long, short)
    look = draw_look(index % 20 == 9, rng)
    num_objects = 0 if index % 20 == 19 else int(rng.integers(1, 6))
    objects = _place(num_objects, height, width, object_sizes, rng)
    canvas = background(height, width, look, rng)
    for placed in objects:
        paint(canvas, placed.alpha, placed.x, placed.y, look, rng)
    return Scene(develop(canvas, look, rng), objects)


def _place(
    num_objects: int, height: int, width: int, object_sizes: tuple[int, int], rng: Generator
) -> tuple[Placed, ...]:
    """Objects in the order of painting; fewer than asked where there is no room left."""
    least_visible = VISIBLE_AT_LEAST[rng.integers(len(VISIBLE_AT_LEAST))]
    largest = min(object_sizes[1], 0.9 * min(height, width))
    objects: tuple[Placed, ...] = ()
    for _ in range(8 * num_objects):
        if len(objects) == num_objects:
            break
        size = float(np.exp(rng.uniform(np.log(object_sizes[0]), np.log(largest))))
        name = CLASSES[rng.integers(len(CLASSES))]
        candidate = _stand(name, silhouette(name, size, rng), height, width, rng)
        changed = (*(_hidden_by(candidate, placed) for placed in objects), candidate)
        if all(placed.shows(least_visible) for placed in changed):
            objects = changed
    return objects


def _stand(name: str, alpha: Floats, height: int, width: int, rng: Generator) -> Placed:
    """The object at a random place, one in five with its centre anywhere, so that the border may cut it."""
    h, w = alpha.shape
    if rng.random() < 0.2:
        x, y = int(rng.integers(-w // 2, width - w // 2)), int(rng.integers(-h // 2, height - h // 2))
    else:
        x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    visible = np.zeros((height, width), np.bool_)
    top, left = max(-y, 0), max(-x, 0)
    inside = alpha[top : height - y, left : width - x] > 0.5
    visible[y + top : y + top + inside.shape[0], x + left : x + left + inside.shape[1]] = inside
    return Placed(name, alpha, x, y, visible)


def _hidden_by(front: Placed, back: Placed) -> Placed:
    return Placed(back.name, back.alpha, back.x, back.y, back.visible & ~front.visible)


def write_shapes(
    root: Path,
    seed: int = 0,
    counts: Mapping[str, int] = COUNTS,
    long_sides: tuple[int, int] = LONG_SIDES,
    object_sizes: tuple[int, int] = OBJECT_SIZES,
) -> None:
    """Write the set into `root`, whole or not at all; a `root` that already holds this very set is left as it is.

    counts: pictures of train, val and test. long_sides, object_sizes: smallest and largest, px.
    Raises ValueError for parameters out of range, and for a `root` that holds anything else.
    """
    _check(seed, counts, long_sides, object_sizes)
    parameters = {
        "drawing": DRAWING,
        "seed": seed,
        "counts": {split: counts.get(split, 0) for split in SPLITS},
        "long_sides": list(long_sides),
        "object_sizes": list(object_sizes),
    }
    if _is_written(root, parameters):
        return
    partial = root.with_name(root.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)  # a run that was stopped
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (partial / folder).mkdir(parents=True)
    _write_image_sets(partial / "ImageSets" / "Main", counts)
    for index in track(range(sum(counts.values())), "drawing shapes"):
        _write_scene(partial, index, draw_scene(seed, index, long_sides, object_sizes))
    (partial / "shapes.json").write_text(json.dumps(parameters, indent=1) + "\n", encoding="utf-8")
    if root.exists():
        root.rmdir()  # empty, as _is_written has seen
    os.rename(partial, root)


def _check(seed: int, counts: Mapping[str, int], long_sides: tuple[int, int], object_sizes: tuple[int, int]) -> None:
    if seed < 0:
        raise ValueError(f"seed {seed}: expected 0 or more")
    for split, count in counts.items():
        if split not in SPLITS or count < 0:
            raise ValueError(f"counts[{split!r}] = {count}: expected {', '.join(SPLITS)}, each 0 or more")
    if not 64 <= long_sides[0] <= long_sides[1]:
        raise ValueError(f"long_sides {long_sides}: expected 64 <= smallest <= largest, in px")
    largest = int(0.9 * long_sides[0] / max(ASPECTS))  # what the smallest picture has room for
    if not SMALLEST_VISIBLE <= object_sizes[0] <= min(object_sizes[1], largest):
        raise ValueError(
            f"object_sizes {object_sizes}: expected {SMALLEST_VISIBLE} <= smallest <= largest in px, the smallest at most "
            f"{largest} to fit pictures of long side {long_sides[0]}"
        )


def _is_written(root: Path, parameters: Mapping[str, object]) -> bool:
    """Whether the set stands at `root`; False if nothing is there, ValueError if anything else is."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / "shapes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{root} exists and is no shapes set (it has no readable shapes.json); choose another folder")
    differences = [
        f"{key} {found.get(key)}, asked for {value}" for key, value in parameters.items() if found.get(key) != value
    ]
    if differences:
        raise ValueError(f"{root} was made with {'; '.join(differences)}; delete it or choose another folder")
    return True


def _image_id(index: int) -> str:
    return f"{index:06d}"


def _suffix(index: int) -> str:
    """Most files are JPEG; a reader must not rely on it."""
    return ".bmp" if index == 3 else ".png" if index % 25 == 12 else ".jpg"


def _write_image_sets(folder: Path, counts: Mapping[str, int]) -> None:
    ids: dict[str, list[str]] = {}
    start = 0
    for split in SPLITS:
        stop = start + counts.get(split, 0)
        ids[split] = [_image_id(index) for index in range(start, stop)]
        start = stop
    ids["trainval"] = ids["train"] + ids["val"]
    for split, members in ids.items():
        (folder / f"{split}.txt").write_text("".join(f"{member}\n" for member in members), encoding="utf-8")


def _write_scene(root: Path, index: int, scene: Scene) -> None:
    filename = _image_id(index) + _suffix(index)
    pixels = scene.pixels if scene.pixels.ndim == 2 else cv2.cvtColor(scene.pixels, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(root / "JPEGImages" / filename), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92]):
        raise OSError(f"{root / 'JPEGImages' / filename}: could not be written")
    annotation = ElementTree.ElementTree(_annotation(filename, scene))
    ElementTree.indent(annotation)
    annotation.write(root / "Annotations" / f"{_image_id(index)}.xml", encoding="utf-8")


def _annotation(filename: str, scene: Scene) -> ElementTree.Element:
    height, width = scene.pixels.shape[:2]
    root = ElementTree.Element("annotation")
    _add(root, folder="shapes", filename=filename)
    depth = 1 if scene.pixels.ndim == 2 else 3
    _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=depth)
    _add(root, segmented=0)
    for placed in scene.objects:
        element = ElementTree.SubElement(root, "object")
        difficult = placed.visible_fraction < DIFFICULT_BELOW
        _add(element, name=placed.name, pose="Unspecified", truncated=int(placed.truncated), difficult=int(difficult))
        box = dict(zip(("xmin", "ymin", "xmax", "ymax"), placed.voc_box, strict=True))
        _add(ElementTree.SubElement(element, "bndbox"), **box)
    return root


def _add(parent: ElementTree.Element, **texts: str | int) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)
