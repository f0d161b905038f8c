"""VOC files: what is read, what is mended with a warning, and what is refused with file, object and field."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detkit.data.dataset import DetectionDataset
from detkit.data.faults import DatasetMissing, FaultError, Severity
from detkit.data.formats import voc_xml
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.formats.voc import VOC_CLASSES, find_splits, read_voc_splits
from detkit.data.formats.voc_xml import Annotation, parse_annotation
from detkit.data.io.images import ImageHeader

HEIGHT, WIDTH = 30, 40
HEADER = ImageHeader("JPEG", "RGB", (HEIGHT, WIDTH), orientation=1)
SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def box_xml(xmin: object, ymin: object, xmax: object, ymax: object) -> str:
    return f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>"


def object_xml(name: str = "dog", box: str | None = None, extra: str = "") -> str:
    return f"<object><name>{name}</name>{extra}{box_xml(1, 2, 10, 20) if box is None else box}</object>"


def file_xml(*objects: str, size: str = "") -> str:
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def parse(tmp_path: Path, text: str | bytes, header: ImageHeader | None = HEADER) -> Annotation:
    path = tmp_path / "a.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return parse_annotation(path, header)


def make_voc(
    root: Path, splits: dict[str, list[str]], annotations: dict[str, str] | None = None, suffix: str = ".jpg"
) -> Path:
    """A small data set: each id gets an image of its own content and an annotation (one dog unless given)."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, ids in splits.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
        for image_id in ids:
            shade = sum(map(ord, str(root) + image_id)) % 256
            Image.new("RGB", (WIDTH, HEIGHT), (shade, len(image_id), 3)).save(root / "JPEGImages" / (image_id + suffix))
            text = (annotations or {}).get(image_id, file_xml(object_xml()))
            (root / "Annotations" / f"{image_id}.xml").write_text(text)
    return root


# Parsing one file


def test_boxes_count_from_one_with_both_corners_inside(tmp_path: Path) -> None:
    found = parse(tmp_path, file_xml(object_xml(box=box_xml(1, 1, WIDTH, HEIGHT)), object_xml(box=box_xml(5, 7, 5, 7))))
    assert found.faults == ()
    assert found.boxes.dtype == np.float32
    assert found.boxes.tolist() == [[0, 0, WIDTH, HEIGHT], [4, 6, 5, 7]]


def test_float_coordinates_are_read(tmp_path: Path) -> None:
    found = parse(tmp_path, file_xml(object_xml(box=box_xml("1.5", " 2.25\n", "+1e1", "20."))))
    assert found.faults == ()
    assert found.boxes.tolist() == [[0.5, 1.25, 10, 20]]


def test_no_objects_is_fine(tmp_path: Path) -> None:
    found = parse(tmp_path, "<annotation/>")
    assert found.faults == ()
    assert found.boxes.shape == (0, 4)
    assert found.difficult.shape == (0,)


def test_the_box_of_a_part_is_not_that_of_the_object(tmp_path: Path) -> None:
    part = f"<part><name>head</name>{box_xml(3, 3, 4, 4)}</part>"
    found = parse(tmp_path, file_xml(object_xml("person", extra=part)))
    assert found.names == ("person",)
    assert found.boxes.tolist() == [[0, 1, 10, 20]]
    only_part = parse(tmp_path, file_xml(object_xml("person", box=part)))
    assert [fault.field for fault in only_part.faults] == ["bndbox"]


@pytest.mark.parametrize(
    ("extra", "difficult"),
    [
        ("", False),
        ("<difficult>0</difficult>", False),
        ("<difficult> 1 </difficult>", True),
        ("<difficult/>", False),
        ("<pose>Left</pose><truncated>1</truncated>", False),
    ],
)
def test_difficult_defaults_to_zero(tmp_path: Path, extra: str, difficult: bool) -> None:
    assert parse(tmp_path, file_xml(object_xml(extra=extra))).difficult.tolist() == [difficult]


def test_names_are_stripped(tmp_path: Path) -> None:
    assert parse(tmp_path, file_xml(object_xml("\n  potted plant "))).names == ("potted plant",)


