"""Files of CVAT: where they are found, which shapes are objects, and what is refused with image, shape and field."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from PIL import Image

from detkit.data.faults import CLIPPED, LISTED_TWICE, NOT_ANNOTATED, DatasetMissing
from detkit.data.formats import cvat_xml
from detkit.data.formats.cvat_shapes import NOT_OBJECTS, OUTSIDE, TURNED
from detkit.data.formats.cvat_xml import find_cvat_splits, read_cvat_split
from detkit.data.formats.read_split import NO_AREA, ReadSplit
from tests.data.formats.told import errors, warnings

HEIGHT, WIDTH = 20, 40
DOG = '<box label="dog" occluded="0" xtl="10.00" ytl="5.00" xbr="30.00" ybr="15.00" z_order="0"></box>'
META = "<meta><task><labels>{}</labels></task></meta>"


def image(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (shade, 2, 3)).save(path)
    return path


def element(name: str, shapes: str = DOG, subset: str | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    of_subset = "" if subset is None else f" subset={quoteattr(subset)}"
    sides = f'width="{size[0]}" height="{size[1]}"'
    return f'<image id="0" name={quoteattr(name)}{of_subset} {sides}>{shapes}</image>'


def written(file: Path, *elements: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(elements)
    file.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{body}</annotations>')
    return file


def read(root: Path, shapes: str) -> ReadSplit:
    image(root / "images/a.png")
    written(root / "annotations.xml", element("a.png", shapes))
    return read_cvat_split(root, "all")


# Shapes


@pytest.mark.parametrize(
    ("shape", "box", "area"),
    [
        (DOG, [10, 5, 30, 15], 200),
        ('<polygon label="dog" points="10.0,5.0;30.0,5.0;10.0,15.0"/>', [10, 5, 30, 15], 100),
        ('<ellipse label="dog" cx="20" cy="10" rx="8" ry="4"/>', [12, 6, 28, 14], np.pi * 32),
        ('<ellipse label="dog" cx="20" cy="10" rx="8" ry="4" rotation="90"/>', [16, 2, 24, 18], np.pi * 32),
        # A mask of 4 x 3 at (10, 5): 0110 / 0100 / 0000, in runs of 0, 1, 0, ...
        ('<mask label="dog" rle="1, 2, 2, 1, 6" left="10" top="5" width="4" height="3"/>', [11, 5, 13, 7], 3),
        # A run over the end of a row, 0001 / 1100 / 0000, reaches from side to side.
        ('<mask label="dog" rle="3, 3, 6" left="10" top="5" width="4" height="3"/>', [10, 5, 14, 7], 3),
        (
            '<cuboid label="dog" xtl1="10" ytl1="6" xbl1="10" ybl1="15" xtr1="20" ytr1="6" xbr1="20" ybr1="15" '
            'xtl2="15" ytl2="5" xbl2="15" ybl2="12" xtr2="30" ytr2="5" xbr2="30" ybr2="12"/>',
            [10, 5, 30, 15],
            200,
        ),
    ],
)
def test_shapes_that_have_a_box(tmp_path: Path, shape: str, box: list[float], area: float) -> None:
    found = read(tmp_path, shape)
    assert found.faults == ()
    np.testing.assert_allclose(found.truth.objects.boxes, [box], atol=1e-9)
    np.testing.assert_allclose(found.truth.objects.area, [area], atol=1e-9)
    tag = shape.split()[0].strip("<")
    assert found.name_object(0) == f"image 0 ('a.png'), {tag} 0 (dog)"


def test_turned_boxes_are_the_upright_ones_around_them_and_say_so(tmp_path: Path) -> None:
    quarter = DOG.replace("z_order", 'rotation="90.00" z_order')
    eighth = DOG.replace("z_order", 'rotation="45" z_order').replace('"10.00"', '"15.00"').replace("30.00", "25.00")
    found = read(tmp_path, quarter + eighth + DOG.replace("z_order", 'rotation="0.00" z_order'))
    assert warnings(found) == [TURNED, TURNED] and errors(found) == []
    half = 10 / 2**0.5
    expected = [[15, 0, 25, 20], [20 - half, 10 - half, 20 + half, 10 + half], [10, 5, 30, 15]]
    np.testing.assert_allclose(found.truth.objects.boxes, expected, atol=1e-9)
    np.testing.assert_allclose(found.truth.objects.area, [200, 100, 200])


def test_shapes_without_box_are_left_out_with_a_warning(tmp_path: Path) -> None:
    shapes = (
        '<tag label="day"/><points label="p" points="1,2"/><polyline label="l" points="1,2;3,4"/>'
        '<skeleton label="s"><points label="1" points="1,2"/></skeleton>'
    )
    found = read(tmp_path, shapes + DOG.replace("z_order", 'outside="1" z_order') + DOG)
    assert warnings(found) == [NOT_OBJECTS] * 4 + [OUTSIDE] and errors(found) == []
    assert len(found.truth.objects) == 1


def test_attributes_that_are_known_say_what_an_object_is(tmp_path: Path) -> None:
    def with_attribute(name: str, value: str) -> str:
        return DOG.replace("</box>", f'<attribute name="{name}">{value}</attribute></box>')

    found = read(
        tmp_path,
        with_attribute("difficult", "true")
        + with_attribute("is_crowd", "True")
        + with_attribute("truncated", "1")
        + with_attribute("difficult", "false")
        + with_attribute("colour", "true"),
    )
    objects = found.truth.objects
    assert objects.ignore.tolist() == [True, True, False, False, False]
    assert objects.crowd.tolist() == [False, True, False, False, False]
    assert objects.truncated.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (DOG.replace("10.00", "ten"), "image 0 ('a.png'), box 0 (dog): box: xtl is 'ten', expected a number of pixels"),
        (DOG.replace(' xtl="10.00"', ""), "box: xtl is '', expected a number of pixels"),
        (DOG.replace("10.00", "nan"), "xtl is 'nan'"),
        (DOG.replace("10.00", "1e99"), "xtl is '1e99'"),
        (DOG.replace("10.00", "1" * 9000), "xtl is '111"),
        (DOG.replace("z_order", 'rotation="x" z_order'), "rotation is 'x'"),
        (DOG.replace("10.00", "31.00"), "box: (31, 5, 30, 15) is no box"),
        (DOG.replace("dog", " "), "box 0 (''): class: '' is empty"),
        (DOG.replace("10.00", "41").replace("30.00", "50"), "box: (41, 5, 50, 15) lies outside the image of 40 x 20"),
        ('<polygon label="dog" points=""/>', "polygon 0 (dog): polygon: points are '', expected x,y;x,y"),
        ('<polygon label="dog" points="1,2;3"/>', "points are '1,2;3', expected x,y;x,y"),
        ('<polygon label="dog" points="1,2;3,b"/>', "points is 'b', expected a number"),
        ('<ellipse label="dog" cx="20" cy="10" rx="8"/>', "ry is '', expected a number"),
        (
            '<mask label="dog" rle="1,2" left="0" top="0" width="2" height="2"/>',
            "its runs add up to 3 pixels, expected",
        ),
        ('<mask label="dog" rle="4" left="0" top="0" width="2" height="2"/>', "mask: is empty; draw or remove it"),
        (
            '<mask label="dog" rle="-1,5" left="0" top="0" width="2" height="2"/>',
            "rle is '-1', expected a whole number",
        ),
        ('<mask label="dog" rle="" left="0" top="0" width="2" height="2"/>', "rle is '', expected a whole number"),
        ('<star label="dog"/>', "star 0 (dog): is a <'star'>; known are box, cuboid, ellipse"),
    ],
)
def test_shapes_that_are_errors(tmp_path: Path, shape: str, message: str) -> None:
    found = read(tmp_path, shape)
    assert len(found.truth.objects) == 0
    assert len(errors(found)) == 1
    assert message in errors(found)[0]
    assert errors(found)[0].startswith(str(tmp_path / "annotations.xml"))


def test_boxes_beyond_the_image_or_without_area_are_warnings(tmp_path: Path) -> None:
    found = read(tmp_path, DOG.replace("30.00", "42.5") + DOG.replace("30.00", "10.00"))
    assert warnings(found) == [CLIPPED, NO_AREA]
    assert found.truth.objects.boxes.tolist() == [[10, 5, 40, 15]]


# Files and folders


def test_declared_labels_are_classes_in_their_order(tmp_path: Path) -> None:
    labels = (
        "<label><name>zebra</name><type>any</type></label><label><name>dog</name><type>rectangle</type></label>"
        "<label><name>nose</name><type>points</type><parent>face</parent></label>"
        "<label><name>face</name><type>skeleton</type></label>"
    )
    image(tmp_path / "images/a.png")
    written(tmp_path / "annotations.xml", META.format(labels), element("a.png", DOG + DOG.replace("dog", "ant")))
    assert read_cvat_split(tmp_path, "all").truth.classes == ("zebra", "dog", "ant")


def test_subsets_are_splits_and_their_images_lie_in_folders_of_their_name(tmp_path: Path) -> None:
    for place in ("Train/cam a/f (1).png", "Train/b.png", "Validation/b.png"):
        image(tmp_path / "images" / place)
    written(
        tmp_path / "annotations.xml",
        element("cam a/f (1).png", subset="Train"),
        element("b.png", "", subset="Train"),
        element("b.png", DOG, subset="Validation"),
    )
    assert find_cvat_splits(tmp_path) == ("Train", "Validation")
    train, val = (read_cvat_split(tmp_path, split) for split in ("Train", "Validation"))
    assert train.faults == val.faults == ()
    assert train.truth.image_ids == ("cam_a_f_(1)", "b") and train.truth.counts.tolist() == [1, 0]
    assert val.paths == (tmp_path / "images/Validation/b.png",)
    with pytest.raises(DatasetMissing, match="split 'test' is in no file of CVAT for images; splits there: Train, Val"):
        read_cvat_split(tmp_path, "test")


def test_files_are_splits_by_their_name_or_folder(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        image(tmp_path / f"images/{name}.png")
    written(tmp_path / "train.xml", element("a.png"))
    written(tmp_path / "val.xml", element("b.png"))
    written(tmp_path / "test/annotations.xml", element("c.png"))
    written(tmp_path / "other.xml").write_text("<annotation><object/></annotation>")
    assert find_cvat_splits(tmp_path) == ("test", "train", "val")
    assert [read_cvat_split(tmp_path, split).truth.image_ids for split in ("train", "val", "test")] == [
        ("a",), ("b",), ("c",),
    ]  # fmt: skip
    assert find_cvat_splits(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.png", "images/a.png"),
        ("a.png", "a.png"),
        ("a.png", "data/a.png"),
        ("a", "data/a.png"),  # without suffix, as FiftyOne may write it
        ("cam\\a.png", "images/cam/a.png"),
        ("/mnt/share/cam/a.png", "images/cam/a.png"),
    ],
)
def test_where_images_are_looked_for(tmp_path: Path, name: str, place: str) -> None:
    image(tmp_path / place)
    written(tmp_path / "annotations.xml", element(name))
    found = read_cvat_split(tmp_path, "all")
    assert found.faults == () and found.paths == (tmp_path / place,)
    assert found.truth.image_ids == (("cam_a",) if name.startswith("cam") else ("a",))


def test_images_that_are_not_there_or_outside_are_errors(tmp_path: Path) -> None:
    image(tmp_path / "other.png")
    for name in ("../other.png", str(tmp_path / "other.png"), "gone.png", "", "x" * 5000):
        written(tmp_path / "set/annotations.xml", element(name))
        found = read_cvat_split(tmp_path / "set", "all")
        assert len(found.truth) == 0
        assert "name: " in errors(found)[0] and "is not there; put it into" in errors(found)[0]
    image(tmp_path / "other/b.png")
    written(tmp_path / "set/annotations.xml", element("b.png", subset="../../other"), element("c.png", subset="x"))
    assert len(errors(read_cvat_split(tmp_path / "set", "../../other"))) == 1


def test_images_that_no_file_names_are_left_out_with_a_warning(tmp_path: Path) -> None:
    image(tmp_path / "images/b.png", 1)
    found = read(tmp_path, DOG)
    assert warnings(found) == [NOT_ANNOTATED] and found.faults[0].file == tmp_path / "images/b.png"


def test_an_image_listed_twice_and_a_wrong_size(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    written(tmp_path / "annotations.xml", element("a.png"), element("a.png"))
    found = read_cvat_split(tmp_path, "all")
    assert warnings(found) == [LISTED_TWICE] and len(found.truth) == 1
    written(tmp_path / "annotations.xml", element("a.png"), element("a.png", ""))
    assert (
        "image 1 ('a.png'): a.png has other objects in annotations.xml before"
        in errors(read_cvat_split(tmp_path, "all"))[0]
    )
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images/a.jpg")
    written(tmp_path / "annotations.xml", element("a.png"), element("a.jpg"))
    assert "has the id of" in errors(read_cvat_split(tmp_path, "all"))[0]
    written(tmp_path / "annotations.xml", element("a.png", size=(80, 40)))
    message = errors(read_cvat_split(tmp_path, "all"))[0]
    assert "image 0 ('a.png'): width, height: is 80 x 40, the image is 40 x 20" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><image", "is not well-formed XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><annotations><image name="&a;"/></annotations>', "declares a document type"),
        ('<?xml version="1.0" encoding="nonsense"?><annotations/>', "is not well-formed XML"),
        ('<annotations><track id="0" label="dog"><box/></track></annotations>', 'export it as "CVAT for images 1.1"'),
        ("<annotations></annotations>", "'all' lists no images"),
    ],
)
def test_broken_files_and_videos_are_errors(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    assert find_cvat_splits(tmp_path) == ("all",)
    (fault,) = errors(read_cvat_split(tmp_path, "all"))
    assert fault.startswith(f"{tmp_path / 'annotations.xml'}: ") and message in fault


def test_files_of_any_size_are_read_one_image_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "images/a.png")
    written(tmp_path / "annotations.xml", element("a.png"), element("a.png"), element("a.png"))
    monkeypatch.setattr(cvat_xml, "MAX_ELEMENTS", 4)
    assert errors(read_cvat_split(tmp_path, "all")) == []
    monkeypatch.setattr(cvat_xml, "MAX_ELEMENTS", 3)
    written(tmp_path / "annotations.xml", element("a.png", DOG * 5))
    assert "has over 3 elements in one image" in errors(read_cvat_split(tmp_path, "all"))[0]
    monkeypatch.setattr(cvat_xml, "MAX_FILE_BYTES", 10)
    assert "bytes, at most 10 are read; split it" in errors(read_cvat_split(tmp_path, "all"))[0]
