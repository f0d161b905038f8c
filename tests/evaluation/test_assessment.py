"""What is said of detections is the same from memory and from the files they are written to, equal scores included."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.data.formats.listed import ListedDataset
from detkit.data.ground_truth import Objects, numbered
from detkit.evaluation.assessment import Assessment, Found, assess
from detkit.evaluation.coco_files import read_rows, write_results
from detkit.evaluation.voc_files import read_detections, write_detections
from detkit.reports.run_gallery import boxes_of
from detkit.structures import Detections

CLASSES = ("cat", "dog")


def random_case(seed: int) -> tuple[ListedDataset, dict[str, Detections]]:
    """Boxes about the objects of eight images, of three scores, in any order of the images."""
    rng = np.random.default_rng(seed)
    parts, detections = [], {}
    for image in range(8):
        corners = rng.integers(0, 60, (4, 2)).astype(np.float64)
        boxes = np.concatenate([corners, corners + rng.integers(10, 40, (4, 2))], axis=1)
        parts.append(Objects.of_boxes(rng.integers(0, 2, 4), boxes, rng.random(4) < 0.2, rng.random(4) < 0.3))
        shaken = torch.from_numpy(np.repeat(boxes, 3, axis=0) + rng.normal(0, 2, (12, 4))).float()
        scores = torch.from_numpy(np.sort(rng.choice([0.4, 0.6, 0.9], 12))[::-1].copy()).float()
        detections[f"image{image}"] = Detections(shaken, scores, torch.from_numpy(rng.integers(0, 2, 12)))
    truth = numbered(CLASSES, list(detections), [(100, 100)] * 8, parts)
    mixed = {image_id: detections[image_id] for image_id in rng.permutation(list(detections)).tolist()}
    return ListedDataset(truth, [Path(f"{image_id}.jpg") for image_id in truth.image_ids]), mixed


def numbers(found: Found, dataset: ListedDataset) -> tuple[Assessment, list[object]]:
    one = assess(found, dataset, ["voc07", "voc10", "coco"])
    assert one.coco is not None
    said = [one.voc["voc07"].ap, one.voc["voc10"].ap, one.coco.summary, one.intervals]
    said += [one.errors.ap_of_class, one.errors.loss, one.errors.counts, one.errors.progressive]
    return one, [*said, one.sizes, one.aspects, one.truncation, one.confusion.counts.tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_files_say_the_same_as_memory(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.evaluation.assessment.RESAMPLES", 20)
    dataset, detections = random_case(seed)
    truth = dataset.ground_truth()
    _, expected = numbers(detections, dataset)
    write_detections(tmp_path, "test", detections, CLASSES, dataset.image_ids)
    write_results(tmp_path / "results.json", detections, truth)
    table, rows = read_detections(tmp_path, CLASSES, dataset.image_ids), read_rows(tmp_path / "results.json", truth)
    for found in (table, rows):
        one, said = numbers(found, dataset)
        assert said == expected
        judged = one.errors.detections
        boxes = boxes_of(one.detections, dataset.image_ids, judged.image_index, judged.rank)
        for row, (image, score) in enumerate(zip(judged.image_index.tolist(), judged.score.tolist())):
            mine = one.detections[dataset.image_ids[image]]
            assert mine.scores[judged.rank[row]].item() == score
            assert mine.boxes[judged.rank[row]].tolist() == boxes[row].tolist()


def test_the_order_of_a_file_outlives_writing_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image has a hit and a false detection of one score: in the file all the hits come first."""
    monkeypatch.setattr("detkit.evaluation.assessment.RESAMPLES", 5)
    ids = [f"image{k}" for k in range(4)]
    cat = Objects.of_boxes(np.zeros(1, dtype=np.int64), np.array([[0.0, 0.0, 9.0, 9.0]]))
    dataset = ListedDataset(numbered(("cat",), ids, [(50, 50)] * 4, [cat] * 4), [Path("none.jpg")] * 4)
    lines = [f"{image_id} 0.5 1 1 9 9\n" for image_id in ids] + [f"{image_id} 0.5 20 20 30 30\n" for image_id in ids]
    (tmp_path / "comp4_det_test_cat.txt").write_text("".join(lines))
    first = assess(read_detections(tmp_path, ("cat",), ids), dataset, ["voc07"])
    assert first.score("voc07") == pytest.approx(1.0)
    write_results(tmp_path / "results.json", first.found, first.truth)
    again = assess(read_rows(tmp_path / "results.json", first.truth), dataset, ["voc07", "coco"])
    assert again.score("voc07") == pytest.approx(1.0)
    in_memory = assess(first.detections, dataset, ["voc07", "coco"])
    assert in_memory.voc["voc07"].classes["cat"].is_tp.tolist() == [True, False] * 4
    assert in_memory.score("coco") == again.score("coco")