@pytest.mark.parametrize(
    ("bad", "label", "field", "message"),
    [
        (object_xml(box=box_xml("nan", 1, 2, 3)), "object 1 (dog)", "bndbox/xmin", "is 'nan', expected a number"),
        (object_xml(box=box_xml(1, "inf", 2, 3)), "object 1 (dog)", "bndbox/ymin", "is 'inf'"),
        (object_xml(box=box_xml(1, 1, "1e999", 3)), "object 1 (dog)", "bndbox/xmax", "is '1e999'"),
        (object_xml(box=box_xml(1, 1, 2, "three")), "object 1 (dog)", "bndbox/ymax", "is 'three'"),
        (object_xml(box=box_xml(1, 1, "4,5", 3)), "object 1 (dog)", "bndbox/xmax", "is '4,5'"),
        (object_xml(box=box_xml("1_0", 1, 20, 3)), "object 1 (dog)", "bndbox/xmin", "is '1_0'"),
        (object_xml(box=box_xml("", 1, 20, 3)), "object 1 (dog)", "bndbox/xmin", "is ''"),
        (object_xml(box=box_xml(1, 1, 2, 2).replace("ymin", "y")), "object 1 (dog)", "bndbox/ymin", "is missing"),
        (object_xml(box=""), "object 1 (dog)", "bndbox", "is missing"),
        (object_xml(box=box_xml(1, 1, 2, 2) * 2), "object 1 (dog)", "bndbox", "2 times"),
        (object_xml(box=box_xml(9, 1, 8, 2)), "object 1 (dog)", "bndbox", "xmin 9 is greater than xmax 8"),
        (object_xml(box=box_xml(1, 9, 2, 8)), "object 1 (dog)", "bndbox", "ymin 9 is greater than ymax 8"),
        (object_xml(box=box_xml(41, 1, 50, 2)), "object 1 (dog)", "bndbox", "(41, 1, 50, 2) lies outside"),
        (object_xml(box=box_xml(-9, 1, 0, 2)), "object 1 (dog)", "bndbox", "lies outside the image of 40 x 30"),
        (object_xml(extra="<difficult>yes</difficult>"), "object 1 (dog)", "difficult", "is 'yes', expected 0 or 1"),
        (object_xml(extra="<difficult>2</difficult>"), "object 1 (dog)", "difficult", "is '2'"),
        (object_xml(name="  "), "object 1 ('')", "name", "is empty"),
        (object_xml(extra="<name>cat</name>"), "object 1 (dog)", "name", "2 times"),
        (f"<object>{box_xml(1, 1, 2, 2)}</object>", "object 1 ('')", "name", "is missing"),
        (object_xml(name="../../x"), "object 1 ('../../x')", "name", "without / and"),
        (object_xml(name="a\tb"), "object 1 ('a\\tb')", "name", "printable"),
        (object_xml(name="d" * 101), "object 1", "name", "at most 100"),
    ],
)
def test_errors_name_file_object_and_field(tmp_path: Path, bad: str, label: str, field: str, message: str) -> None:
    found = parse(tmp_path, file_xml(object_xml(), bad))
    assert found.names == ("dog",)
    assert len(found.faults) == 1
    fault = found.faults[0]
    assert fault.severity is Severity.ERROR
    assert fault.object.startswith(label)
    assert fault.field == field
    assert message in fault.message
    assert str(fault).startswith(f"{tmp_path / 'a.xml'}: {fault.object}: {field}: ")


def test_all_faults_of_an_object_are_told(tmp_path: Path) -> None:
    bad = object_xml(name="", box=box_xml("a", 1, "b", 2), extra="<difficult>?</difficult>")
    assert [fault.field for fault in parse(tmp_path, file_xml(bad)).faults] == [
        "name",
        "difficult",
        "bndbox/xmin",
        "bndbox/xmax",
    ]


