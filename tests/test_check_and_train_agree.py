"""What check-data says of a data set, training then does: on drawn sets of every form, whole and damaged in many ways.

Nothing is lost without a word either: images and objects that are read, and those that are told of, make up the set.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.commands.convert_data import convert
from detkit.data.formats.forms import find_form
from detkit.data.formats.written_forms import WRITTEN, WrittenForm

Inside = Callable[..., tuple[int, str, str]]  # the fixtures of conftest.py

SEEDS = [(0, 0), (1, 3)]  # and the number of damages; all seeds up to 39 were tried with 0, 1 and 3
NAMES = ("bar", "hex nut", "block")
TEXTS = {".xml", ".json", ".jsonl", ".txt", ".yaml", ".csv", ".names", ".data"}


def draw_set(root: Path, rng: np.random.Generator) -> None:
    """A VOC set of one to three splits, of images with up to three objects, some difficult."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    splits = [["train", "val", "test"], ["train", "test"], ["trainval"], ["train", "val"]][int(rng.integers(4))]
    number = 0
    for split in splits:
        ids = []
        for _ in range(int(rng.integers(2, 6))):
            number += 1
            ids.append(f"{number:03d}")
            _draw_image(root, ids[-1], rng)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(ids) + "\n")


def _draw_image(root: Path, image_id: str, rng: np.random.Generator) -> None:
    height, width = (int(side) for side in rng.integers(48, 80, 2))
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(root / f"JPEGImages/{image_id}.png")
    objects = ""
    for _ in range(int(rng.integers(0, 4))):
        x, y = int(rng.integers(1, width - 24)), int(rng.integers(1, height - 24))
        sides = zip(
            ("xmin", "ymin", "xmax", "ymax"), (x, y, x + int(rng.integers(8, 24)), y + int(rng.integers(8, 24)))
        )
        box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        name, difficult = NAMES[int(rng.integers(3))], int(rng.random() < 0.1)
        objects += f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"
    (root / f"Annotations/{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")


def damage(root: Path, rng: np.random.Generator) -> str:
    """Do something to a file that may happen to it, and say what."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "conversion.json"]
    texts = [path for path in files if path.suffix in TEXTS] or files
    path = files[int(rng.integers(len(files)))] if rng.random() < 0.5 else texts[int(rng.integers(len(texts)))]
    content = path.read_bytes()
    what = int(rng.integers(7))
    match what:
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(content[: int(rng.integers(0, len(content) + 1))])  # cut short
        case 2:
            path.write_bytes(b"")
        case 3:
            path.rename(path.with_name(f"other_{path.name}"))
        case 4:
            lines = content.split(b"\n")
            lines.pop(int(rng.integers(len(lines))))
            path.write_bytes(b"\n".join(lines))
        case 5 if content:
            place = int(rng.integers(len(content)))
            path.write_bytes(content[:place] + bytes([int(rng.integers(32, 127))]) + content[place + 1 :])
        case 6:
            shutil.copy(path, path.with_name(f"copy_{path.name}"))
    return f"{path.name}: {what}"


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize(("seed", "faults"), SEEDS)
def test_check_data_says_what_training_does(
    form: WrittenForm, seed: int, faults: int, tmp_path: Path, tiny_file: Path, inside: Inside
) -> None:
    rng = np.random.default_rng([seed, faults, len(form)])
    draw_set(tmp_path / "drawn", rng)
    root = tmp_path / "set"
    try:
        convert(find_form(tmp_path / "drawn"), form, root, None, False, lambda warning: None)
    except ValueError:  # no object at all was drawn
        return
    done = [damage(root, rng) for _ in range(faults)]

    checked, said, error = inside("check_data", root)
    can_start = "training can start" in said
    assert (checked == 0) == can_start, (done, said)
    run = tmp_path / "run"
    trained, out, why = inside("train", tiny_file, "--data", root, "--run", run, "train.steps=2")
    assert (trained == 0) == can_start, (done, said, error, out, why)
    if not can_start:
        assert trained == 2 and why.count("\n") >= 1, (done, why)
        return
    scored, out, why = inside("eval", run)
    if "cannot be scored" in said or "testing on nothing" in out:
        assert scored == 2, (done, said, out)
    else:
        assert scored == 0, (done, said, out, why)
    other = tmp_path / "other"
    written, out, why = inside("convert_data", root, "--to", "yolo" if form == "coco" else "coco", "--out", other)
    if written == 0 and faults == 0 and "[:80%]" not in said:  # other names of images divide a set otherwise
        assert inside("check_data", other)[0] == 0
