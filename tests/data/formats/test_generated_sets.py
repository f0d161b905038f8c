"""Small data sets drawn at random: good ones are read as they are, and of bad ones nothing is lost unsaid.

A set is drawn as what it holds, and written in a form and a layout of it. What is read is compared with what was drawn.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from detkit.config.data import FormName
from detkit.data.faults import Fault, Severity
from detkit.data.formats.forms import Form, find_form
from detkit.data.formats.listing import one_word
from detkit.data.formats.opening import SplitReader, open_form
from detkit.data.formats.read_split import ReadSplit

SIDE = 16  # px, of every image
SEEDS = range(40)
CLASSES = ("cod", "eel", "sea bass", "Köhler")
NAMES = ("a", "f000", "IMG_1.v2", "cam a/f000", "cam b/f000", "deep/er/x", "x (1)", "été", "0007", "it's", "b b", "c")
SPLITS = ("train", "valid", "test")

Objects = list[tuple[str, tuple[int, int, int, int]]]  # class, and corners in px


@dataclass(frozen=True)
class Drawn:
    """What a data set holds: of each split the images by name, with their objects."""

    splits: dict[str, dict[str, Objects]]
    image_of: dict[tuple[str, str], Path]  # by split and name
    stated_in: dict[tuple[str, str], Path]  # the file of its objects
    kind: FormName


def draw(rng: np.random.Generator) -> dict[str, dict[str, Objects]]:
    """One to three splits of one to four images; the first of each has an object."""
    splits = {}
    for split in SPLITS[: rng.integers(1, 4)]:
        names = rng.permutation(NAMES)[: rng.integers(1, 5)].tolist()
        counts = [int(rng.integers(1, 4)), *rng.integers(0, 4, len(names) - 1).tolist()]
        splits[split] = {name: draw_objects(rng, count) for name, count in zip(names, counts, strict=True)}
    return splits


def draw_objects(rng: np.random.Generator, count: int) -> Objects:
    found: dict[tuple[int, int, int, int], str] = {}
    while len(found) < count:
        x1, y1 = rng.integers(0, SIDE - 4, 2).tolist()
        x2, y2 = int(rng.integers(x1 + 3, SIDE + 1)), int(rng.integers(y1 + 3, SIDE + 1))
        found[x1, y1, x2, y2] = CLASSES[rng.integers(len(CLASSES))]
    return [(name, box) for box, name in found.items()]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE, SIDE)).save(path)
    return path


def write_voc(root: Path, splits: dict[str, dict[str, Objects]], rng: np.random.Generator) -> Drawn:
    """With lists in one of three places, with folders of splits, or with folders of images of which each has splits."""
    layout = int(rng.integers(5))
    folders = {
        3: lambda split: (root / split, root / split),
        4: lambda split: (root / "images" / split, root / "annotations" / split),
    }.get(layout, lambda split: (root / "JPEGImages" / split, root / "Annotations" / split))
    drawn = Drawn(splits, {}, {}, "voc")
    for split, images in splits.items():
        in_images, in_annotations = folders(split)
        for name, objects in images.items():
            drawn.image_of[split, name] = write_image(in_images / f"{name}.png")
            text = "".join(
                f"<object><name>{label}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
                f"<ymax>{y2}</ymax></bndbox></object>"
                for label, (x1, y1, x2, y2) in objects
            )
            path = in_annotations / f"{name}.xml"
            drawn.stated_in[split, name] = write(path, f"<annotation>{text}</annotation>")
        if layout < 3:
            line = ("{}/{}\n", '"{}/{}"\n', "JPEGImages/{}/{}.png\r\n")[rng.integers(3)]
            place = ("ImageSets/Main", "ImageSets", ".")[layout]
            write(root / place / f"{split}.txt", "".join(line.format(split, name) for name in images))
    return drawn


def write_coco(root: Path, splits: dict[str, dict[str, Objects]], rng: np.random.Generator) -> Drawn:
    """Ids of images count from 0 in each file, and classes have other numbers in each."""
    layout = int(rng.integers(3))
    drawn = Drawn(splits, {}, {}, "coco")
    for split, images in splits.items():
        file = (
            root / (f"annotations/instances_{split}.json", f"{split}/_annotations.coco.json", f"{split}.json")[layout]
        )
        numbers = dict(zip(CLASSES, rng.permutation(90)[: len(CLASSES)].tolist(), strict=True))
        lead, slash = ("", "/", "..\\", "C:\\")[rng.integers(4)], "/\\"[rng.integers(2)]
        listed, annotations = [], []
        for number, (name, objects) in enumerate(images.items()):
            drawn.image_of[split, name] = write_image(root / split / f"{name}.png")
            drawn.stated_in[split, name] = file
            file_name = lead + f"{name}.png".replace("/", slash)
            listed.append({"id": number, "file_name": file_name, "height": SIDE, "width": SIDE})
            for label, (x1, y1, x2, y2) in objects:
                box = [x1, y1, x2 - x1, y2 - y1]
                annotations.append(
                    {"id": len(annotations), "image_id": number, "category_id": numbers[label], "bbox": box}
                )
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        write(file, json.dumps({"images": listed, "annotations": annotations, "categories": categories}))
    return drawn


def write_yolo(root: Path, splits: dict[str, dict[str, Objects]], rng: np.random.Generator) -> Drawn:
    """A data.yaml with folders or lists, or folders with a file of names; images without objects may lack a label."""
    layout = int(rng.integers(4))
    place = "{}/images" if layout == 1 else "images/{}"
    drawn = Drawn(splits, {}, {}, "yolo")
    for split, images in splits.items():
        for name, objects in images.items():
            drawn.image_of[split, name] = write_image(root / place.format(split) / f"{name}.png")
            label = root / place.replace("images", "labels").format(split) / f"{name}.txt"
            drawn.stated_in[split, name] = write_label(label, objects, rng)
        if layout == 2:
            write(root / f"{split}.txt", "".join(f"./images/{split}/{name}.png\n" for name in images))
    keys = {"train": "train", "valid": "val", "test": "test"}
    entries = {keys[split]: f"{split}.txt" if layout == 2 else f"../{place.format(split)}" for split in splits}
    if layout == 3:
        write(root / "classes.txt", "\n".join(CLASSES))
    else:
        write(root / "data.yaml", "".join(f"{k}: {v}\n" for k, v in entries.items()) + f"names: {list(CLASSES)}\n")
    return drawn


def write_darknet(root: Path, splits: dict[str, dict[str, Objects]], rng: np.random.Generator) -> Drawn:
    """Images with their labels beside them in one folder, and lists, with an obj.data or without."""
    drawn = Drawn(splits, {}, {}, "yolo")
    for split, images in splits.items():
        for name, objects in images.items():
            drawn.image_of[split, name] = write_image(root / f"obj_data/{split}_{name}.png")
            drawn.stated_in[split, name] = write_label(root / f"obj_data/{split}_{name}.txt", objects, rng)
        write(root / f"{split}.txt", "".join(f"data/obj_data/{split}_{name}.png\n" for name in images))
    write(root / "obj.names", "\n".join(CLASSES) + "\n")
    if rng.integers(2):
        lines = [f"{split} = data/{split}.txt" for split in splits]
        write(root / "obj.data", "\n".join(["classes = 4", *lines, "names = data/obj.names", "backup = backup/\n"]))
    return drawn


def write_label(path: Path, objects: Objects, rng: np.random.Generator) -> Path:
    rows = [
        f"{CLASSES.index(name)} {(x1 + x2) / 2 / SIDE} {(y1 + y2) / 2 / SIDE} {(x2 - x1) / SIDE} {(y2 - y1) / SIDE}\n"
        for name, (x1, y1, x2, y2) in objects
    ]
    if rows or rng.integers(2):
        write(path, "".join(rows))
    return path


FORMS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo, "darknet": write_darknet}


def drawn_set(form: str, seed: int, root: Path) -> tuple[Drawn, np.random.Generator]:
    rng = np.random.default_rng([seed, sum(map(ord, form))])
    root.mkdir()
    return FORMS[form](root, draw(rng), rng), rng


def split_named(drawn: str, found: dict[str, ReadSplit]) -> ReadSplit | None:
    """The split as read; a data.yaml calls valid val."""
    return found.get(drawn, found.get("val") if drawn == "valid" else None)


def content(split: ReadSplit) -> dict[Path, list[tuple[str, list[float]]]]:
    found = {}
    for index, path in enumerate(split.paths):
        objects = split.truth.of_image(index)
        names = [split.truth.classes[label] for label in objects.labels.tolist()]
        boxes = objects.boxes.round(6).tolist()
        found[path.resolve()] = sorted(zip(names, boxes, strict=True))
    return found


def expected(drawn: Drawn, split: str) -> dict[Path, list[tuple[str, list[float]]]]:
    return {
        drawn.image_of[split, name].resolve(): sorted((label, list(map(float, box))) for label, box in objects)
        for name, objects in drawn.splits[split].items()
    }


def loud(faults: tuple[Fault, ...]) -> list[str]:
    return [str(fault) for fault in faults if fault.severity is not Severity.INFO]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_good_sets_are_read_as_they_are(tmp_path: Path, form: str, seed: int) -> None:
    drawn, _ = drawn_set(form, seed, tmp_path / "set")
    found = find_form(tmp_path / "set")
    assert (found.kind, loud(found.faults)) == (drawn.kind, [])
    assert len(found.splits) == len(drawn.splits)
    read = {split.name: split for split in SplitReader(found).read(found.splits)}
    for name in drawn.splits:
        split = split_named(name, read)
        assert split is not None and loud(split.faults) == []
        assert content(split) == expected(drawn, name)
        assert all(one_word(image_id) == image_id for image_id in split.truth.image_ids)
    opened = open_form(found, found.splits, None, pytest.fail)
    assert len(set(opened.image_ids)) == len(opened) == sum(map(len, drawn.splits.values()))
    assert len(opened.ground_truth().objects) == sum(
        len(o) for images in drawn.splits.values() for o in images.values()
    )


# Bad sets. Each way to spoil a set changes files of one image, or of its split.

Spoil = Callable[[Drawn, str, str, np.random.Generator], None]


def no_image(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    drawn.image_of[split, name].unlink()


def broken_image(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    drawn.image_of[split, name].write_bytes(b"\x89PNG")


def renamed_image(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    path = drawn.image_of[split, name]
    path.rename(path.with_name(f"other_{path.name}"))


def no_images(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    for (of_split, _), path in drawn.image_of.items():
        if of_split == split:
            path.unlink()


def no_annotations(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    for (of_split, _), path in drawn.stated_in.items():
        if of_split == split:
            path.unlink(missing_ok=True)


def broken_annotation(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    path = drawn.stated_in[split, name]
    path.write_bytes(path.read_bytes()[:-5] + b"\xff")


def empty_annotation(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    drawn.stated_in[split, name].write_bytes(b"")


def renamed_annotation(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    path = drawn.stated_in[split, name]
    path.rename(path.with_name(f"other_{path.name}"))


def empty_list(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    for path in lists(drawn, split):
        path.write_text("\n")


def wrong_list(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    end = re.compile(re.escape(PurePosixPath(name).name) + r'(?=(\.png)?"?$)')
    for path in lists(drawn, split):
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join(end.sub("gone", line) + "\n" for line in lines), encoding="utf-8")


def lists(drawn: Drawn, split: str) -> list[Path]:
    image = next(iter(drawn.image_of.values()))
    root = next(parent for parent in image.parents if parent.name == "set")
    return [path for place in (".", "ImageSets", "ImageSets/Main") for path in (root / place).glob(f"{split}.txt")]


def wrong_numbers(drawn: Drawn, split: str, name: str, rng: np.random.Generator) -> None:
    """One object's box or class becomes something that is none."""
    path = drawn.stated_in[split, name]
    text = path.read_text(encoding="utf-8")
    if drawn.kind == "voc":
        old = ("<xmin>", "<ymax>", "<name>", "</bndbox>")[rng.integers(4)]
        text = text.replace(old, {"<name>": "<name>/", "</bndbox>": "<xmin>3</xmin></bndbox>"}.get(old, f"{old}x"), 1)
    elif drawn.kind == "yolo":
        line, _, rest = text.partition("\n")
        columns = line.split()
        spoilt = (["99", *columns[1:]], columns[:-1], [*columns, "0.9"], [columns[0], *(["120"] * 4)])[rng.integers(4)]
        text = " ".join(spoilt) + "\n" + rest
    else:
        value = json.loads(text)
        image = next(
            entry["id"] for entry in value["images"] if entry["file_name"].endswith(PurePosixPath(name).name + ".png")
        )
        one = next(entry for entry in value["annotations"] if entry["image_id"] == image)
        one |= ({"bbox": [1, 2, 3]}, {"image_id": 77}, {"image_id": "a"}, {"category_id": 91}, {"bbox": None})[
            rng.integers(5)
        ]
        text = json.dumps(value)
    path.write_text(text, encoding="utf-8")