@pytest.mark.parametrize(
    ("box", "expected", "summaries"),
    [
        ((0, 0, 9, 9), [0, 0, 9, 9], [voc_xml.ZERO_BASED]),
        ((0, 5, WIDTH, HEIGHT), [0, 4, WIDTH, HEIGHT], [voc_xml.ZERO_BASED]),
        ((0.5, 5, 9, 9), [0, 4, 9, 9], [voc_xml.ZERO_BASED]),
        ((-3, 5, 9, 9), [0, 4, 9, 9], [voc_xml.CLIPPED]),
        ((5, 5, WIDTH + 1, 9), [4, 4, WIDTH, 9], [voc_xml.CLIPPED]),
        ((5, 5, 9, 1e6), [4, 4, 9, HEIGHT], [voc_xml.CLIPPED]),
        ((0, 5, WIDTH + 1, 9), [0, 4, WIDTH, 9], [voc_xml.CLIPPED, voc_xml.ZERO_BASED]),
    ],
)
def test_boxes_partly_outside_are_clipped(
    tmp_path: Path, box: tuple[float, ...], expected: list[float], summaries: list[str]
) -> None:
    found = parse(tmp_path, file_xml(object_xml(box=box_xml(*box))))
    assert found.boxes.tolist() == [expected]
    assert [fault.summary for fault in found.faults] == summaries
    assert all(fault.severity is Severity.WARNING for fault in found.faults)


@pytest.mark.parametrize(
    ("width", "height", "orientation", "message"),
    [
        (40, 30, 1, None),
        (41, 30, 1, "says '41' x '30', the image is 40 x 30"),
        (0, 0, 1, "says '0' x '0'"),
        ("", 30, 1, "says '' x '30'"),
        (30, 40, 1, "swapped"),
        (30, 40, 6, None),
        (40, 30, 6, "EXIF orientation"),
    ],
)
def test_size_is_checked_against_the_image(
    tmp_path: Path, width: object, height: object, orientation: int, message: str | None
) -> None:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    header = ImageHeader("JPEG", "RGB", (30, 40), orientation)
    faults = parse(tmp_path, file_xml(size=size), header).faults
    assert [fault.summary for fault in faults] == ([voc_xml.WRONG_SIZE] if message else [])
    assert message is None or message in faults[0].message


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252", "gbk", "shift_jis", "euc-kr", "koi8-r", "utf-8-sig"]
)
def test_declared_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    name = {"gbk": "狗", "shift_jis": "犬", "euc-kr": "개", "koi8-r": "собака"}.get(encoding, "Köter")
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?>' + file_xml(object_xml(name))
    found = parse(tmp_path, text.encode(encoding))
    assert found.faults == ()
    assert found.names == (name,)


BILLION_LAUGHS = '<!DOCTYPE z [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'
EXTERNAL = '<!DOCTYPE z [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation>&a;</annotation>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not well-formed"),
        (b"<annotation><object></annotation>", "not well-formed"),
        (b"<annotation>&undefined;</annotation>", "not well-formed"),
        (b"{}", "not well-formed"),
        (b"<html/>", "holds <'html'>, expected <annotation>"),
        (BILLION_LAUGHS.encode(), "document type or entities, which are refused"),
        (BILLION_LAUGHS.encode("utf-16"), "document type or entities, which are refused"),
        (EXTERNAL.encode(), "document type or entities, which are refused"),
        (b'<!DOCTYPE annotation SYSTEM "voc.dtd"><annotation/>', "document type or entities, which are refused"),
        ("<annotation>Köter</annotation>".encode("latin-1"), "is not in utf-8"),
        (b'<?xml version="1.0" encoding="ascii"?><a>\xff</a>', "is not in ascii"),
        (b'<?xml version="1.0" encoding="utf-16"?><annotation/>', "not"),
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', "unknown encoding 'klingon'"),
        (b'<?xml version="1.0" encoding="zip"?><annotation/>', "unknown encoding 'zip'"),
        (b'<?xml version="1.0" encoding="punycode"?><annotation/>', "unknown encoding 'punycode'"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    found = parse(tmp_path, content)
    assert found.names == ()
    assert [fault.severity for fault in found.faults] == [Severity.ERROR]
    assert message in str(found.faults[0])
    assert str(found.faults[0]).startswith(str(tmp_path / "a.xml"))


def test_large_files_and_pipes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voc_xml, "MAX_FILE_BYTES", 50)
    assert "at most 50 are read" in str(parse(tmp_path, file_xml(object_xml())).faults[0])
    os.mkfifo(tmp_path / "pipe.xml")
    assert "not a regular file" in str(parse_annotation(tmp_path / "pipe.xml", HEADER).faults[0])
    assert "cannot be read (No such file" in str(parse_annotation(tmp_path / "gone.xml", HEADER).faults[0])


