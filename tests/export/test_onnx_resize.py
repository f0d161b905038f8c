"""The resize in ONNX: to the last bit that of OpenCV, of whole batches with padding."""

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from detkit.data.pipeline.prepare import Resize, collate
from detkit.export.onnx_resize import resize_graph
from detkit.structures import Sample

OUTPUTS = ("resized", "new_sizes", "original_sizes", "moved")


def run(resize: Resize, samples: list[Sample], with_proposals: bool = False) -> list[NDArray[np.generic]]:
    names = OUTPUTS[: 3 + with_proposals]
    model = resize_graph(resize, with_proposals, names, opset=18, ir_version=10).SerializeToString()
    batch = collate(samples)
    inputs = {"images": batch.images.numpy(), "sizes": batch.sizes.numpy()}
    if with_proposals:
        assert batch.proposals is not None
        inputs["proposals"] = torch.stack(batch.proposals).numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.generic]] = session.run(None, inputs)
    return found


def noise(height: int, width: int, seed: int = 0) -> Sample:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, height, width)).astype(np.uint8)
    return Sample(f"{height} x {width}", torch.from_numpy(pixels), (height, width))


# Larger, smaller, by exactly two, of one px, limited by the longer side, and what needs no resize.
SIZES = [(37, 50), (128, 90), (128, 192), (1, 9), (5, 1), (20, 200), (64, 64), (64, 90), (333, 500)]


@pytest.mark.parametrize("size", SIZES)
def test_one_image_is_as_opencv_resizes_it(size: tuple[int, int]) -> None:
    resize, sample = Resize(64, 96), noise(*size)
    images, new_sizes, sizes = run(resize, [sample])
    expected = collate([resize(sample)])  # which pads thin ones
    np.testing.assert_array_equal(images, expected.images.numpy())
    assert (new_sizes.tolist(), sizes.tolist()) == (expected.sizes.tolist(), [[*size]])


def test_a_batch_is_its_images_one_by_one_and_zeros() -> None:
    resize, samples = Resize(64, 96), [noise(*size, seed) for seed, size in enumerate(SIZES)]
    images, new_sizes, _ = run(resize, samples)
    expected = collate([resize(sample) for sample in samples])
    np.testing.assert_array_equal(images, expected.images.numpy())
    np.testing.assert_array_equal(new_sizes, expected.sizes.numpy())


def test_random_sizes() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        resize = Resize(*sorted(int(side) for side in rng.integers(20, 300, 2)))
        samples = [noise(*(int(side) for side in rng.integers(1, 250, 2)), seed=seed) for seed in range(6)]
        images, new_sizes, _ = run(resize, samples)
        expected = collate([resize(sample) for sample in samples])
        np.testing.assert_array_equal(images, expected.images.numpy())
        np.testing.assert_array_equal(new_sizes, expected.sizes.numpy())


def test_without_a_size_images_stay() -> None:
    samples = [noise(20, 30), noise(33, 10)]
    images, new_sizes, _ = run(Resize(None, 96), samples)
    np.testing.assert_array_equal(images, collate(samples).images.numpy())
    assert new_sizes.tolist() == [[20, 30], [33, 10]]


def test_proposals_follow() -> None:
    resize, boxes = Resize(64, 96), torch.tensor([[1.0, 2, 30, 17.5], [0, 0, 0, 0]])
    samples = [Sample(s.image_id, s.image, s.original_size, proposals=boxes) for s in (noise(37, 50), noise(90, 40))]
    *_, moved = run(resize, samples, with_proposals=True)
    for found, sample in zip(moved, samples, strict=True):
        expected = resize(sample).proposals
        assert expected is not None
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
