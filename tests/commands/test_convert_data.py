"""Conversions: round trips give back all that both forms can hold, and what is lost is counted."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.commands.convert_data import convert
from detkit.config.data import FormName
from detkit.data.formats.forms import Form, find_form, open_form
from detkit.data.formats.listed import ListedDataset

HEIGHT, WIDTH = 30, 40


def box_xml(name: str, corners: Sequence[float], flags: str = "") -> str:
    fields = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
    return f"<object><name>{name}</name>{flags}<bndbox>{fields}</bndbox></object>"


def make_voc(root: Path) -> Form:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    objects = {
        "7": box_xml("dog", (1, 2, 10, 20), "<difficult>1</difficult>") + box_xml("cat", (1.25, 2, 40, 30)),
        "12": box_xml("dog", (5, 5, 9, 9), "<truncated>1</truncated>"),
        "9": "",
    }
    for stem, text in objects.items():
        Image.new("RGB", (WIDTH, HEIGHT), (int(stem), 2, 3)).save(root / "JPEGImages" / f"{stem}.png")
        (root / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{text}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("7\n9\n")
    (root / "ImageSets/Main/val.txt").write_text("12\n")
    return find_form(root)


def make_coco(root: Path) -> Form:
    boxes = [(3, [1.1, 2.2, 10.3, 4.4], 20.5, 0), (90, [0, 0, 40, 30], 7.0, 1), (3, [5, 5, 0, 3], 0.0, 0)]
    content = {
        "images": [{"id": 25, "file_name": "25.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [
            {"id": i, "image_id": 25, "category_id": c, "bbox": box, "area": area, "iscrowd": crowd}
            for i, (c, box, area, crowd) in enumerate(boxes)
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 90, "name": "tooth brush"}],
    }
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images/25.png")
    return find_form(root)


def to(form: Form, kind: FormName, out: Path, link: bool = False) -> tuple[Form, tuple[str, ...]]:
    told = convert(form, kind, out, None, link, lambda warning: None)
    return find_form(out, kind), told


def opened(form: Form, split: str) -> ListedDataset:
    return open_form(form, [split], None, lambda warning: None)


def assert_equal(first: ListedDataset, second: ListedDataset, atol: float = 0) -> None:
    one, other = first.ground_truth(), second.ground_truth()
    assert [path.stem for path in first.paths] == [path.stem for path in second.paths]
    assert (one.classes, one.image_numbers) == (other.classes, other.image_numbers)
    for name in ("sizes", "counts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.objects.labels, other.objects.labels)
    np.testing.assert_array_equal(one.objects.ignore, other.objects.ignore)
    np.testing.assert_allclose(one.objects.xywh, other.objects.xywh, rtol=0, atol=atol)


def test_voc_to_coco_and_back_keeps_all_but_truncated(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc")
    coco, told = to(voc, "coco", tmp_path / "coco")
    assert coco.splits == ("train", "val")
    assert "1 objects are difficult: written as iscrowd" in told
    assert "1 objects are truncated: the mark is lost" in told
    again, _ = to(coco, "voc", tmp_path / "again")
    assert_equal(opened(voc, "train"), opened(coco, "train"))
    assert_equal(opened(voc, "train"), opened(again, "train"))
    assert "<xmin>1.25</xmin>" in (tmp_path / "again/Annotations/7.xml").read_text()
    assert "<xmin>1</xmin>" in (tmp_path / "again/Annotations/7.xml").read_text()


def test_voc_to_voc_keeps_truncated(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc")
    again, told = to(voc, "voc", tmp_path / "again")
    assert told == (
        "train: 2 images, 2 objects",
        "val: 1 images, 1 objects",
        f"{tmp_path}/again: {voc.root} in VOC form",
    )
    assert opened(again, "val").ground_truth().objects.truncated.tolist() == [True]


def test_coco_to_coco_keeps_every_bit(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    again, told = to(coco, "coco", tmp_path / "again")
    assert len(told) == 2
    assert_equal(opened(coco, "train"), opened(again, "train"))
    first, second = (opened(form, "train").ground_truth() for form in (coco, again))
    assert first.category_numbers == second.category_numbers == (3, 90)
    assert first.objects.area.tolist() == second.objects.area.tolist() == [20.5, 7.0, 0.0]


def test_coco_to_voc_and_back_loses_what_is_told(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    voc, told = to(coco, "voc", tmp_path / "voc")
    assert told[1:-1] == (
        "1 objects have no area in their image: left out",
        "1 objects are crowd: written as difficult",
        "2 objects have the area of their outline: lost, that of the box is left",
        "the category numbers of 2 classes are lost: VOC knows classes by name",
    )
    again, _ = to(voc, "coco", tmp_path / "again")
    truth = opened(again, "train").ground_truth()
    assert (truth.image_numbers, truth.category_numbers) == ((25,), (1, 2))
    assert truth.objects.ignore.tolist() == [False, True]
    # VOC's reader holds float32
    np.testing.assert_allclose(truth.objects.xywh, [[1.1, 2.2, 10.3, 4.4], [0, 0, 40, 30]], atol=1e-5)


@pytest.mark.parametrize("make", [make_voc, make_coco])
def test_to_yolo_and_back_keeps_boxes_to_a_ten_thousandth_pixel(tmp_path: Path, make: Callable[[Path], Form]) -> None:
    form = make(tmp_path / "source")
    yolo, told = to(form, "yolo", tmp_path / "yolo")
    again, _ = to(yolo, form.kind, tmp_path / "again")
    first, last = opened(form, "train").ground_truth(), opened(again, "train").ground_truth()
    kept = ~first.objects.ignore & (first.objects.xywh[:, 2] > 0)
    assert any(" which YOLO cannot say: left out" in line for line in told)
    np.testing.assert_allclose(last.objects.xywh, first.objects.rows(kept).xywh, rtol=0, atol=1e-4)
    names = [first.classes[label] for label in first.objects.labels[kept]]
    assert [last.classes[label] for label in last.objects.labels] == names


def test_images_are_copied_or_linked(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc")
    to(voc, "yolo", tmp_path / "copy")
    to(voc, "yolo", tmp_path / "link", link=True)
    source = tmp_path / "voc/JPEGImages/7.png"
    assert (tmp_path / "copy/images/train/7.png").read_bytes() == source.read_bytes()
    assert not (tmp_path / "copy/images/train/7.png").samefile(source)
    assert (tmp_path / "link/images/train/7.png").samefile(source)


def test_only_an_earlier_conversion_is_replaced(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc")
    out = tmp_path / "out"
    to(voc, "coco", out)
    to(voc, "yolo", out)
    assert not (out / "annotations").exists()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="files were added to this conversion"):
        to(voc, "coco", out)
    (out / "conversion.json").unlink()
    with pytest.raises(ValueError, match="is no earlier conversion; choose another folder"):
        to(voc, "coco", out)
    with pytest.raises(ValueError, match="is in the data set"):
        to(voc, "coco", voc.root / "coco")
    assert (out / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"voc", "out"}


def test_a_deep_image_that_is_written_anew_keeps_its_values(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) + 7000
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save(tmp_path / "coco/images/25.png", exif=exif)
    to(coco, "voc", tmp_path / "voc")
    with Image.open(tmp_path / "voc/JPEGImages/25.png") as image:
        assert image.mode == "I;16" and not image.getexif()
        np.testing.assert_array_equal(np.asarray(image), values)


def test_an_image_that_viewers_turn_is_written_as_annotated(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "coco/images/25.png", exif=exif)
    voc, told = to(coco, "voc", tmp_path / "voc")
    assert any(line.startswith("1 images are written anew") for line in told)
    with Image.open(tmp_path / "voc/JPEGImages/25.png") as image:
        assert image.size == (WIDTH, HEIGHT) and not image.getexif()
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert opened(voc, "train").size(0) == (HEIGHT, WIDTH)


def test_names_become_safe_and_unique(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        folder = tmp_path / "set" / split
        folder.mkdir(parents=True)
        Image.new("RGB", (WIDTH, HEIGHT), (len(split), 0, 0)).save(folder / "a (1).png")
        (folder / "a (1).xml").write_text(f"<annotation>{box_xml('dog', (1, 1, 5, 5))}</annotation>")
    voc, _ = to(find_form(tmp_path / "set"), "voc", tmp_path / "voc")
    assert [opened(voc, split).image_ids for split in voc.splits] == [("a__1_",), ("a__1__2",)]
    assert opened(to(voc, "coco", tmp_path / "coco")[0], "valid").ground_truth().image_numbers == (2,)


def test_classes_are_those_of_all_splits_and_parts_get_names(tmp_path: Path) -> None:
    form = make_voc(tmp_path / "voc")  # val has dogs only
    yolo, _ = to(form, "yolo", tmp_path / "yolo")
    assert opened(yolo, "val").classes == ("cat", "dog")
    (form.root / "ImageSets/Main/both.txt").write_text("7\n12\n9\n")
    parts, _ = to(Form("voc", form.root, ("both[:50%]", "both[50%:]")), "coco", tmp_path / "parts")
    assert parts.splits == ("both_0-50", "both_50-100")