def test_many_objects_and_deep_nesting(tmp_path: Path) -> None:
    assert len(parse(tmp_path, file_xml(*[object_xml()] * 10_000)).names) == 10_000
    assert parse(tmp_path, "<annotation>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotation>").faults == ()


FRAGMENTS = ["<annotation>", "</annotation>", "<object>", "</object>", "<name>dog</name>", box_xml(1, 1, 5, 5)]
FRAGMENTS += ["<bndbox>", "</bndbox>", "<xmin>", "</xmin>", "nan", "-1", "1e400", "<!DOCTYPE a>", "&a;", "\0", "<size>"]


@SETTINGS
@given(st.one_of(st.binary(), st.lists(st.sampled_from(FRAGMENTS)).map(lambda parts: "".join(parts).encode())))
def test_parsing_never_raises(tmp_path: Path, content: bytes) -> None:
    found = parse(tmp_path, content)
    assert len(found.boxes) == len(found.names) == len(found.difficult)


VALUES = st.one_of(st.integers(-50, 90), st.floats(), st.text("0123456789.-+e_ ", max_size=6))


@SETTINGS
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), max_size=4))
def test_boxes_that_are_kept_lie_inside_and_have_area(tmp_path: Path, boxes: list[tuple[object, ...]]) -> None:
    found = parse(tmp_path, file_xml(*[object_xml(box=box_xml(*box)) for box in boxes]))
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= [WIDTH, HEIGHT]).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert len(found.names) + sum(fault.severity is Severity.ERROR for fault in found.faults) >= len(boxes)


# The data set


def test_a_data_set_reads_images_and_targets(tmp_path: Path) -> None:
    cat = object_xml("cat", box_xml(2, 3, 4, 5), "<difficult>1</difficult>")
    root = make_voc(tmp_path, {"train": ["b", "a", "c"]}, {"a": file_xml(), "c": file_xml(cat, object_xml())})
    data: DetectionDataset = open_form(Form("voc", root, ()), ["train"], None, pytest.fail)
    assert data.classes == ("cat", "dog")
    assert data.image_ids == ("b", "a", "c")
    assert len(data) == 3
    assert data.size(1) == (HEIGHT, WIDTH)
    assert data.target(0).boxes.tolist() == [[0, 1, 10, 20]]
    assert data.target(1).boxes.shape == (0, 4)
    sample = data.read(2)
    assert sample.image_id == "c"
    assert sample.original_size == (HEIGHT, WIDTH)
    assert sample.image.shape == (3, HEIGHT, WIDTH)
    assert sample.image.dtype == torch.uint8
    assert sample.target is not None
    assert sample.target.labels.tolist() == [0, 1]
    assert sample.target.ignore.tolist() == [True, False]
    assert sample.target.boxes[0].tolist() == [1, 2, 4, 5]
    sample.image[:] = 0
    sample.target.boxes[:] = 0
    assert data.target(2).boxes[0].tolist() == [1, 2, 4, 5]
    assert pickle.loads(pickle.dumps(data)).image_ids == data.image_ids


def test_given_classes_keep_their_order(tmp_path: Path) -> None:
    data = open_form(Form("voc", make_voc(tmp_path, {"train": ["a"]}), ()), ["train"], ["zebra", "dog"], pytest.fail)
    assert data.classes == ("zebra", "dog")
    assert data.target(0).labels.tolist() == [1]
    assert len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png", ".PNG", ".bmp", ".webp", ".tiff", ".gif"])
def test_images_are_found_by_id_whatever_their_suffix(tmp_path: Path, suffix: str) -> None:
    root = make_voc(tmp_path, {"train": ["a.v2"]}, suffix=suffix)
    assert open_form(Form("voc", root, ()), ["train"], None).read(0).image.shape == (3, HEIGHT, WIDTH)


