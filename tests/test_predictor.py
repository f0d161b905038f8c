"""A trained detector in use: what it takes, what it gives, and what it says of files it cannot use."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import detkit
from detkit.build.detector import build_staged_detector
from detkit.config.loading import parse_config
from detkit.config.schema import TestTime
from detkit.data.io.image_sources import OpenImage
from detkit.data.io.images import ImageError, read_image
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.checkpoint import load_model, save_model
from detkit.engine.inference import prepare
from detkit.predictor import Predictor
from detkit.results import Result
from detkit.structures import Clock, Detections, Sample, no_clock


@pytest.fixture(scope="module")
def predictor(finished_run: Path) -> Predictor:
    return detkit.load(finished_run)


@pytest.fixture(scope="module")
def staged(finished_run: Path) -> Predictor:
    """An R-CNN that has learned nothing, and is given all of an image and a part of it as proposals."""
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    config["model"] = {
        "kind": "rcnn",
        "backbone": {"kind": "zfnet", "width": 0.1, "fc_dim": 16, "weights": None},
        "proposals": {"kind": "files", "files": ["none.sqlite"]},
        "crop_side": 32,
        "context": 2,
        "head": {"box_weight": 0.0},
        "svm": {"c": 1.0},
    }
    config["train"]["lr_batch"] = 2
    checked = parse_config(config, "staged")
    torch.manual_seed(0)
    detector = build_staged_detector(checked, 2)
    torch.nn.init.normal_(detector.svm_weights)
    prepare(detector, torch.device("cpu"))
    return WholeImages(detector, ("bar", "block"), checked, torch.device("cpu"))


class WholeImages(Predictor):
    def sample(self, image: OpenImage, clock: Clock = no_clock) -> Sample:
        height, width = image.size
        pixels = torch.from_numpy(image.pixels).permute(2, 0, 1)
        boxes = torch.tensor([[0, 0, width, height], [0, 0, width / 2, height / 2]]).float()
        return Sample(image.name, pixels, image.size, proposals=boxes)


@pytest.fixture(scope="module")
def images(voc_root: Path) -> list[Path]:
    return sorted((voc_root / "JPEGImages").glob("*.png"))


def same(one: Detections, other: Detections) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "scores", "labels"))


def test_a_run_and_its_file_give_the_same_detector(finished_run: Path, predictor: Predictor) -> None:
    assert predictor.classes == ("bar", "block")
    by_file = detkit.load(str(finished_run / "model.pt"), device="cpu")
    for name, value in by_file.detector.state_dict().items():
        assert torch.equal(value, predictor.detector.state_dict()[name].cpu())
    assert not predictor.detector.training


def test_a_path_an_array_and_a_tensor_are_one_image(predictor: Predictor, images: list[Path]) -> None:
    array = read_image(images[0])
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    found = [predictor.predict(p, min_score=0) for p in (images[0], str(images[0]), array, array[:, :].copy(), tensor)]
    assert len(found[0]) > 0
    assert all(same(found[0], other) for other in found[1:])


def test_one_image_gives_detections_and_several_a_list(predictor: Predictor, images: list[Path]) -> None:
    several = predictor.predict(images[:6], min_score=0)  # more than one batch, wide and tall
    assert isinstance(several, list) and len(several) == 6
    assert isinstance(predictor.predict(images[0]), Detections)
    [alone] = predictor.predict([images[0]], min_score=0)
    assert same(alone, predictor.predict(images[0], min_score=0))
    assert predictor.predict([]) == []


def test_images_in_a_batch_are_found_as_if_alone(predictor: Predictor, images: list[Path]) -> None:
    """Of the same size, so that none is padded."""
    wide = [read_image(images[i]) for i in (0, 1, 2)]
    for together, image in zip(predictor.predict(wide, min_score=0), wide, strict=True):
        alone = predictor.predict(image, min_score=0)
        assert len(together) == len(alone)
        assert torch.allclose(together.scores, alone.scores, atol=1e-4)


def test_boxes_are_in_pixels_of_the_image_given(predictor: Predictor) -> None:
    """An image of doubled pixels is brought to the same size, so its boxes are the same, doubled."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 90, 3)).astype(np.uint8)
    doubled = pixels.repeat(2, axis=0).repeat(2, axis=1)
    small, large = (predictor.predict(image, min_score=0) for image in (pixels, doubled))
    assert len(small) > 0
    assert torch.allclose(large.boxes, 2 * small.boxes, atol=1e-3)
    limits = torch.tensor([180.0, 128.0, 180.0, 128.0])
    assert (large.boxes >= 0).all() and (large.boxes <= limits + 1e-3).all()
    assert (large.boxes[:, 2:] > large.boxes[:, :2]).all()


