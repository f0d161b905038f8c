"""The range of a data set's deep images: found from its values and its objects, kept by a run, told of where odd."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detkit.data.formats.listed import ListedDataset
from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.data.io.deep_images import DeepRange
from detkit.data.pipeline import deep_range
from detkit.data.pipeline.deep_range import DeepImage, DeepImages, find_deep_images

BOX = (10, 20, 14, 24)  # 16 px of the 10,000


def deep_set(folder: Path, images: list[NDArray[np.generic]], suffix: str = ".png") -> tuple[GroundTruth, list[Path]]:
    """One object, BOX, in each image."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}{suffix}" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        assert cv2.imwrite(str(path), image)
    objects = [Objects.of_boxes(np.zeros(1, np.int64), np.array([BOX], np.float64)) for _ in images]
    sizes = [image.shape[:2] for image in images]
    return numbered(["a"], [path.stem for path in paths], sizes, objects), paths


def ground(value: float, spread: float = 0, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).normal(value, spread, (100, 100)).round().astype(np.uint16)


def with_object(image: NDArray[np.uint16], value: int) -> NDArray[np.uint16]:
    x1, y1, x2, y2 = BOX
    image[y1:y2, x1:x2] = value
    return image


def test_thermal_images_use_what_they_have(tmp_path: Path) -> None:
    images = [np.linspace(7000, 9000, 10_000).round().astype(np.uint16).reshape(100, 100) for _ in range(3)]
    images[1][0, 0] = 65535  # a dead pixel
    found = find_deep_images(*deep_set(tmp_path, images))
    assert found.range == (7002.0, 8998.0)
    assert found.describe((7002.0, 8998.0)) == (
        "3 of 3 images have more than 8 bits a channel, with values from 7000 to 65535 (16 bits) in them: "
        "7002 to 8998 become 0 to 255 (data.deep_range=[7002,8998])"
    )


def test_few_bright_objects_on_a_dark_ground_are_not_clipped(tmp_path: Path) -> None:
    images = [ground(100, 10, seed) for seed in range(4)]
    cell = np.uint16(3000)
    small = [image.copy() for image in images]
    for image in small:
        image[20:22, 10:14] = cell  # 8 of 10,000 pixels, less than 0.1%
    truth, paths = deep_set(tmp_path, small)
    found = find_deep_images(truth, paths)
    assert found.range is not None
    low, high = found.range
    assert 50 < low < 90
    assert high == 3000


def test_label_like_and_constant_images(tmp_path: Path) -> None:
    labels = [(np.arange(10_000).reshape(100, 100) % 6).astype(np.uint16)] * 2
    assert find_deep_images(*deep_set(tmp_path / "labels", labels)).range == (0.0, 5.0)
    assert find_deep_images(*deep_set(tmp_path / "flat", [ground(700)])).range == (700.0, 1400.0)


def test_floats_that_are_not_finite_do_not_count(tmp_path: Path) -> None:
    image = np.linspace(0, 1, 10_000).astype(np.float32).reshape(100, 100)
    image[:30], image[30, :50] = np.nan, np.inf
    found = find_deep_images(*deep_set(tmp_path, [image], ".tif"))
    assert found.range is not None
    assert found.range == pytest.approx((0.305, 1.0), abs=0.003)
    assert "with values from 0.30503 to 1 in them" in found.describe(found.range)  # no bits


def test_images_of_8_bits_are_counted_and_not_looked_at(tmp_path: Path) -> None:
    eight = np.full((100, 100), 255, np.uint8)
    truth, paths = deep_set(tmp_path, [eight, ground(700, 50), eight])
    found = find_deep_images(truth, paths)
    assert (found.num_images, found.num_deep, [image.path for image in found.looked_at]) == (3, 1, [paths[1]])
    truth, paths = deep_set(tmp_path, [eight, eight])
    assert find_deep_images(truth, paths).range is None


def test_looks_at_evenly_spaced_ones_and_passes_over_the_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep_range, "LOOKED_AT", 3)
    truth, paths = deep_set(tmp_path, [ground(700 + number, 50) for number in range(9)])
    assert [image.path.stem for image in find_deep_images(truth, paths).looked_at] == ["0", "4", "8"]
    paths[4].write_bytes(paths[4].read_bytes()[:-200])
    found = find_deep_images(truth, paths)
    assert [image.path.stem for image in found.looked_at] == ["0", "8"]
    assert "in 2 looked at" in found.describe((0, 1))


def test_a_data_set_reads_by_its_range(tmp_path: Path) -> None:
    truth, paths = deep_set(tmp_path, [with_object(ground(1000), 3000)])
    dataset = ListedDataset(truth, paths)
    read = dataset.with_deep_range((1000.0, 5000.0)).read(0).image
    assert (read[0, 0, 0].item(), read[0, 20, 10].item()) == (0, 128)
    with pytest.warns(UserWarning, match=r"data\.deep_range"):
        assert dataset.read(0).image[0, 20, 10].item() == 255


@pytest.mark.parametrize(
    ("values", "objects", "used", "is_strange"),
    [
        (np.linspace(0, 4095, 1000), [4000.0], (0, 4095), False),
        (np.linspace(0, 4095, 1000), [4000.0], (0, 65535), True),  # 12 bits among 16: nearly black
        (np.linspace(0, 4095, 1000), [], (0, 65535), False),  # dark ground without an object is dark
        (np.linspace(0, 4095, 1000), [200.0], (0, 65535), True),
        (np.linspace(0, 65535, 1000), [9000.0], (0, 4095), True),  # 16 bits among 12: nearly white
        (np.linspace(6900, 9100, 1000), [9000.0], (7000, 9000), False),  # a warmer day
        (np.full(100, 4095.0), [4095.0], (0, 4095), False),
        (np.zeros(0), [], (0, 1), False),
    ],
)
def test_an_image_that_does_not_fit(
    values: NDArray[np.float64], objects: list[float], used: DeepRange, is_strange: bool
) -> None:
    image = DeepImage(Path("a.png"), values, np.array(objects), (0, 65535), True)
    assert image.is_strange_in(used) == is_strange
    assert DeepImages(1, 0, ()).range is None