def test_split_files_are_read_with_patience(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"train": ["a", "b", "c"]})
    (root / "ImageSets/Main/train.txt").write_bytes(b"\xef\xbb\xbfa  1\r\n\r\n  b -1\r\na 1\n\nc 0")
    warnings: list[str] = []
    assert open_form(Form("voc", root, ()), ["train"], None, warnings.append).image_ids == ("a", "b", "c")
    assert len(warnings) == 1
    assert "1 ids are listed more than once" in warnings[0]
    assert "line 4: id 'a'" in warnings[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../a", "line 1: id '../a' leads to another folder"),
        ("..", "leads to another folder"),
        ("/etc/passwd", "leads to another folder"),
        ("..\\a", "leads to another folder"),
        (".", "leads to another folder"),
        ("a\0", "leads to another folder"),
        ("x\\a", "id 'x/a' has no image"),
        ("my photo", "id 'my photo' has no image"),
        ("a 1 1", "id 'a 1' has no image"),
        ("gone", "id 'gone' has no image"),
    ],
)
def test_bad_lines_of_a_split_are_errors(tmp_path: Path, line: str, message: str) -> None:
    root = make_voc(tmp_path, {"train": ["a"]})
    (root / "ImageSets/Main/train.txt").write_text(line + "\n")
    with pytest.raises(ValueError) as caught:
        open_form(Form("voc", root, ()), ["train"], None)
    assert message in str(caught.value)
    assert "train.txt" in str(caught.value)
    assert "detkit check-data" in str(caught.value)


def test_a_split_that_is_not_text_or_empty_is_an_error(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"train": ["a"], "val": []})
    with pytest.raises(ValueError, match=r"val\.txt: 'val' lists no images; add some or remove it"):
        open_form(Form("voc", root, ()), ["val"], None)
    with pytest.raises(ValueError, match="list no images"):
        open_form(Form("voc", root, ()), [], None)
    (root / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfea\0")
    with pytest.raises(ValueError, match="cannot be read as UTF-8"):
        open_form(Form("voc", root, ()), ["train"], None)


def test_missing_annotation_and_twofold_image_are_errors(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"train": ["a"]})
    Image.new("RGB", (4, 4)).save(root / "JPEGImages/a.png")
    with pytest.raises(ValueError, match=r"id 'a' has 2 images: a.jpg, a.png; keep one"):
        open_form(Form("voc", root, ()), ["train"], None)
    (root / "JPEGImages/a.png").unlink()
    (root / "Annotations/a.xml").unlink()
    with pytest.raises(ValueError, match=r"Annotations/a.xml is missing.*detkit detect"):
        open_form(Form("voc", root, ()), ["train"], None)


def test_the_first_error_stops_and_names_its_place(tmp_path: Path) -> None:
    bad = file_xml(object_xml(), object_xml("cat", box_xml(1, 2, "x", 4)))
    root = make_voc(tmp_path, {"train": ["a", "b"], "val": ["c"]}, {"b": bad})
    with pytest.raises(ValueError, match=r"b\.xml: object 1 \(cat\): bndbox/xmax: is 'x', expected a number"):
        open_form(Form("voc", root, ()), ["train"], None)
    with pytest.raises(ValueError, match=r"object 0 \(dog\): name: 'dog' is not one of the classes, the nearest"):
        open_form(Form("voc", root, ()), ["val"], ["dogs"])
    (root / "JPEGImages/a.jpg").write_bytes(b"")
    with pytest.raises(FaultError, match=r"a\.jpg: the file is empty"):
        open_form(Form("voc", root, ()), ["train"], None)


def test_classes_must_be_there_and_differ(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"train": ["a"]}, {"a": file_xml()})
    with pytest.raises(ValueError, match="no objects, so no classes"):
        open_form(Form("voc", root, ()), ["train"], None)
    with pytest.raises(ValueError, match=r"\['cat'\] are there more than once"):
        open_form(Form("voc", root, ()), ["train"], ["cat", "cat"])
    assert len(open_form(Form("voc", root, ()), ["train"], ["cat"]).target(0).boxes) == 0


