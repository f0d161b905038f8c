"""The VOC result files: their text, the way back, other tools' names, faults named by line, and equal scores."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.evaluation.voc import Metric, evaluate
from detkit.evaluation.voc_files import read_detections, write_detections
from detkit.structures import Detections, Target
from tests.evaluation.test_voc import Annotations

CLASSES = ("table", "dining_table", "cat")
IDS = ("000001", "2008_000002")


def some_detections() -> dict[str, Detections]:
    scores = torch.tensor([0.75, 0.3, 1.0000001e-8, 1.0e-8])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [1.5, 2.25, 3.125, 4.0], [5.0, 5.0, 9.0, 9.0], [0.0, 0.0, 1.0, 1.0]])
    return {"000001": Detections(boxes, scores, torch.tensor([2, 1, 2, 2])), "2008_000002": Detections.empty()}


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_text_of_the_files(tmp_path: Path) -> None:
    paths = write_detections(tmp_path / "eval", "test", some_detections(), CLASSES, IDS)
    assert [path.name for path in paths] == [f"comp4_det_test_{name}.txt" for name in CLASSES]
    assert paths[0].read_text() == ""
    assert paths[1].read_text() == "000001 0.30000001192092896 2.5 3.25 3.125 4.0\n"
    assert paths[2].read_text().splitlines()[0] == "000001 0.75 1.0 1.0 10.0 20.0"


def test_round_trip(tmp_path: Path) -> None:
    written = some_detections()
    write_detections(tmp_path, "test", written, CLASSES, IDS)
    table = read_detections(tmp_path, CLASSES, IDS)
    assert table.rank.tolist() == [1, 0, 2, 3]  # class after class; the best is of the last
    back = table.by_image(IDS)
    assert tuple(back) == IDS
    for image_id in IDS:
        assert torch.equal(back[image_id].scores, written[image_id].scores.double())
        assert torch.equal(back[image_id].labels, written[image_id].labels)
        assert torch.equal(back[image_id].boxes, written[image_id].boxes.double())
    write_detections(tmp_path / "again", "test", table, CLASSES, IDS)
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_files_of_another_tool(tmp_path: Path) -> None:
    """Another competition and split, no file of two classes, a blank line, ties in the order of the file."""
    lines = "000001 .5 2 2 3 3\n\n2008_000002 .1 1 1 2 2\n000001 .5 1 1 2 2\n"
    folder = write(tmp_path, "comp3-b17_det_val_2_cat.txt", lines)
    write(tmp_path, "readme.txt", "not a result")
    with pytest.warns(UserWarning, match="no file for table, dining_table"):
        table = read_detections(folder, CLASSES, IDS)
    assert table.image_index.tolist() == [0, 1, 0]
    back = table.by_image(IDS)
    assert back["000001"].boxes.tolist() == [[1, 1, 3, 3], [0, 0, 2, 2]]
    assert len(back["2008_000002"]) == 1


def test_class_names_that_end_alike(tmp_path: Path) -> None:
    write(tmp_path, "comp4_det_test_table.txt", "000001 .5 1 1 2 2\n")
    write(tmp_path, "comp4_det_test_dining_table.txt", "000001 .4 1 1 2 2\n")
    write(tmp_path, "comp4_det_test_cat.txt", "")
    for split in (None, "test"):
        assert read_detections(tmp_path, CLASSES, IDS, split).labels.tolist() == [0, 1]


def test_several_sets_of_files(tmp_path: Path) -> None:
    for name, score in (("comp3_det_test", 0.1), ("comp4_det_test", 0.2), ("comp4_det_val", 0.3)):
        write(tmp_path, f"{name}_cat.txt", f"000001 {score} 1 1 2 2\n")
    with pytest.raises(ValueError, match="splits test, val"):
        read_detections(tmp_path, ("cat",), IDS)
    with pytest.raises(ValueError, match="comp3_det_test, comp4_det_test"):
        read_detections(tmp_path, ("cat",), IDS, split="test")
    assert read_detections(tmp_path, ("cat",), IDS, split="val").scores.tolist() == pytest.approx([0.3])
    for prefix in ("comp4_det_test", "comp4_det_test*"):
        back = read_detections(tmp_path / prefix, ("cat",), IDS)
        assert back.scores.tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("000001 .5 1 1 2", r"cat\.txt:2: '000001 .5 1 1 2'; expected image_id score"),
        ("000001 .5 1 1 2 2 7", r"cat\.txt:2: "),
        ("000001 high 1 1 2 2", r"cat\.txt:2: "),
        ("000001 nan 1 1 2 2", r"cat\.txt:2: "),
        ("000001 .5 1 1 inf 2", r"cat\.txt:2: "),
        ("000009 .5 1 1 2 2", r"cat\.txt:2: image '000009' is not among the 2"),
    ],
)
def test_faulty_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, "comp4_det_test_cat.txt", f"000001 .5 1 1 2 2\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_detections(tmp_path, ("cat",), IDS)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file comp"):
        read_detections(tmp_path, CLASSES, IDS)
    with pytest.raises(ValueError, match="no such folder"):
        read_detections(tmp_path / "nothing" / "here", CLASSES, IDS)


def test_ids_of_other_tools(tmp_path: Path) -> None:
    """With spaces and slashes, as a path below the split: as it is, else as our ids are made; not cut at a dot."""
    ids = ("cam_a_f000", "cam a f001", "000012", "frame.01")
    lines = ["cam a/f000 .9 1 1 2 2", "cam a\\f000 .8 1 1 2 2", "cam a f001 .7 1 1 2 2", " 000012\t.6 1 1 2 2", ""]
    write(tmp_path, "comp4_det_test_cat.txt", "\n".join([*lines, "frame.01 .5 1 1 2 2"]))
    assert read_detections(tmp_path, ("cat",), ids).image_index.tolist() == [0, 0, 1, 2, 3]
    write(tmp_path, "comp4_det_test_cat.txt", "cam b/f000 .9 1 1 2 2")
    with pytest.raises(ValueError, match=r"cat\.txt:1: image 'cam b/f000' is not among the 4"):
        read_detections(tmp_path, ("cat",), ids)


def test_what_the_format_cannot_hold(tmp_path: Path) -> None:
    one = Detections(torch.zeros(1, 4), torch.zeros(1), torch.tensor([3]))
    with pytest.raises(ValueError, match=r"label 3; expected 0\.\.2"):
        write_detections(tmp_path, "test", {"000001": one}, CLASSES, IDS)
    spaced = Detections(torch.zeros(1, 4), torch.zeros(1), torch.tensor([0]))
    with pytest.raises(ValueError, match="'a b': expected no white space"):
        write_detections(tmp_path, "test", {"a b": spaced}, CLASSES, ("a b",))
    with pytest.raises(ValueError, match="slashes"):
        write_detections(tmp_path, "test", {}, ("../cat",), IDS)


# Equal scores: the published rules once more, on the text of the files.


def test_equal_scores_keep_the_order_of_the_file_across_images(tmp_path: Path) -> None:
    """Six images with a cat each and one without: the false detection stands last in the file, though not by image."""
    ids = tuple(f"image{k}" for k in range(7))
    cat = Target(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), torch.tensor([0]), torch.tensor([False]))
    dataset = Annotations(("cat",), {ids[0]: Target.empty()} | dict.fromkeys(ids[1:], cat))
    lines = [f"{image_id} 0.5 1 1 9 9\n" for image_id in ids]
    for order, ap in (([*lines[1:], lines[0]], 1.0), (lines, 6 / 7)):
        write(tmp_path, "comp4_det_test_cat.txt", "".join(order))
        result = evaluate(read_detections(tmp_path, ("cat",), ids), dataset, "voc07")
        assert result.mean_ap == pytest.approx(ap)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_equal_scores_by_the_plain_rules(first: int, tmp_path: Path) -> None:
    """200 cases in all, of three scores at most over images and classes."""
    for seed in range(first, first + 20):
        rng = np.random.default_rng(seed)
        targets = {f"image {k}": random_target(rng) for k in range(int(rng.integers(1, 7)))}
        dataset = Annotations(("cat", "dog", "bird"), targets)
        files = {name: "".join(random_lines(rng, targets, label)) for label, name in enumerate(dataset.classes)}
        for name, text in files.items():
            write(tmp_path, f"comp4_det_test_{name}.txt", text)
        table = read_detections(tmp_path, dataset.classes, dataset.image_ids)
        for metric in ("voc07", "voc10"):
            result = evaluate(table, dataset, metric)
            for label, (name, text) in enumerate(files.items()):
                expected = plain_ap(text, targets, label, metric)
                assert result.ap[name] == (None if expected is None else pytest.approx(expected, abs=1e-12)), seed


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_has_the_score_of_what_is_in_memory(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    targets = {f"image{k}": random_target(rng) for k in range(6)}
    dataset = Annotations(("cat", "dog", "bird"), targets)
    detections = {}
    for image_id in rng.permutation(list(targets)).tolist():
        boxes = targets[image_id].boxes.repeat(3, 1)
        boxes += torch.from_numpy(rng.normal(0, 1, boxes.shape)).float()
        scores, labels = rng.choice([0.1, 0.5, 0.7], len(boxes)), rng.integers(0, 3, len(boxes))
        detections[image_id] = Detections(boxes, torch.from_numpy(scores).float(), torch.from_numpy(labels))
    write_detections(tmp_path, "test", detections, dataset.classes, dataset.image_ids)
    table = read_detections(tmp_path, dataset.classes, dataset.image_ids)
    for metric in ("voc07", "voc10"):
        assert evaluate(table, dataset, metric).ap == evaluate(detections, dataset, metric).ap


def random_target(rng: np.random.Generator) -> Target:
    """Up to five objects of a few whole sizes, one in five difficult."""
    corners = rng.integers(0, 12, (int(rng.integers(0, 6)), 2))
    boxes = np.concatenate([corners, corners + rng.integers(3, 7, corners.shape)], axis=1)
    return Target(
        torch.from_numpy(boxes).float(),
        torch.from_numpy(rng.integers(0, 3, len(boxes))),
        torch.from_numpy(rng.random(len(boxes)) < 0.2),
    )


def random_lines(rng: np.random.Generator, targets: Mapping[str, Target], label: int) -> list[str]:
    """Boxes at and beside the objects of every class, in any order of the images."""
    lines = []
    for image_id, target in targets.items():
        for box, own in zip(target.boxes.long().tolist(), target.labels.tolist()):
            for _ in range(int(rng.integers(0, 4 if own == label else 2))):
                x1, y1, x2, y2 = (np.array(box) + rng.integers(-1, 2, 4)).tolist()
                lines.append(f"{image_id} {rng.choice([0.2, 0.5, 0.9]):g} {x1 + 1} {y1 + 1} {x2} {y2}\n")
    return [lines[row] for row in rng.permutation(len(lines))]


def plain_ap(text: str, targets: Mapping[str, Target], label: int, metric: Metric) -> float | None:
    """By the devkit's text: lines by score, each against the object it overlaps most; both corners inside."""
    lines = [line.rsplit(" ", 5) for line in text.splitlines()]
    wanted = sum(int(((one.labels == label) & ~one.ignore).sum()) for one in targets.values())
    if not wanted:
        return None
    found: set[tuple[str, int]] = set()
    hits, judged, curve = 0, 0, [(0.0, 0.0)]
    for image_id, _, *corners in sorted(lines, key=lambda line: -float(line[1])):  # sorted() keeps equal ones in order
        target, best, most = targets[image_id], -1, 0.0
        for row in np.flatnonzero(target.labels.numpy() == label).tolist():
            overlap = pixel_iou([int(value) for value in corners], target.boxes[row].long().tolist())
            if overlap > most:
                best, most = row, overlap
        if most > 0.5 and bool(target.ignore[best]):
            continue
        judged += 1
        if most > 0.5 and (image_id, best) not in found:
            found.add((image_id, best))
            hits += 1
        curve.append((hits / wanted, hits / judged))
    if metric == "voc07":
        levels = [k * 0.1 if k <= 5 else 1 - (10 - k) * 0.1 for k in range(11)]
        return sum(max((p for r, p in curve[1:] if r >= level), default=0.0) for level in levels) / 11
    steps = pairwise(curve)
    return sum((r - before) * max(p for _, p in curve[k:]) for k, ((before, _), (r, _)) in enumerate(steps, start=1))


def pixel_iou(line: list[int], corners: list[int]) -> float:
    """Of 1-based corners, both inside, and our box: the pixels of both, counted."""
    x1, y1, x2, y2 = corners
    xs, ys = set(range(line[0], line[2] + 1)), set(range(line[1], line[3] + 1))
    own_xs, own_ys = set(range(x1 + 1, x2 + 1)), set(range(y1 + 1, y2 + 1))
    common = len(xs & own_xs) * len(ys & own_ys)
    return common / (len(xs) * len(ys) + len(own_xs) * len(own_ys) - common)