OF_ANY: list[Spoil] = [no_image, broken_image, renamed_image, no_images, broken_annotation, wrong_numbers]
SPOILS: dict[str, list[Spoil]] = {
    "voc": [*OF_ANY, no_annotations, empty_annotation, renamed_annotation, empty_list, wrong_list],
    "coco": [*OF_ANY, empty_annotation],
    "yolo": [*OF_ANY, no_annotations, renamed_annotation, wrong_list],
    "darknet": [*OF_ANY, no_annotations, empty_list, wrong_list],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_of_bad_sets_nothing_is_lost_unsaid(tmp_path: Path, form: str, seed: int) -> None:
    root = tmp_path / "set"
    drawn, rng = drawn_set(form, seed, root)
    split = list(drawn.splits)[rng.integers(len(drawn.splits))]
    name = next(iter(drawn.splits[split]))  # it has an object
    for spoil in rng.permutation(np.array(SPOILS[form], dtype=object)):
        before = snapshot(root)
        spoil(drawn, split, name, rng)
        if snapshot(root) != before:
            break
    told = what_is_told(root)
    if told is not None:
        found, read, said = told
        unsaid = [loss for loss in losses(drawn, read) if not any(word in line for word in loss for line in said)]
        assert unsaid == [], (spoil.__name__, found.splits, said)


def snapshot(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def what_is_told(root: Path) -> tuple[Form, dict[str, ReadSplit], list[str]] | None:
    """The splits as read and all that is said of them; None where an error stops reading and names the place."""
    try:
        found = find_form(root)
        read = {split.name: split for split in SplitReader(found).read(found.splits)}
    except ValueError as error:
        assert str(error).startswith(str(root))
        return None
    faults = [*found.faults, *(fault for split in read.values() for fault in split.faults)]
    return found, read, [str(fault) for fault in faults]


def losses(drawn: Drawn, read: dict[str, ReadSplit]) -> list[tuple[str, ...]]:
    """Of each split, image and object that is not there as drawn the words of which one must be said."""
    lost: list[tuple[str, ...]] = []
    for name, images in drawn.splits.items():
        split = split_named(name, read)
        if split is None:
            lost.append((f"/{name}", f"'{name}'", f"'{'val' if name == 'valid' else name}'"))
            continue
        there, nothing = content(split), (f"{split.name!r} lists no images",)
        for one in images:
            image, stated = drawn.image_of[name, one], drawn.stated_in[name, one]
            if there.get(image.resolve()) != expected(drawn, name)[image.resolve()]:
                told = (f"{image.stem}.png", f"{image.stem}'", f'{image.stem}"', f"/{stated.name}", f"_{stated.name}")
                lost.append((*(nothing if not there else ()), *told, "gone"))
    return lost
