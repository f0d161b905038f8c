"""Generated data sets, odd ones, in every form: what is written is found, read without fault, and holds the same."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.commands.convert_data import convert
from detkit.data.faults import Severity
from detkit.data.formats.forms import Form, find_form
from detkit.data.formats.opening import SplitReader
from detkit.data.formats.split_names import role_of
from detkit.data.formats.written_forms import WRITTEN, WrittenForm
from detkit.data.ground_truth import GroundTruth
from detkit.data.validation.check import check_data

NAMES = (
    "no", "1.0", "null", "hex nut", "a,b", 'say "x"', "it's", "true", "~", "#tag", "- dash", "a: b", "{a}", "[b]", "%s",
    "=", "0", "dog", "Dog", "LabelName", "<b>&amp;", "é", "名", "2020-01-01", "a  b", "x" * 100,
)  # fmt: skip
NUMBERS = (0, 1, 2, 7, 90, 2**31, 2**53 + 1)
SPLITS = (
    ("train",), ("all",), ("train", "val"), ("train", "val", "test"), ("train2017", "val2017"), ("trainval", "test"),
    ("trainval", "val"), ("fold_a", "fold_b"), ("train_a", "train_b", "valid"),
    ("train_a", "train_b"),
)  # fmt: skip
STEMS = ("a", "A", "a b", "a_b", "x (1)", "x.png", ".hid", "ü", "-1", "classes", "train", "a.b.c", "end.")
KINDS = (
    ("RGB", ".png"), ("L", ".jpg"), ("CMYK", ".jpg"), ("I;16", ".png"), ("P", ".gif"), ("RGB", ".webp"), ("1", ".bmp"),
    ("CMYK", ".tif"), ("RGBA", ".png"), ("turned", ".JPG"), ("turned as stored", ".jpg"),
)  # fmt: skip
BY_OBJECTS = ("voc", "labelme", "openimages", "huggingface")  # forms that know classes by their objects alone
TOLERANCE = {"coco": 0, "voc": 1e-5, "yolo": 1e-6, "darknet": 1e-6}  # px; others state at least ten decimals
SIDE = 16  # px, the height of all images; the width tells them apart


@dataclass(frozen=True)
class Thing:
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    truncated: bool
    crowd: bool


Contents = dict[str, dict[int, list[Thing]]]  # of each split: of the image of each width


def box_of(rng: np.random.Generator, width: int) -> list[float]:
    """x, y, width, height."""
    match rng.choice(["usual", "whole px", "whole", "border", "thin", "beyond", "none", "outside", "tiny digits"]):
        case "usual":
            x, y = rng.uniform(0, 8, 2).tolist()
            return [x, y, *rng.uniform(1.5, 7, 2).tolist()]
        case "whole px":
            return [float(value) for value in rng.integers(1, 8, 4)]
        case "whole":
            return [0.0, 0.0, float(width), float(SIDE)]
        case "border":
            return [width - 1.0, SIDE - 1.0, 1.0, 1.0]
        case "thin":
            return [3.25, 4.0, float(rng.uniform(0.05, 0.9)), 6.0]
        case "beyond":
            return [-2.5, 5.0, width + 9.0, 20.0]
        case "none":
            return [4.0, 4.0, 0.0, float(rng.integers(0, 3))]
        case "outside":
            return [width + 3.0, 2.0, 5.0, 5.0]
        case _:
            return [1 / 3, 2 / 7, 10 / 3 + 1e-9, np.pi]


def write_image(rng: np.random.Generator, path: Path, width: int) -> tuple[int, int]:
    """An image that is `width` wide as annotated; returns the stated width and height."""
    mode, suffix = KINDS[rng.integers(len(KINDS))]
    path = path.with_name(path.name + suffix)
    pixels = rng.integers(0, 256, (SIDE, width, 3), dtype=np.uint8)
    if mode.startswith("turned"):
        exif = Image.Exif()
        exif[0x0112] = 6
        stored = pixels if mode == "turned as stored" else pixels.transpose(1, 0, 2)
        Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    elif mode == "I;16":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(path)
    else:
        Image.fromarray(pixels).convert(mode).save(path)
    return width, SIDE


def generate(seed: int, root: Path) -> tuple[Contents, list[tuple[int, str]]]:
    """Writes a set in COCO form; returns what is in it, and its categories."""
    rng = np.random.default_rng(seed)
    names = rng.choice(NAMES, rng.integers(1, 5), replace=False).tolist()
    numbers = sorted(rng.choice(NUMBERS, len(names), replace=False).tolist())
    categories = list(zip(numbers, names, strict=True))
    used = names[: rng.integers(1, len(names) + 1)] if seed % 10 else []
    widths = iter(range(17, 60))
    contents: Contents = {}
    shared: tuple[dict[str, object], int, list[dict[str, object]]] | None = None
    (root / "annotations").mkdir(parents=True)
    for split in SPLITS[seed % len(SPLITS)]:
        images, annotations = [], []
        for stem in rng.choice(STEMS, rng.integers(1, 4), replace=False).tolist():
            folder = root / "images" / split
            folder.mkdir(parents=True, exist_ok=True)
            width, height = write_image(rng, folder / stem, next(widths))
            file = next(path for path in folder.iterdir() if path.name.rpartition(".")[0] == stem)
            image = {"id": len(images), "file_name": f"{split}/{file.name}", "width": width, "height": height}
            images.append(image)
            for _ in range(rng.integers(0, 5)) if used else ():
                annotations.append(annotation(rng, image, categories, used))
            if annotations and rng.random() < 0.2:
                annotations.append(dict(annotations[-1]))
        if shared is not None and rng.random() < 0.5:
            images.append({**shared[0], "id": 99})
            annotations += [{**one, "image_id": 99} for one in shared[2]]
        last = images[-1]
        shared = last, last["width"], [one for one in annotations if one["image_id"] == last["id"]]
        for number, one in enumerate(annotations):
            one["id"] = number
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in categories],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        contents[split] = {
            image["width"]: [thing(one, categories) for one in annotations if one["image_id"] == image["id"]]
            for image in images
        }
    return contents, categories


def annotation(
    rng: np.random.Generator, image: dict[str, object], categories: list[tuple[int, str]], used: list[str]
) -> dict[str, object]:
    box = box_of(rng, int(str(image["width"])))
    marks = [{}, {}, {"iscrowd": 1}, {"iscrowd": 1, "difficult": 1}, {"truncated": 1}][rng.integers(5)]
    number = categories[rng.integers(len(used))][0]
    area = box[2] * box[3] if rng.random() < 0.7 else 3.5
    return {"image_id": image["id"], "category_id": number, "bbox": box, "area": area, "iscrowd": 0} | marks


def thing(one: dict[str, object], categories: list[tuple[int, str]]) -> Thing:
    x, y, w, h = one["bbox"]
    difficult = "difficult" in one
    crowd = one["iscrowd"] == 1 and not difficult
    return Thing(dict(categories)[one["category_id"]], (x, y, x + w, y + h), difficult, "truncated" in one, crowd)


def held(things: list[Thing], width: int, target: WrittenForm) -> Iterator[Thing]:
    """What a form can hold of the objects of an image."""
    seen = set()
    for one in things:
        x1, y1, x2, y2 = one.corners
        if target != "coco":
            x1, x2, y1, y2 = max(x1, 0), min(x2, width), max(y1, 0), min(y2, SIDE)
            if x1 >= x2 or y1 >= y2 or (target == "voc" and (x2 - x1 < 0.99 or y2 - y1 < 0.99)):
                continue
        if target in ("yolo", "darknet"):
            if one.difficult or one.crowd or (one.name, x1, y1, x2, y2) in seen:
                continue
            seen.add((one.name, x1, y1, x2, y2))
            one = replace(one, truncated=False)
        if target == "openimages":
            one = replace(one, crowd=one.crowd or one.difficult, difficult=False)
        yield replace(one, corners=(x1, y1, x2, y2))


def found(truth: GroundTruth) -> dict[int, list[Thing]]:
    contents = {}
    for index, (_, width) in enumerate(truth.sizes.tolist()):
        objects = truth.of_image(index)
        contents[width] = [
            Thing(truth.classes[label], tuple(box), ignored and not crowd, truncated, crowd)
            for label, box, ignored, truncated, crowd in zip(
                objects.labels.tolist(),
                objects.boxes.tolist(),
                objects.ignore.tolist(),
                objects.truncated.tolist(),
                objects.crowd.tolist(),
                strict=True,
            )
        ]
    return contents


def assert_same(first: dict[int, list[Thing]], second: dict[int, list[Thing]], tolerance: float) -> None:
    assert set(first) == set(second)
    for width, things in first.items():
        others = second[width]
        assert [replace(one, corners=(0, 0, 0, 0)) for one in things] == [
            replace(one, corners=(0, 0, 0, 0)) for one in others
        ]
        for one, other in zip(things, others, strict=True):
            np.testing.assert_allclose(one.corners, other.corners, rtol=0, atol=tolerance)


def read(form: Form) -> list[GroundTruth]:
    reader = SplitReader(form)
    splits = reader.read(form.splits)
    errors = [str(fault) for fault in (*form.faults, *reader.faults) if fault.severity is Severity.ERROR]
    assert not errors
    return [split.truth for split in splits]


def may_be_refused(target: WrittenForm, contents: Contents, kept: Contents) -> bool:
    if target == "darknet" and len(contents) > 1 and not any(role_of(split) for split in contents):
        return True
    return target in BY_OBJECTS and not any(things for split in kept.values() for things in split.values())


@pytest.mark.parametrize("seed", range(40))
def test_what_converts_is_read_again_and_is_the_same(seed: int, tmp_path: Path) -> None:
    contents, categories = generate(seed, tmp_path / "set")
    source = find_form(tmp_path / "set", "coco")
    source = replace(source, splits=tuple(contents))
    classes = [name for _, name in categories]
    for split, truth in zip(contents, read(source), strict=True):
        assert_same(found(truth), contents[split], 0)
    for target in WRITTEN:
        kept = {
            split: {width: list(held(things, width, target)) for width, things in images.items()}
            for split, images in contents.items()
        }
        out = tmp_path / target
        if may_be_refused(target, contents, kept):
            with pytest.raises(ValueError, match=r"^not written in .* form: "):
                convert(source, target, out, None, False, lambda warning: None)
            assert not out.exists()
            continue
        told = convert(source, target, out, None, False, lambda warning: None)
        form = find_form(out)
        assert form.kind == ("yolo" if target == "darknet" else target)
        assert len(form.splits) == len(contents)
        called = {
            split: line.rpartition(", called ")[2] if ", called " in line else split
            for split, line in zip(contents, told, strict=False)
        }
        truths = read(replace(form, splits=tuple(called.values())))
        for split, truth in zip(contents, truths, strict=True):
            assert_same(kept[split], found(truth), TOLERANCE.get(target, 1e-9))
        used = {one.name for images in kept.values() for things in images.values() for one in things}
        assert list(truths[0].classes) == {"cvat": sorted(classes)}.get(
            target, sorted(used) if target in BY_OBJECTS else classes
        )
        if target == "coco":
            assert truths[0].category_numbers == tuple(number for number, _ in categories)
        if target == WRITTEN[seed % len(WRITTEN)]:
            report = check_data(SplitReader(form), (), None)
            assert not [fault for fault in report.faults if fault.severity is Severity.ERROR]
            second = WRITTEN[(seed // len(WRITTEN) + seed) % len(WRITTEN)]
            assert_converts_again(form, {called[split]: kept[split] for split in contents}, second, tmp_path / "again")


def assert_converts_again(form: Form, contents: Contents, target: WrittenForm, out: Path) -> None:
    """From each form to each other."""
    kept = {
        split: {width: list(held(things, width, target)) for width, things in images.items()}
        for split, images in contents.items()
    }
    form = replace(form, splits=tuple(contents))
    if may_be_refused(target, contents, kept):
        return
    told = convert(form, target, out, None, False, lambda warning: None)
    called = [line.rpartition(", called ")[2] if ", called " in line else line.partition(":")[0] for line in told]
    truths = read(replace(find_form(out), splits=tuple(called[: len(contents)])))
    for things, truth in zip(kept.values(), truths, strict=True):
        assert_same(things, found(truth), 1e-4)
