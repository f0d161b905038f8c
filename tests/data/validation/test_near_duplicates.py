"""Near duplicates are found whatever was done to them, others and flat images are not."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from detkit.data.validation import near_duplicates
from detkit.data.validation.near_duplicates import Fingerprint, fingerprint_of, near_pairs

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def scene(seed: int) -> Pixels:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def as_jpeg(pixels: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


CHANGES: dict[str, tuple[Callable[[Pixels], Pixels], bool]] = {
    "none": (lambda pixels: pixels, False),
    "half the size": (lambda pixels: np.asarray(cv2.resize(pixels, (80, 60)), np.uint8), False),
    "another shape": (lambda pixels: np.asarray(cv2.resize(pixels, (200, 100)), np.uint8), False),
    "JPEG": (as_jpeg, False),
    "brighter": (lambda pixels: (pixels * 0.8 + 30).astype(np.uint8), False),
    "mirrored JPEG": (lambda pixels: as_jpeg(np.ascontiguousarray(pixels[:, ::-1])), True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_images_are_found(change: str) -> None:
    apply, is_mirrored = CHANGES[change]
    known = [fingerprint_of(scene(seed)) for seed in range(20)]
    wanted = [fingerprint_of(scene(100)), *(fingerprint_of(apply(scene(seed))) for seed in (3, 17))]
    pairs = near_pairs(known, wanted)
    assert pairs.first.tolist() == [3, 17] and pairs.second.tolist() == [1, 2]
    assert pairs.is_mirrored.tolist() == [is_mirrored] * 2
    assert (pairs.correlation > 0.97).all()


def test_the_likest_of_several_is_told() -> None:
    known = [fingerprint_of(as_jpeg(scene(0))), fingerprint_of(scene(0)), fingerprint_of(as_jpeg(scene(0)))]
    assert near_pairs(known, [fingerprint_of(scene(0))]).first.tolist() == [1]


def test_flat_images_are_like_nothing() -> None:
    flat = [fingerprint_of(np.full((40, 50, 3), shade, dtype=np.uint8)) for shade in (0, 0, 200)]
    assert len(near_pairs(flat, flat).first) == 0


def test_nothing() -> None:
    one = [fingerprint_of(scene(0))]
    assert len(near_pairs([], one).first) == len(near_pairs(one, []).first) == len(near_pairs([], []).first) == 0


def test_a_mirrored_image_has_the_mirrored_hash() -> None:
    for seed in range(5):
        pixels = np.asarray(cv2.resize(scene(seed), (32, 32)), dtype=np.uint8)
        mirrored = fingerprint_of(np.ascontiguousarray(pixels[:, ::-1]))
        assert fingerprint_of(pixels).hash ^ mirrored.hash == int("01" * 32, 2)


def test_hashes_up_to_seven_bits_apart_are_compared_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the bits lie, and in chunks of any size."""
    monkeypatch.setattr(near_duplicates, "_PAIRS_AT_ONCE", 50)
    rng = np.random.default_rng(0)
    grey = np.asarray(rng.integers(0, 256, (32, 32)), dtype=np.uint8)
    hashes = [int.from_bytes(rng.bytes(8), "big") for _ in range(200)]
    known = [Fingerprint(one, grey) for one in hashes]
    for bits in (0, 7, 8):
        flips = [sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for _ in hashes]
        wanted = [Fingerprint(one ^ flip, grey) for one, flip in zip(hashes, flips, strict=True)]
        pairs = near_pairs(known, wanted)
        assert pairs.second.tolist() == (list(range(200)) if bits < 8 else [])
        assert pairs.first.tolist() == pairs.second.tolist()