def test_warnings_are_summed_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wide = file_xml(object_xml(box=box_xml(1, 1, 99, 9)), object_xml(box=box_xml(0, 1, 9, 9)))
    root = make_voc(tmp_path, {"train": ["a", "b"]}, {"a": wide, "b": wide})
    warnings: list[str] = []
    open_form(Form("voc", root, ()), ["train"], None, warnings.append)
    assert len(warnings) == 2
    assert f"2 {voc_xml.CLIPPED}; the first: {root / 'Annotations/a.xml'}: object 0 (dog)" in warnings[0]
    assert f"2 {voc_xml.ZERO_BASED}; the first: {root / 'Annotations/a.xml'}: object 1 (dog)" in warnings[1]
    open_form(Form("voc", root, ()), ["train"], None)
    assert [record.getMessage() for record in caplog.records] == warnings


def test_a_union_of_folders(tmp_path: Path) -> None:
    make_voc(tmp_path / "VOC2007", {"trainval": ["000001"]})
    make_voc(tmp_path / "VOC2012", {"trainval": ["2008_000001"]}, {"2008_000001": file_xml(object_xml("cat"))})
    data = open_form(Form("voc", tmp_path, ()), ["VOC2007/trainval", "VOC2012/trainval"], None, pytest.fail)
    assert data.image_ids == ("000001", "2008_000001")
    assert data.classes == ("cat", "dog")


def test_the_same_id_in_a_union(tmp_path: Path) -> None:
    make_voc(tmp_path / "x", {"train": ["a", "b"], "trainval": ["a", "b", "c"]})
    make_voc(tmp_path / "y", {"train": ["a"]})
    both = open_form(Form("voc", tmp_path, ()), ["x/train", "y/train"], None, pytest.fail)
    assert both.image_ids == ("x_train_a", "b", "y_train_a")
    assert [path.parent.parent.name for path in both.paths] == ["x", "x", "y"]
    warnings: list[str] = []
    assert open_form(Form("voc", tmp_path, ()), ["x/train", "x/trainval"], None, warnings.append).image_ids == (
        "a",
        "b",
        "c",
    )
    assert len(warnings) == 1
    assert "2 ids are listed more than once" in warnings[0]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "data set", {"train": ["a"], "test": ["b"]})
    with pytest.raises(DatasetMissing) as caught:
        open_form(Form("voc", root, ()), ["val"], None)
    assert str(caught.value) == (
        f"{root}/ImageSets/Main/val.txt is missing, needed for split 'val'; splits below {root}: test, train"
    )
    with pytest.raises(DatasetMissing) as caught:
        open_form(Form("voc", root, ()), ["VOC2007/trainval"], None)
    assert f"{root}/VOC2007 is missing" in str(caught.value)
    assert str(caught.value).endswith(f"detkit download voc07 --root '{root}'")
    with pytest.raises(DatasetMissing, match=r"gone is missing.* none; .*detkit download voc12 --root"):
        open_form(Form("voc", tmp_path / "gone", ()), ["VOC2012/train"], None)


def test_per_class_files_are_not_splits(tmp_path: Path) -> None:
    make_voc(tmp_path / "VOC2007", {"train": ["a"], "my_train": ["a"], "dog_train": ["a"]})
    (tmp_path / "VOC2007/ImageSets/Main/dog_train.txt").write_text("a  1\n")
    assert find_splits(tmp_path) == ("VOC2007/my_train", "VOC2007/train")
    assert find_splits(tmp_path / "gone") == ()
    assert open_form(Form("voc", tmp_path, ()), ["VOC2007/dog_train"], None).image_ids == ("a",)


@pytest.mark.parametrize(("factor", "count", "is_error"), [(2, 5, True), (0.5, 6, True), (1, 5, False), (2, 4, False)])
def test_images_that_were_resized_without_boxes(tmp_path: Path, factor: float, count: int, is_error: bool) -> None:
    for number in range(count):
        Image.new("RGB", (round(80 * factor), round(60 * factor))).save(tmp_path / f"{number}.png")
        box = "<xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax>"
        size = "<size><width>80</width><height>60</height></size>"
        text = f"<annotation>{size}<object><name>dog</name><bndbox>{box}</bndbox></object></annotation>"
        (tmp_path / f"{number}.xml").write_text(text)
    [split] = read_voc_splits(tmp_path, ["all"])
    errors = [str(fault) for fault in split.faults if fault.severity is Severity.ERROR]
    assert len(errors) == is_error
    assert all(f"all {count} images are {factor:g} times as large as their <size> says" in error for error in errors)
