"""The built-in data set: rendered scenes of seven kinds of object, written as a PASCAL VOC folder.

It needs no download, trains in minutes on a CPU and has what real sets have: clutter, occlusion, truncation, difficult
objects, images without objects, grey images and files that are not JPEG. Image `index` depends on nothing but
the seed, the index and the size ranges. A box is the extent of an object's visible part, as in VOC.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from detkit.data.synthetic.shapes_render import (
    CLASSES,
    Bools,
    Floats,
    background,
    develop,
    draw_style,
    dress,
    paint,
    silhouette,
)
from detkit.runtime.console import track

SPLITS = ("train", "val", "test")
COUNTS: Mapping[str, int] = MappingProxyType({"train": 400, "val": 60, "test": 120})
LONG_SIDES = (220, 300)  # px, of images
OBJECT_SIZES = (20, 180)  # px, longer side of a whole object
DRAWING = 1  # raise it when the same parameters come to give other images

ASPECTS = (1.0, 1.25, 4 / 3, 1.5)  # long side / short side
DIFFICULT_BELOW = 0.3  # visible fraction of the whole object
VISIBLE_AT_LEAST = (0.75, 0.4, 0.1)  # of every object; one is drawn for an image: from loose to crowded
SMALLEST_VISIBLE = 8  # px, either side of a box


@dataclass(frozen=True)
class Placed:
    """An object where it stands; those placed later may hide it."""

    name: str
    alpha: Floats  # (h, w) coverage of the whole object
    x: int  # px of the upper left of alpha, may be outside the image
    y: int
    visible: Bools  # (H, W) pixels of the image that show this object

    @property
    def whole_area(self) -> int:
        return int((self.alpha > 0.5).sum())

    @property
    def visible_fraction(self) -> float:
        return int(self.visible.sum()) / self.whole_area

    @property
    def difficult(self) -> bool:
        return self.visible_fraction < DIFFICULT_BELOW

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
    """Image `index`. Which are grey or empty follows from the index, so that every set of 20 has both."""
    rng = np.random.default_rng([seed, index])
    long = int(rng.integers(long_sides[0], long_sides[1] + 1))
    short = round(long / ASPECTS[rng.integers(len(ASPECTS))])
    height, width = (short, long) if rng.random() < 0.7 else (long, short)
    style = draw_style(index % 20 == 9, rng)
    num_objects = 0 if index % 20 == 19 else int(rng.integers(1, 6))
    objects = _place(num_objects, height, width, object_sizes, rng)
    canvas = background(height, width, style, rng)
    for placed in objects:
        paint(canvas, placed.alpha, placed.x, placed.y, dress(placed.name), style, rng)
    return Scene(develop(canvas, style, rng), objects)


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
        alpha = silhouette(name, size, rng)
        candidate = _stand(name, alpha, _corner(alpha, objects, height, width, rng), height, width)
        changed = (*(_hidden_by(candidate, placed) for placed in objects), candidate)
        if all(placed.shows(least_visible) for placed in changed):
            objects = changed
    return objects


def _stand(name: str, alpha: Floats, corner: tuple[int, int], height: int, width: int) -> Placed:
    """The object with its upper left at `corner`, nothing before it yet."""
    x, y = corner
    visible = np.zeros((height, width), np.bool_)
    top, left = max(-y, 0), max(-x, 0)
    inside = alpha[top : max(height - y, 0), left : max(width - x, 0)] > 0.5
    visible[y + top : y + top + inside.shape[0], x + left : x + left + inside.shape[1]] = inside
    return Placed(name, alpha, x, y, visible)


def _corner(alpha: Floats, objects: tuple[Placed, ...], height: int, width: int, rng: Generator) -> tuple[int, int]:
    """Upper left of an object: mostly such that it fits whole, else centred anywhere, or about an earlier object."""
    h, w = alpha.shape
    kind = rng.random()
    if kind < 0.5 or (kind > 0.7 and not objects):
        return int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    if kind < 0.7:
        return int(rng.integers(0, width)) - w // 2, int(rng.integers(0, height)) - h // 2
    earlier = objects[rng.integers(len(objects))]
    ys, xs = np.nonzero(earlier.visible)
    pixel = rng.integers(len(ys))
    return int(xs[pixel]) - w // 2, int(ys[pixel]) - h // 2


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

    counts: images of train, val and test. long_sides, object_sizes: smallest and largest, px.
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
    root.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own for each process: the ranks of a distributed run may all find the set missing.
    with TemporaryDirectory(dir=root.parent, prefix=f"{root.name}.partial-") as scratch:
        partial = Path(scratch) / root.name
        _write_all(partial, seed, counts, long_sides, object_sizes)
        (partial / "shapes.json").write_text(json.dumps(parameters, indent=1) + "\n", encoding="utf-8")
        try:
            partial.rename(root)
        except OSError:
            if not _is_written(root, parameters):  # else another process was first, with the same images
                raise


def _write_all(
    folder: Path, seed: int, counts: Mapping[str, int], long_sides: tuple[int, int], object_sizes: tuple[int, int]
) -> None:
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    _write_image_sets(folder / "ImageSets" / "Main", counts)
    for index in track(range(sum(counts.values())), "drawing shapes"):
        _write_scene(folder, index, draw_scene(seed, index, long_sides, object_sizes))


def _check(seed: int, counts: Mapping[str, int], long_sides: tuple[int, int], object_sizes: tuple[int, int]) -> None:
    if seed < 0:
        raise ValueError(f"seed {seed}: expected 0 or more")
    for split, count in counts.items():
        if split not in SPLITS or count < 0:
            raise ValueError(f"counts[{split!r}] = {count}: expected {', '.join(SPLITS)}, each 0 or more")
    if not 64 <= long_sides[0] <= long_sides[1]:
        raise ValueError(f"long_sides {long_sides}: expected 64 <= smallest <= largest, in px")
    largest = int(0.9 * long_sides[0] / max(ASPECTS))  # what the smallest image has room for
    if not SMALLEST_VISIBLE <= object_sizes[0] <= min(object_sizes[1], largest):
        raise ValueError(
            f"object_sizes {object_sizes}: expected {SMALLEST_VISIBLE} <= smallest <= largest in px, the smallest at "
            f"most {largest} to fit images of long side {long_sides[0]}"
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
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if filename.endswith(".jpg") else []  # others warn of it
    if not cv2.imwrite(str(root / "JPEGImages" / filename), pixels, quality):
        raise OSError(f"{root / 'JPEGImages' / filename}: could not be written")
    annotation = ElementTree.ElementTree(_annotation(filename, scene))
    ElementTree.indent(annotation)
    annotation.write(root / "Annotations" / f"{_image_id(index)}.xml", encoding="utf-8")


def _annotation(filename: str, scene: Scene) -> ElementTree.Element:
    height, width = scene.pixels.shape[:2]
    root = ElementTree.Element("annotation")
    _add(root, ("folder", "shapes"), ("filename", filename))
    depth = 1 if scene.pixels.ndim == 2 else 3
    _add(ElementTree.SubElement(root, "size"), ("width", width), ("height", height), ("depth", depth))
    _add(root, ("segmented", 0))
    for placed in scene.objects:
        _add_object(root, placed)
    return root


def _add_object(root: ElementTree.Element, placed: Placed) -> None:
    element = ElementTree.SubElement(root, "object")
    _add(element, ("name", placed.name), ("pose", "Unspecified"))
    _add(element, ("truncated", int(placed.truncated)), ("difficult", int(placed.difficult)))
    corners = zip(("xmin", "ymin", "xmax", "ymax"), placed.voc_box, strict=True)
    _add(ElementTree.SubElement(element, "bndbox"), *corners)


def _add(parent: ElementTree.Element, *fields: tuple[str, str | int]) -> None:
    for tag, text in fields:
        ElementTree.SubElement(parent, tag).text = str(text)
