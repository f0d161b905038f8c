"""Conversions: round trips give back all that both forms can hold, and what is lost is counted."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.commands.convert_data import convert
from detkit.config.data import FormName
from detkit.data.formats.forms import Form, find_form
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import open_form
from detkit.data.formats.written_forms import WRITTEN, WrittenForm

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
    for name in ("ignore", "crowd", "truncated"):
        np.testing.assert_array_equal(getattr(one.objects, name), getattr(other.objects, name))
    np.testing.assert_allclose(one.objects.xywh, other.objects.xywh, rtol=0, atol=atol)


def test_voc_to_coco_and_back_keeps_all(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc")
    coco, told = to(voc, "coco", tmp_path / "coco")
    assert coco.splits == ("train", "val")
    assert told[2:-1] == (
        "1 objects are difficult: written as iscrowd 1 and difficult 1; other tools take them for crowds",
    )
    again, told = to(coco, "voc", tmp_path / "again")
    assert told[2:-1] == ()
    for form in (coco, again):
        assert_equal(opened(voc, "train"), opened(form, "train"))
        assert opened(form, "val").ground_truth().objects.truncated.tolist() == [True]
    assert opened(coco, "train").ground_truth().objects.ignore.tolist() == [True, False]
    assert not opened(coco, "train").ground_truth().objects.crowd.any()
    written = json.loads((coco.root / "annotations/instances_train.json").read_text())["annotations"]
    assert [(one["iscrowd"], one.get("difficult")) for one in written] == [(1, 1), (0, None)]
    _, told = to(coco, "coco", tmp_path / "coco2")
    assert told[2:-1] == ()
    assert_equal(opened(voc, "train"), opened(find_form(tmp_path / "coco2"), "train"))
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
        "1 objects are crowd: written as difficult 1 and iscrowd 1; other tools take them for difficult",
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


def test_a_crowd_stays_one_in_coco_and_in_voc(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    again, told = to(coco, "coco", tmp_path / "again")
    assert told[1:-1] == ()
    assert opened(again, "train").ground_truth().objects.crowd.tolist() == [False, True, False]
    voc, _ = to(coco, "voc", tmp_path / "voc")
    objects = opened(voc, "train").ground_truth().objects
    assert (objects.ignore.tolist(), objects.crowd.tolist()) == ([False, True], [False, True])
    text = (voc.root / "Annotations/25.xml").read_text()
    assert text.count("<difficult>1</difficult>") == text.count("<iscrowd>1</iscrowd>") == 1
    _, told = to(coco, "yolo", tmp_path / "yolo")
    assert "1 objects are crowd, which YOLO cannot say: left out" in told
    assert sum(line.startswith("1 objects have the area") for line in told) == 1  # the crowd's is left out with it


def test_truncated_is_lost_in_yolo_alone(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc")
    coco, _ = to(voc, "coco", tmp_path / "coco")
    for form in (voc, coco):
        _, told = to(form, "yolo", tmp_path / "yolo")
        assert "1 objects are difficult, which YOLO cannot say: left out" in told
        assert "1 objects are truncated, which YOLO cannot say: the mark is lost" in told


def test_voc_gets_no_box_that_it_cannot_say(tmp_path: Path) -> None:
    """Under 1 px it would have xmax below xmin; what reaches beyond the image is cut."""
    coco = make_coco(tmp_path / "coco")
    path = coco.root / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    boxes = [[3, 3, 0.5, 9], [3, 3, 9, 0.99], [5.1, 5.1, 1, 1], [39.5, 5, 9, 9], [-3, 5, 9.5, 9]]
    content["annotations"] = [
        {"id": k, "image_id": 25, "category_id": 3, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for k, box in enumerate(boxes, start=1)
    ]
    path.write_text(json.dumps(content))
    voc, told = to(coco, "voc", tmp_path / "voc")
    assert "3 objects are under 1 px wide or high in their image, which VOC cannot say: left out" in told
    assert "1 objects reach beyond their image: clipped to it" in told
    objects = opened(voc, "train").ground_truth().objects
    np.testing.assert_allclose(objects.boxes, [[5.1, 5.1, 6.1, 6.1], [0, 5, 6.5, 14]], atol=1e-5)
    assert "<xmax>6.5</xmax>" in (voc.root / "Annotations/25.xml").read_text()


@pytest.mark.parametrize(("kind", "size"), [("voc", (WIDTH, HEIGHT)), ("coco", (1231, 997))])
def test_px_from_fractions_are_whole_where_they_were(tmp_path: Path, kind: FormName, size: tuple[int, int]) -> None:
    """Of six digits a number, as most tools write them."""
    width, height = size
    rng = np.random.default_rng(7)
    low = rng.integers(0, [width - 9, height - 9], (60, 2))
    corners = np.concatenate([low, low + rng.integers(2, 9, low.shape)], axis=1).astype(np.float64)
    corners[30:] += rng.uniform(-0.5, 0.5, (30, 4))
    corners = np.clip(corners, 0, [width, height, width, height])
    fractions = corners / [width, height, width, height]
    centres, sides = (fractions[:, :2] + fractions[:, 2:]) / 2, fractions[:, 2:] - fractions[:, :2]
    for folder in ("images/train", "labels/train"):
        (tmp_path / "yolo" / folder).mkdir(parents=True)
    Image.new("RGB", size).save(tmp_path / "yolo/images/train/a.png")
    rows = np.concatenate([centres, sides], axis=1).tolist()
    lines = ["0 " + " ".join(f"{value:.6f}" for value in row) + "\n" for row in rows]
    (tmp_path / "yolo/labels/train/a.txt").write_text("".join(lines))
    (tmp_path / "yolo/data.yaml").write_text("train: images/train\nnames: [dog]\n")
    form = find_form(tmp_path / "yolo")
    out, _ = to(form, kind, tmp_path / "out")
    read, written = (opened(one, "train").ground_truth().objects.boxes for one in (form, out))
    assert written[:30].tolist() == corners[:30].tolist()
    np.testing.assert_allclose(written, read, rtol=0, atol=1e-3)
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.[xj][ms]*") if path.stem != "conversion")
    assert max(len(number.partition(".")[2]) for number in re.findall(r"\d+\.\d+", text)) == 4


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


def test_a_voc_split_without_objects_has_the_classes_of_the_others(tmp_path: Path) -> None:
    form = make_voc(tmp_path / "voc")
    (form.root / "ImageSets/Main/val.txt").write_text("9\n")
    (form.root / "ImageSets/Main/train.txt").write_text("7\n12\n")
    coco, told = to(form, "coco", tmp_path / "coco")
    assert told[1] == "val: 1 images, 0 objects"
    assert opened(coco, "val").classes == ("cat", "dog")


def test_categories_have_one_number_in_all_files(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    content = json.loads((coco.root / "annotations/instances_train.json").read_text())
    content["categories"] = [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}, {"id": 90, "name": "tooth brush"}]
    content["annotations"] = content["annotations"][:1]
    (coco.root / "annotations/instances_val.json").write_text(json.dumps(content))
    again, _ = to(find_form(coco.root), "coco", tmp_path / "again")
    for split in ("train", "val"):
        truth = opened(again, split).ground_truth()
        assert (truth.classes, truth.category_numbers) == (("dog", "cat", "tooth brush"), (3, 7, 90))


def test_classes_come_back_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "set")
    for kind in ("coco", "yolo"):
        told = convert(coco, kind, tmp_path / kind, ["tooth brush", "dog"], False, lambda warning: None)
        assert opened(find_form(tmp_path / kind), "train").classes == ("tooth brush", "dog")
        lost = {
            "coco": "the category numbers of 2 classes are new, as COCO's classes have the order of their numbers",
            "yolo": "the category numbers of 2 classes are lost: YOLO knows classes by name",
        }
        assert lost[kind] in told
    told = convert(coco, "cvat", tmp_path / "cvat", ["tooth brush", "dog"], False, lambda warning: None)
    assert "the order of 2 classes is lost: in CVAT form they are sorted by name" in told


def test_classes_without_objects_are_told_of_where_they_are_lost(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "set")
    for kind in WRITTEN:
        told = convert(voc, kind, tmp_path / kind, ["cat", "dog", "emu"], False, lambda warning: None)
        is_lost = any(line.startswith("1 classes have no objects and are lost, such as emu") for line in told)
        classes = opened(find_form(tmp_path / kind), "train").classes
        assert is_lost == ("emu" not in classes) == (kind in ("voc", "labelme", "openimages", "huggingface"))


def test_what_has_no_objects_is_not_written_where_classes_come_from_them(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "set")
    path = coco.root / "annotations/instances_train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    for kind in WRITTEN:
        if kind not in ("voc", "labelme", "openimages", "huggingface"):
            convert(coco, kind, tmp_path / kind, None, False, lambda warning: None)
            assert len(opened(find_form(tmp_path / kind), "train")) == 1
            continue
        with pytest.raises(ValueError, match="no object is left, and it knows classes by their objects alone"):
            convert(coco, kind, tmp_path / kind, None, False, lambda warning: None)
        assert not (tmp_path / kind).exists()


def test_an_image_of_two_splits_has_one_annotation_in_voc(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    content = json.loads((coco.root / "annotations/instances_train.json").read_text())
    content["images"][0]["id"] = 1
    content["annotations"] = [{**one, "image_id": 1} for one in content["annotations"]]
    (coco.root / "annotations/instances_val.json").write_text(json.dumps(content))
    form = find_form(coco.root)
    voc, _ = to(form, "voc", tmp_path / "voc")
    assert [path.name for path in (voc.root / "Annotations").iterdir()] == ["25.xml"]
    assert_equal(opened(voc, "train"), opened(voc, "val"))
    content["annotations"][0]["bbox"] = [1, 1, 5, 5]
    (coco.root / "annotations/instances_val.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"25\.png has other objects in 'val' than in 'train'; convert one split at a"):
        to(form, "voc", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    to(form, "yolo", tmp_path / "other")  # which has a file for each


def test_a_split_that_cannot_be_read_is_an_error_unless_others_are_named(tmp_path: Path) -> None:
    yolo, _ = to(make_voc(tmp_path / "voc"), "yolo", tmp_path / "yolo")
    for path in (yolo.root / "labels/train").iterdir():
        path.unlink()
    form = find_form(yolo.root)
    assert form.splits == ("val",)
    with pytest.raises(
        ValueError, match=r"'train' is 'images/train' in data\.yaml, of which no image has a label file"
    ):
        to(form, "coco", tmp_path / "coco")
    assert to(Form("yolo", form.root, ("val",)), "coco", tmp_path / "coco")[0].splits == ("val",)


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("labelme", {"train/7.json", "train/7.png", "train/9.json", "train/9.png", "val/12.json", "val/12.png"}),
        ("cvat", {"train.xml", "val.xml", "images/train/7.png", "images/train/9.png", "images/val/12.png"}),
        (
            "openimages",
            {
                f"annotations/{split}-{what}.csv"
                for split in ("train", "val")
                for what in ("annotations-bbox", "images-with-rotation")
            }
            | {"annotations/class-descriptions-boxable.csv"}
            | {"images/train/7.png", "images/train/9.png", "images/val/12.png"},
        ),
        (
            "huggingface",
            {"train/metadata.jsonl", "train/7.png", "train/9.png", "val/metadata.jsonl", "val/12.png"},
        ),
        (
            "darknet",
            {"obj.data", "obj.names", "train.txt", "valid.txt"}
            | {f"obj_train_data/{stem}.{suffix}" for stem in (7, 9) for suffix in ("png", "txt")}
            | {"obj_valid_data/12.png", "obj_valid_data/12.txt"},
        ),
    ],
)
def test_files_of_each_form(tmp_path: Path, kind: WrittenForm, files: set[str]) -> None:
    voc = make_voc(tmp_path / "voc")
    told = convert(voc, kind, tmp_path / "out", None, False, lambda warning: None)
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == files | {"conversion.json"}
    assert (", called valid" in told[1]) == (kind == "darknet")


def test_a_set_called_as_a_key_of_labelme_is_not_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_voc(tmp_path / "shapes")
    monkeypatch.chdir(tmp_path)
    convert(find_form(Path("shapes")), "coco", Path("out"), None, False, lambda warning: None)
    assert find_form(Path("out")).kind == "coco"


def test_a_split_of_empty_images_is_told_of_for_hugging_face(tmp_path: Path) -> None:
    form = make_voc(tmp_path / "voc")
    (form.root / "ImageSets/Main/val.txt").write_text("9\n")
    (form.root / "ImageSets/Main/train.txt").write_text("7\n12\n")
    told = convert(form, "huggingface", tmp_path / "out", None, False, lambda warning: None)
    assert "no object is in val: detkit reads it, the library `datasets` wants one in each split" in told
    assert len(opened(find_form(tmp_path / "out"), "train")) == 2


def test_what_cannot_be_read_again_is_not_there(tmp_path: Path) -> None:
    """A name that COCO's reader takes for an annotation file."""
    voc = make_voc(tmp_path / "voc")
    for folder, suffix in (("JPEGImages", "png"), ("Annotations", "xml")):
        (voc.root / folder / f"12.{suffix}").rename(voc.root / folder / f"_annotations.coco.{suffix}")
    (voc.root / "ImageSets/Main/val.txt").write_text("_annotations.coco\n")
    with pytest.raises(
        ValueError, match=r"^not written in labelme form, as it could not be read again: .*fits 2 forms"
    ):
        to(voc, "labelme", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"voc"}


