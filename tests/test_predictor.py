"""A trained detector in use: what it takes, what it gives, and what it says of files it cannot use."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import detkit
from detkit.data.images import ImageError, read_image
from detkit.engine.checkpoint import load_model, save_model
from detkit.predictor import Predictor
from detkit.structures import Detections


@pytest.fixture(scope="module")
def predictor(finished_run: Path) -> Predictor:
    return detkit.load(finished_run)


@pytest.fixture(scope="module")
def pictures(voc_root: Path) -> list[Path]:
    return sorted((voc_root / "JPEGImages").glob("*.png"))


def same(one: Detections, other: Detections) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "scores", "labels"))


def test_a_run_and_its_file_give_the_same_detector(finished_run: Path, predictor: Predictor) -> None:
    assert predictor.classes == ("bar", "block")
    by_file = detkit.load(str(finished_run / "model.pt"), device="cpu")
    for name, value in by_file.detector.state_dict().items():
        assert torch.equal(value, predictor.detector.state_dict()[name].cpu())
    assert not predictor.detector.training


def test_a_path_an_array_and_a_tensor_are_one_picture(predictor: Predictor, pictures: list[Path]) -> None:
    array = read_image(pictures[0])
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    found = [
        predictor.predict(p, min_score=0) for p in (pictures[0], str(pictures[0]), array, array[:, :].copy(), tensor)
    ]
    assert len(found[0]) > 0
    assert all(same(found[0], other) for other in found[1:])


def test_one_picture_gives_detections_and_several_a_list(predictor: Predictor, pictures: list[Path]) -> None:
    several = predictor.predict(pictures[:6], min_score=0)  # more than one batch, wide and tall
    assert isinstance(several, list) and len(several) == 6
    assert isinstance(predictor.predict(pictures[0]), Detections)
    [alone] = predictor.predict([pictures[0]], min_score=0)
    assert same(alone, predictor.predict(pictures[0], min_score=0))
    assert predictor.predict([]) == []


def test_pictures_in_a_batch_are_found_as_if_alone(predictor: Predictor, pictures: list[Path]) -> None:
    """Of the same size, so that none is padded."""
    wide = [read_image(pictures[i]) for i in (0, 1, 2)]
    for together, picture in zip(predictor.predict(wide, min_score=0), wide, strict=True):
        alone = predictor.predict(picture, min_score=0)
        assert len(together) == len(alone)
        assert torch.allclose(together.scores, alone.scores, atol=1e-4)


def test_boxes_are_in_pixels_of_the_picture_given(predictor: Predictor) -> None:
    """A picture of doubled pixels is brought to the same size, so its boxes are the same, doubled."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 90, 3)).astype(np.uint8)
    doubled = pixels.repeat(2, axis=0).repeat(2, axis=1)
    small, large = (predictor.predict(picture, min_score=0) for picture in (pixels, doubled))
    assert len(small) > 0
    assert torch.allclose(large.boxes, 2 * small.boxes, atol=1e-3)
    limits = torch.tensor([180.0, 128.0, 180.0, 128.0])
    assert (large.boxes >= 0).all() and (large.boxes <= limits + 1e-3).all()
    assert (large.boxes[:, 2:] > large.boxes[:, :2]).all()


def test_detections_are_best_first_and_above_the_least_score(predictor: Predictor, pictures: list[Path]) -> None:
    everything = predictor.predict(pictures[0], min_score=0)
    assert everything.scores.tolist() == sorted(everything.scores.tolist(), reverse=True)
    assert everything.boxes.dtype == everything.scores.dtype == torch.float32
    assert everything.labels.dtype == torch.int64 and set(everything.labels.tolist()) <= {0, 1}
    middle = len(everything) // 2
    least = everything.scores[middle].item()
    some = predictor.predict(pictures[0], min_score=least)
    assert len(some) == int((everything.scores >= least).sum()) < len(everything) + 1
    assert (some.scores >= least).all()
    assert len(predictor.predict(pictures[0], min_score=1.0)) == 0


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"array \(8, 8\) uint8: expected \(H, W, 3\) uint8"),
        (np.zeros((8, 8, 4), np.uint8), r"array \(8, 8, 4\)"),
        (np.zeros((8, 8, 3), np.float32), "float32: expected"),
        (np.zeros((0, 8, 3), np.uint8), "a picture of 0 x 8 px"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"tensor \(8, 8, 3\).*expected \(3, H, W\)"),
        (torch.zeros(3, 8, 8), "float32: expected"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"tensor \(2, 3, 8, 8\)"),
        (None, "NoneType: expected a path"),
        ([None], "NoneType: expected a path"),
        (Image.new("RGB", (8, 8)), "Image: expected a path"),
        ([3.5], "float: expected a path"),
    ],
)
def test_what_is_no_picture(predictor: Predictor, picture: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(picture)


def test_files_that_are_no_picture(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    for name in ("text.jpg", "missing.jpg"):
        with pytest.raises(ImageError, match=name):
            predictor.predict(tmp_path / name)


# Loading


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.pt: no such file"):
        detkit.load(tmp_path)


def test_a_damaged_file(tmp_path: Path, finished_run: Path) -> None:
    (tmp_path / "model.pt").write_bytes((finished_run / "model.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model\.pt: not a file that detkit wrote, or damaged"):
        detkit.load(tmp_path)


def test_a_checkpoint_is_no_model(tmp_path: Path, finished_run: Path) -> None:
    shutil.copy(finished_run / "checkpoint.pt", tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"not a model\.pt"):
        detkit.load(tmp_path)


def test_weights_and_config_that_do_not_belong_together(tmp_path: Path, finished_run: Path) -> None:
    saved = load_model(finished_run)
    for name, changed in {
        "classes.pt": replace(saved, classes=("bar", "block", "ball")),
        "missing.pt": replace(saved, weights={}),
    }.items():
        save_model(changed, tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name}: its weights do not fit its config"):
            detkit.load(tmp_path / name)
    save_model(replace(saved, config=saved.config | {"extra": 1}), tmp_path / "config.pt")
    with pytest.raises(ValueError, match=r"config\.pt: extra: unknown key"):
        detkit.load(tmp_path / "config.pt")


def test_the_weights_that_training_started_from_are_not_needed(tmp_path: Path, finished_run: Path) -> None:
    saved = load_model(finished_run)
    saved.config["model"]["backbone"]["weights"] = "gone.pt"
    save_model(saved, tmp_path / "model.pt")
    assert detkit.load(tmp_path).classes == saved.classes
