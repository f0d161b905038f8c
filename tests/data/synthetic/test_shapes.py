"""The built-in set: the same images for the same seed, boxes that are right, written whole or not at all."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.io.images import read_image
from detkit.data.synthetic import shapes
from detkit.data.synthetic.shapes import COUNTS, Placed, Scene, draw_scene, write_shapes
from detkit.data.synthetic.shapes_render import CLASSES, Style, dress, paint

TOOL = Path(__file__).parents[3] / "tools" / "make_shapes.py"
LONG_SIDES, OBJECT_SIZES = (64, 96), (8, 40)  # px; small images are drawn fast
SMALL = {"train": 20, "val": 10, "test": 10}
TINY = {"train": 2, "val": 1, "test": 1}


def write_small(root: Path, seed: int = 0, counts: dict[str, int] = SMALL) -> None:
    write_shapes(root, seed, counts, LONG_SIDES, OBJECT_SIZES)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(0, index, LONG_SIDES, OBJECT_SIZES) for index in range(sum(SMALL.values()))]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: list[Scene]) -> Path:
    """The scenes, written; they are not drawn a second time."""
    root = tmp_path_factory.mktemp("shapes") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "draw_scene", lambda seed, index, *sizes: scenes[index])
        write_small(root)
    return root


def content(root: Path) -> dict[str, bytes]:
    """Every file: images decoded, for a new release of a codec may write other bytes."""
    return {
        path.relative_to(root).as_posix(): read_image(path).tobytes()
        if path.parent.name == "JPEGImages"
        else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


# Drawing


def test_the_same_seed_gives_the_same_set(tmp_path: Path) -> None:
    write_small(tmp_path / "one", counts=TINY)
    write_small(tmp_path / "two", counts=TINY)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_another_seed_gives_other_images() -> None:
    first, second = (draw_scene(seed, 0, LONG_SIDES, OBJECT_SIZES) for seed in (0, 1))
    assert first.pixels.tobytes() != second.pixels.tobytes()


def test_an_image_does_not_depend_on_the_number_of_images(root: Path, tmp_path: Path) -> None:
    write_small(tmp_path / "tiny", counts=TINY)
    name = "Annotations/000003.xml"
    assert (tmp_path / "tiny" / name).read_bytes() == (root / name).read_bytes()


def whole(placed: Placed) -> np.ndarray:
    """(P, 2) the pixels (y, x) of the whole object, those outside the image too."""
    return np.argwhere(placed.alpha > 0.5) + np.array([placed.y, placed.x])


def owners(scene: Scene) -> np.ndarray:
    """(H, W) the object that each pixel shows, -1 for none: objects put down one by one, pixel by pixel."""
    height, width = scene.pixels.shape[:2]
    shown = np.full((height, width), -1)
    for number, placed in enumerate(scene.objects):
        for y, x in whole(placed):
            if 0 <= y < height and 0 <= x < width:
                shown[y, x] = number
    return shown


def test_boxes_and_flags_tell_what_is_visible(scenes: list[Scene]) -> None:
    flags = set()
    for scene in scenes:
        shown = owners(scene)
        height, width = shown.shape
        for number, placed in enumerate(scene.objects):
            ys, xs = np.nonzero(shown == number)
            assert placed.voc_box == (xs.min() + 1, ys.min() + 1, xs.max() + 1, ys.max() + 1)
            pixels = whole(placed)
            assert placed.difficult == (len(ys) / len(pixels) < 0.3)
            assert placed.truncated == bool(((pixels < 0) | (pixels >= (height, width))).any())
            flags |= {("difficult", placed.difficult), ("truncated", placed.truncated)}
    assert len(flags) == 4  # both values of both


def test_an_object_is_painted_where_its_box_is(scenes: list[Scene]) -> None:
    """Alone and without a shadow, the pixels that it covers by more than half are those of the box."""
    alone = [(scene.pixels.shape, scene.objects[0]) for scene in scenes if len(scene.objects) == 1]
    assert alone
    for (height, width, *_), placed in alone:
        dark, light = (painted_alone(placed, height, width, ground) for ground in (0.5, 0.51))
        uncovered = (light - dark)[..., 0] / 0.01  # how much of the ground still shows
        ys, xs = np.nonzero(uncovered < 0.5)
        assert placed.voc_box == (xs.min() + 1, ys.min() + 1, xs.max() + 1, ys.max() + 1)


def painted_alone(placed: Placed, height: int, width: int, ground: float) -> np.ndarray:
    canvas = np.full((height, width, 3), ground, np.float32)
    style = Style(grey=False, light=(1.0, 0.0), shadow=0.0)
    paint(canvas, placed.alpha, placed.x, placed.y, dress(placed.name), style, np.random.default_rng(0))
    return canvas


@pytest.mark.parametrize(
    ("x", "hidden", "box", "truncated", "difficult"),
    [
        (0, 0, (1, 1, 10, 4), False, False),
        (10, 0, (11, 1, 20, 4), False, False),  # touches the border of 20 px from inside
        (-1, 0, (1, 1, 9, 4), True, False),
        (11, 0, (12, 1, 20, 4), True, False),
        (0, 7, (8, 1, 10, 4), False, False),  # 3 columns of 10 are left: not below 0.3
        (0, 8, (9, 1, 10, 4), False, True),
        (-8, 0, (1, 1, 2, 4), True, True),
    ],
)
def test_a_bar_by_hand(x: int, hidden: int, box: tuple[int, ...], truncated: bool, difficult: bool) -> None:
    """A bar of 10 x 4 px in an image of 20 x 4, its first `hidden` columns behind something."""
    visible = np.zeros((4, 20), np.bool_)
    visible[:, max(x + hidden, 0) : x + 10] = True
    placed = Placed("square", np.ones((4, 10), np.float32), x, 0, visible)
    assert (placed.voc_box, placed.truncated, placed.difficult) == (box, truncated, difficult)


def test_objects_stay_large_enough_to_see(scenes: list[Scene]) -> None:
    for placed in (placed for scene in scenes for placed in scene.objects):
        x1, y1, x2, y2 = placed.voc_box
        assert min(x2 - x1, y2 - y1) + 1 >= shapes.SMALLEST_VISIBLE


# Writing


def test_it_loads_without_a_warning(root: Path, scenes: list[Scene]) -> None:
    warnings: list[str] = []
    dataset = open_form(Form("voc", root, ()), ["train", "val", "test"], None, warnings.append)
    assert warnings == []
    assert dataset.classes == CLASSES  # every class is there
    assert len(dataset) == len(scenes)
    for index, scene in enumerate(scenes):
        target = dataset.target(index)
        corners = [(x1 - 1, y1 - 1, x2, y2) for x1, y1, x2, y2 in (placed.voc_box for placed in scene.objects)]
        assert target.boxes.tolist() == [list(map(float, box)) for box in corners]
        assert [CLASSES[label] for label in target.labels.tolist()] == [placed.name for placed in scene.objects]
        assert target.ignore.tolist() == [placed.difficult for placed in scene.objects]
        assert tuple(dataset.size(index)) == scene.pixels.shape[:2]


def test_splits_are_apart_and_trainval_is_both(root: Path) -> None:
    ids = {
        split: (root / f"ImageSets/Main/{split}.txt").read_text().split()
        for split in ("train", "val", "trainval", "test")
    }
    assert {split: len(members) for split, members in ids.items()} == SMALL | {"trainval": 30}
    assert ids["trainval"] == ids["train"] + ids["val"]
    assert len({*ids["trainval"], *ids["test"]}) == 40


def test_it_has_what_real_sets_have(root: Path) -> None:
    """So has the default set, whose first 40 images are of the same kinds: they follow from the index."""
    assert sum(COUNTS.values()) == 580
    formats, modes, empty = set(), set(), []
    for path in sorted((root / "JPEGImages").iterdir()):
        with Image.open(path) as image:
            formats.add(image.format)
            modes.add(image.mode)
        if "<object>" not in (root / "Annotations" / f"{path.stem}.xml").read_text():
            empty.append(path.stem)
    assert formats == {"JPEG", "PNG", "BMP"}
    assert modes == {"RGB", "L"}
    assert empty == ["000019", "000039"]


def test_a_whole_set_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small(tmp_path / "set", counts=TINY)
    monkeypatch.setattr(shapes, "draw_scene", None)  # would fail if called
    write_small(tmp_path / "set", counts=TINY)


def test_a_stopped_run_leaves_nothing_and_the_next_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(seed: int, index: int, *sizes: tuple[int, int]) -> Scene:
        if index == 2:
            raise KeyboardInterrupt
        return draw_scene(seed, index, *sizes)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shapes, "draw_scene", stop)
        write_small(tmp_path / "set", counts=TINY)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set").mkdir()  # an empty folder is as good as none
    write_small(tmp_path / "set", counts=TINY)
    assert len(list((tmp_path / "set" / "Annotations").iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_two_processes_may_write_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw_while_another_writes(seed: int, index: int, *sizes: tuple[int, int]) -> Scene:
        monkeypatch.setattr(shapes, "draw_scene", draw_scene)
        write_small(tmp_path / "set", counts=TINY)
        return draw_scene(seed, index, *sizes)

    monkeypatch.setattr(shapes, "draw_scene", draw_while_another_writes)
    write_small(tmp_path / "set", counts=TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_set_of_other_parameters_is_refused(tmp_path: Path) -> None:
    write_small(tmp_path / "set", counts=TINY)
    with pytest.raises(ValueError, match=r"was made with seed 0, asked for 1; delete it or choose another folder"):
        write_small(tmp_path / "set", seed=1, counts=TINY)
    with pytest.raises(ValueError, match=r"was made with counts \{'train': 2, .*asked for"):
        write_small(tmp_path / "set", counts=TINY | {"val": 2})


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"is no shapes set .*choose another folder"):
        write_small(tmp_path, counts=TINY)
    with pytest.raises(ValueError, match="is no shapes set"):
        write_small(tmp_path / "mine.txt", counts=TINY)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("seed", "counts", "long_sides", "object_sizes", "message"),
    [
        (-1, TINY, LONG_SIDES, OBJECT_SIZES, "seed -1"),
        (0, {"train": -1}, LONG_SIDES, OBJECT_SIZES, r"counts\['train'\] = -1"),
        (0, {"tests": 1}, LONG_SIDES, OBJECT_SIZES, r"counts\['tests'\]"),
        (0, TINY, (63, 96), OBJECT_SIZES, r"long_sides \(63, 96\)"),
        (0, TINY, (96, 64), OBJECT_SIZES, r"long_sides \(96, 64\)"),
        (0, TINY, LONG_SIDES, (7, 40), r"object_sizes \(7, 40\)"),
        (0, TINY, LONG_SIDES, (40, 20), r"object_sizes \(40, 20\)"),
        (0, TINY, LONG_SIDES, (39, 60), "at most 38 to fit images of long side 64"),  # 0.9 * 64 / 1.5
    ],
)
def test_parameters_out_of_range(
    tmp_path: Path,
    seed: int,
    counts: dict[str, int],
    long_sides: tuple[int, int],
    object_sizes: tuple[int, int],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        write_shapes(tmp_path / "set", seed, counts, long_sides, object_sizes)
    assert list(tmp_path.iterdir()) == []


def test_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["make_shapes.py", *arguments])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(TOOL), run_name="__main__")
        return exit_.value.code

    root = tmp_path / "set"
    assert run("--root", str(root), "--seed", "5", "--train", "1", "--val", "1", "--test", "0") == 0
    assert capsys.readouterr().out == f"{root}: the shapes set of seed 5 is there\n"
    assert len(list((root / "JPEGImages").iterdir())) == 2
    assert run("--root", str(root)) == 2
    assert "was made with seed 5" in capsys.readouterr().err
    assert run("--help") == 0
    assert "example:" in capsys.readouterr().out