def test_a_voc_set_that_counts_from_0_is_written_as_one_that_counts_from_1(tmp_path: Path) -> None:
    voc = make_voc(tmp_path / "voc")
    path = voc.root / "Annotations/7.xml"
    path.write_text(f"<annotation>{box_xml('dog', (0, 2.5, 10, 20)) + box_xml('cat', (5, 0, 40, 30))}</annotation>")
    boxes = opened(voc, "train").ground_truth().objects.boxes
    assert boxes.tolist() == [[0, 2.5, 10, 20], [5, 0, 40, 30]]
    again, _ = to(voc, "voc", tmp_path / "again")
    text = (again.root / "Annotations/7.xml").read_text()
    assert "<annotation>counted from 1</annotation>" in text and "<ymin>3.5</ymin>" in text
    assert opened(again, "train").ground_truth().objects.boxes.tolist() == boxes.tolist()


def test_voc_boxes_with_fractions_are_not_taken_to_count_from_0(tmp_path: Path) -> None:
    """No box at the border tells, and fractions speak for 0: what is written says it."""
    coco = make_coco(tmp_path / "coco")
    path = coco.root / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"] = [{**content["annotations"][0], "bbox": [3.5, 4.5, 10, 10]}]
    path.write_text(json.dumps(content))
    voc, _ = to(coco, "voc", tmp_path / "voc")
    assert opened(voc, "train").ground_truth().objects.boxes.tolist() == [[3.5, 4.5, 13.5, 14.5]]


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    content = json.loads((coco.root / "annotations/instances_train.json").read_text())
    content |= {"images": [], "annotations": []}
    (coco.root / "annotations/instances_val.json").write_text(json.dumps(content))
    for kind in ("voc", "yolo"):
        with pytest.raises(ValueError, match="'val' lists no images; add some or remove it"):
            to(find_form(coco.root), kind, tmp_path / kind)
        assert not (tmp_path / kind).exists()
