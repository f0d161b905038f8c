"""Deep images from training to detecting: the range is found in the training images alone, written down, and kept."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from detkit.build.data import build_dataset
from detkit.commands.eval import open_dataset
from detkit.config.loading import ConfigError, parse_config, read_config
from detkit.predictor import load

Inside = Callable[..., tuple[int, str, str]]
SCALE, OFFSET = 8, 7000  # of the values, 7000 to 9040: 14 bits
BRIGHTER = 4  # the factor of the test images


@pytest.fixture
def deep_root(voc_root: Path, tmp_path: Path) -> Path:
    """The tiny set in 16 bits; its test images have four times the values."""
    root = tmp_path / "deep"
    shutil.copytree(voc_root, root)
    tests = (root / "ImageSets" / "Main" / "test.txt").read_text().split()
    for path in (root / "JPEGImages").iterdir():
        pixels = cv2.imread(str(path))
        assert pixels is not None
        values = (pixels.astype(np.uint16) * SCALE + OFFSET) * (BRIGHTER if path.stem in tests else 1)
        assert cv2.imwrite(str(path), values)
    return root


def test_a_run_keeps_the_range_of_its_training_images(
    deep_root: Path, tiny: dict[str, Any], tmp_path: Path, inside: Inside
) -> None:
    tiny["data"]["root"] = str(deep_root)
    tiny["train"]["steps"] = 2
    file, run = tmp_path / "deep.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(tiny))
    status, output, errors = inside("train", file, "--run", run)
    assert status == 0, errors
    assert "8 of 8 images have more than 8 bits a channel, with values from 7" in output
    config = read_config(run / "config.yaml")
    assert config.data.known_deep_range is not None
    low, high = config.data.known_deep_range
    assert 7000 <= low < high <= 9040
    assert f"(14 bits) in them: {low:g} to {high:g} become 0 to 255 (data.deep_range=[{low:g},{high:g}])" in output

    predictor = load(run, "cpu")
    assert predictor.config.data.deep_range == (low, high)
    test = open_dataset(predictor.config, None, None, predictor.classes)
    assert (test.read(0).image == 255).all()  # brighter than all that training saw
    again = open_dataset(predictor.config, deep_root, "test", predictor.classes)
    assert (again.read(0).image == 255).all()

    train = build_dataset(config.data, ["train"])
    sample = train.read(0)
    opened = predictor.open(train.paths[0])
    np.testing.assert_array_equal(opened.pixels, sample.image.permute(1, 2, 0).numpy())
    result = predictor.predict(train.paths[0])
    drawn = result[:0].draw()
    np.testing.assert_array_equal(drawn, opened.pixels)

    status, output, errors = inside("eval", run, "--voc07")
    assert (status, errors) == (0, "")


def test_a_set_of_8_bits_says_nothing_and_keeps_auto(finished_run: Path, voc_root: Path) -> None:
    assert read_config(finished_run / "config.yaml").data.deep_range == "auto"


def test_check_data_says_the_same_line_and_warns_of_the_test_images(
    deep_root: Path, tiny: dict[str, Any], inside: Inside
) -> None:
    status, output, _ = inside("check_data", deep_root)
    assert status == 0
    assert f"info: {deep_root}: 8 of 8 images have more than 8 bits a channel, with values from 7" in output
    assert "warning: " in output
    told = "'test': 3 of 3 deep images looked at come out nearly black, or with a quarter of their pixels clipped"
    assert told in output
    assert "'val'" not in output


def test_check_data_warns_where_one_split_alone_is_deep(deep_root: Path, voc_root: Path, inside: Inside) -> None:
    for name in (deep_root / "ImageSets" / "Main" / "test.txt").read_text().split():
        shutil.copyfile(voc_root / "JPEGImages" / f"{name}.png", deep_root / "JPEGImages" / f"{name}.png")
    output = inside("check_data", deep_root)[1]
    assert "'test': no image has more than 8 bits a channel, otherwise than in training" in output


@pytest.mark.parametrize(
    ("value", "message"),
    [([5, 5], r"low < high; got \[5, 5\]"), ([0, float("inf")], "low < high"), ("automatic", "deep_range")],
)
def test_a_range_that_is_none(tiny: dict[str, Any], value: object, message: str) -> None:
    tiny["data"]["deep_range"] = value
    with pytest.raises(ConfigError, match=message):
        parse_config(tiny, "tiny")


def test_a_stated_range_is_used_as_it_is(deep_root: Path, tiny: dict[str, Any]) -> None:
    tiny["data"] |= {"root": str(deep_root), "deep_range": [7000, 9040]}
    config = parse_config(tiny, "tiny")
    assert yaml.safe_load(config.to_yaml())["data"]["deep_range"] == [7000, 9040]
    dataset = build_dataset(config.data, ["train"])
    stored = cv2.cvtColor(cv2.imread(str(dataset.paths[0]), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(dataset.read(0).image.permute(1, 2, 0).numpy(), (stored - OFFSET) // SCALE)