def test_detections_are_best_first_and_above_the_least_score(predictor: Predictor, images: list[Path]) -> None:
    everything = predictor.predict(images[0], min_score=0)
    assert everything.scores.tolist() == sorted(everything.scores.tolist(), reverse=True)
    assert everything.boxes.dtype == everything.scores.dtype == torch.float32
    assert everything.labels.dtype == torch.int64 and set(everything.labels.tolist()) <= {0, 1}
    middle = len(everything) // 2
    least = everything.scores[middle].item()
    some = predictor.predict(images[0], min_score=least)
    assert len(some) == int((everything.scores >= least).sum()) < len(everything) + 1
    assert (some.scores >= least).all()
    assert len(predictor.predict(images[0], min_score=1.0)) == 0


@pytest.mark.parametrize("form", ["two-stage", "staged"])
def test_a_score_below_the_detectors_own_limit_can_be_asked_for(
    form: str, predictor: Predictor, staged: Predictor, images: list[Path]
) -> None:
    """The limit of the configuration is for that call as if it were not there."""
    asked = {"two-stage": predictor, "staged": staged}[form]
    holder = asked.detector.head if isinstance(asked.detector, TwoStageDetector) else asked.detector
    usual = holder.rule
    everything = asked.predict(images[0], min_score=0)
    holder.rule = replace(usual, min_score=0.999)
    try:
        for least in (0.0, everything.scores[-1].item(), everything.scores[len(everything) // 2].item()):
            found = asked.predict(images[0], min_score=least)
            count = int((everything.scores >= least).sum())
            assert torch.equal(found.scores, everything.scores[:count]) and torch.equal(
                found.boxes, everything.boxes[:count]
            )
    finally:
        holder.rule = usual


@pytest.mark.parametrize("form", ["two-stage", "staged", "test-time"])
def test_threads_share_a_predictor_each_with_its_least_score(
    form: str, predictor: Predictor, staged: Predictor, finished_run: Path, images: list[Path]
) -> None:
    looking = detkit.load(finished_run, test_time=TestTime(flip=True, box_voting=0.5))
    asked = {"two-stage": predictor, "staged": staged, "test-time": looking}[form]
    scores = asked.predict(images[0], min_score=0).scores
    least = [scores[len(scores) * i // 8].item() for i in range(8)] * 4
    alone = [asked.predict(images[0], min_score=one) for one in least]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: asked.predict(images[0], min_score=one), least))
    assert [len(found) for found in together] == [len(found) for found in alone]
    assert len({len(found) for found in alone}) > 1  # else no thread could disturb another
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize(("min_score", "batch_size"), [(-0.1, 4), (1.1, 4), (0.5, 0)])
def test_settings_that_are_none(predictor: Predictor, images: list[Path], min_score: float, batch_size: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1, and at least 1"):
        predictor.predict(images[0], min_score, batch_size)


def test_every_form_of_an_image_is_found_the_same_in(predictor: Predictor, images: list[Path], voc_root: Path) -> None:
    array = read_image(images[0])
    read_only = array.copy()
    read_only.setflags(write=False)
    mixed = [images[0], Image.open(images[0]), images[0].read_bytes(), read_only, array[:, ::-1][:, ::-1]]
    found = predictor.predict(mixed, min_score=0.02)
    assert [one.source for one in found] == [str(images[0]), "PIL image", "bytes", "array", "array"]
    assert [one.path for one in found] == [images[0], None, None, None, None]
    for one in found:
        assert one.size == array.shape[:2] and one.classes == ("bar", "block")
        assert len(one) == len(found[0]) > 0 and torch.allclose(one.boxes, found[0].boxes, atol=1e-3)
    grey = array[..., 1]
    assert same(predictor.predict(grey, 0.02), predictor.predict(np.dstack([grey] * 3), 0.02))


def test_folders_and_generators_give_lists(predictor: Predictor, images: list[Path]) -> None:
    folder = images[0].parent
    found = predictor.predict(folder, min_score=0.02)
    assert [one.path for one in found] == images
    of_text, mixed = predictor.predict(str(folder)), predictor.predict([folder, images[0]])
    assert isinstance(of_text, list) and len(of_text) == len(mixed) - 1 == 13
    made = predictor.predict((read_image(path) for path in images[:3]), min_score=0.02)
    assert isinstance(made, list)
    assert all(same(one, other) for one, other in zip(made, predictor.predict(images[:3], 0.02), strict=True))


def test_a_stream_reads_no_further_than_a_batch(predictor: Predictor, images: list[Path]) -> None:
    taken: list[int] = []

    def read():
        for number in range(100):
            taken.append(number)
            yield read_image(images[0])

    stream = predictor.stream(read(), batch_size=2)
    assert [isinstance(next(stream), Result) for _ in range(3)] == [True] * 3
    assert len(taken) == 4


def test_progress_is_shown_when_asked_for(
    predictor: Predictor, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, int | None]] = []

    def track(items, label, total=None):
        shown.append((label, total))
        return items

    monkeypatch.setattr("detkit.predictor.track", track)
    predictor.predict(images[:2])
    assert shown == []
    predictor.predict(images[:2], progress=True)
    predictor.predict(iter(images[:2]), progress=True)
    assert shown == [("detecting", 2), ("detecting", None)]


def test_images_of_odd_shapes(predictor: Predictor) -> None:
    for size in ((1, 1), (1, 300), (300, 1)):
        found = predictor.predict(np.full((*size, 3), 99, np.uint8), min_score=0)
        assert found.size == size and (found.boxes[:, 2:] <= torch.tensor(size[::-1]) + 1e-3).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 4), np.uint8), r"array \(8, 8, 4\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"tensor \(2, 3, 8, 8\)"),
        (None, "NoneType: expected a path"),
        ([None], "NoneType: expected a path"),
        ([3.5], "float: expected a path"),
        ([[np.zeros((8, 8, 3), np.uint8)]], "list: expected a path"),
        ("http://127.0.0.1:1/a.jpg", "^http://127.0.0.1:1/a.jpg: cannot be fetched"),
    ],
)
def test_what_is_no_image(predictor: Predictor, image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(image)


def test_files_that_are_no_image(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    for name in ("text.jpg", "missing.jpg"):
        with pytest.raises(ImageError, match=name):
            predictor.predict(tmp_path / name)


# Loading


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", ""])
def test_a_device_that_is_not_there(finished_run: Path, name: str) -> None:
    if not name:
        assert detkit.load(finished_run, device=name).device.type in ("cpu", "cuda")
        return
    with pytest.raises(ValueError, match=f"device '{name}': cannot be used"):
        detkit.load(finished_run, device=name)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"this folder holds no model\.pt"):
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


def test_repr_says_what_it_is(finished_run: Path) -> None:
    text = repr(detkit.load(finished_run, "cpu"))
    assert text == "Predictor(faster_rcnn, resnet 18, 2 classes: bar, block, images of 64 px, on cpu)"


# Types


USER = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import detkit

predictor = detkit.load("runs/own_data_mine")
found = predictor.predict("street.jpg", min_score=0.5)
for name, score, box in found:
    print(name.upper(), score + 1, box[0])
found.save("found.jpg")
array: NDArray[np.uint8] = np.zeros((8, 8, 3), np.uint8)
reveal_type(predictor.predict(array))
reveal_type(predictor.predict(Image.open("street.jpg")))
reveal_type(predictor.predict(["images"]))
reveal_type(predictor.predict(Path("images").glob("*.jpg")))
predictor.predict(3)
"""


@pytest.mark.slow
def test_the_lines_of_the_readme_pass_a_users_type_checker(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    root = Path(detkit.__file__).parent.parent
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--ignore-missing-imports"]
    environment = os.environ | {"MYPYPATH": str(root)}
    done = subprocess.run(
        [*command, "--follow-imports", "silent", "user.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    lines = [line.split(": ", 1)[1].replace("builtins.", "") for line in done.stdout.splitlines()[:-1]]
    one, many = '"detkit.results.Result"', '"list[detkit.results.Result]"'
    revealed = [f"note: Revealed type is {kind}" for kind in (one, one, many, many)]
    assert lines[:4] == revealed, done.stdout + done.stderr
    assert 'error: No overload variant of "predict"' in lines[4] and done.stdout.count("error:") == 1, done.stdout
