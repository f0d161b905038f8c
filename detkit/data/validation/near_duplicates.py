"""Images that show the same although their files differ: resized, saved anew, brightened, or mirrored.

An image's hash is the signs of the lowest frequencies of its grey 32 x 32 thumbnail (after Zauner 2010, "pHash"),
which resizing and compression leave nearly as they are. Of images with close hashes the thumbnails decide.

Notation: N and W images of two sets, P pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.data.ground_truth import Floats, Ints

SIDE = 32  # px, of the thumbnail
FREQUENCIES = 8  # along each side: 64 bits, of which that of the mean is always 0
PARTS = 8  # of a hash
PART_BITS = 64 // PARTS
MAX_DIFFERENCE = PARTS - 1  # bits: two hashes this close have a part in common
MIN_CORRELATION = 0.97  # of two thumbnails
FLAT = 2.0  # grey levels, standard deviation of a thumbnail that shows too little to be compared
_PAIRS_AT_ONCE = 4_000_000  # of hashes, about 200 MB
_THUMBNAILS_AT_ONCE = 20_000  # pairs, about 200 MB

Hashes = NDArray[np.uint64]

# A mirrored image has the other sign in every odd frequency along x.
_MIRROR = np.uint64(int.from_bytes(np.packbits(np.tile([0, 1], 32)).tobytes(), "big"))


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of an image."""

    hash: int  # 64 bits
    grey: NDArray[np.uint8]  # (SIDE, SIDE)


@dataclass(frozen=True, eq=False)
class NearPairs:
    """Images of the second set that the first has too, each with the likest: rows of both."""

    first: Ints  # (P,)
    second: Ints  # (P,) ascending
    correlation: Floats  # (P,) of the thumbnails
    is_mirrored: NDArray[np.bool_]  # (P,)


def fingerprint_of(pixels: NDArray[np.uint8]) -> Fingerprint:
    """Of an image (H, W, 3) RGB."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    waves = cv2.dct(grey.astype(np.float32))[:FREQUENCIES, :FREQUENCIES]
    signs = waves.flatten() > 0
    signs[0] = False
    return Fingerprint(int.from_bytes(np.packbits(signs).tobytes(), "big"), grey)


def near_pairs(first: Sequence[Fingerprint], second: Sequence[Fingerprint]) -> NearPairs:
    """The images of `second` that are nearly one of `first`, or its mirror image."""
    known, wanted = _Fingerprints.of(first), _Fingerprints.of(second)
    best = np.full(len(second), -1, dtype=np.int64)
    correlation = np.zeros(len(second))
    mirrored = np.zeros(len(second), dtype=np.bool_)
    for is_mirrored, seen in ((False, known), (True, known.mirrored())):
        for known_rows, wanted_rows in _close_hashes(seen.hashes, wanted.hashes):
            found = _correlations(seen.greys[known_rows], wanted.greys[wanted_rows])
            order = np.argsort(found, kind="stable")  # of several pairs of an image the last is written
            order = order[found[order] > np.maximum(correlation[wanted.rows[wanted_rows[order]]], MIN_CORRELATION)]
            rows = wanted.rows[wanted_rows[order]]
            best[rows], correlation[rows] = seen.rows[known_rows[order]], found[order]
            mirrored[rows] = is_mirrored
    pairs = np.flatnonzero(best >= 0)
    return NearPairs(best[pairs], pairs, correlation[pairs], mirrored[pairs])


@dataclass(frozen=True, eq=False)
class _Fingerprints:
    """Of the images that are not flat."""

    rows: Ints  # (N,) in the list they came from
    hashes: Hashes  # (N,)
    greys: NDArray[np.uint8]  # (N, SIDE, SIDE)

    @staticmethod
    def of(fingerprints: Sequence[Fingerprint]) -> "_Fingerprints":
        rows = [row for row, fingerprint in enumerate(fingerprints) if fingerprint.grey.std() >= FLAT]
        hashes = np.array([fingerprints[row].hash for row in rows], dtype=np.uint64)
        greys = np.array([fingerprints[row].grey for row in rows], dtype=np.uint8).reshape(-1, SIDE, SIDE)
        return _Fingerprints(np.array(rows, dtype=np.int64), hashes, greys)

    def mirrored(self) -> "_Fingerprints":
        return _Fingerprints(self.rows, self.hashes ^ _MIRROR, self.greys[:, :, ::-1])


def _close_hashes(known: Hashes, wanted: Hashes) -> Iterator[tuple[Ints, Ints]]:
    """Rows (P,) of pairs whose hashes differ by at most MAX_DIFFERENCE bits, some of them several times.

    Such hashes are equal in one of their parts at least, so that only those are compared: each part's values are
    sorted, and looked up.
    """
    for part in range(PARTS):
        known_part, wanted_part = (
            (hashes >> np.uint64(part * PART_BITS)) & np.uint64(2**PART_BITS - 1) for hashes in (known, wanted)
        )
        order = np.argsort(known_part, kind="stable")
        low, high = (np.searchsorted(known_part[order], wanted_part, side=side) for side in ("left", "right"))
        for rows in _chunks(high - low):
            counts = (high - low)[rows]
            wanted_rows = np.repeat(rows, counts)
            places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            known_rows = order[np.repeat(low[rows], counts) + places]
            is_close = np.bitwise_count(known[known_rows] ^ wanted[wanted_rows]) <= MAX_DIFFERENCE
            yield known_rows[is_close], wanted_rows[is_close]


def _chunks(counts: Ints) -> Iterator[Ints]:
    """Rows in order, so many at once that their counts make about _PAIRS_AT_ONCE."""
    chunk = np.cumsum(counts) // _PAIRS_AT_ONCE
    edges = np.flatnonzero(np.diff(chunk)) + 1
    for rows in np.split(np.arange(len(counts)), edges):
        if counts[rows].any():
            yield rows


def _correlations(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
    """Of thumbnails (P, SIDE, SIDE) with those beside them: (P,)."""
    found = np.empty(len(first))
    for start in range(0, len(first), _THUMBNAILS_AT_ONCE):
        part = slice(start, start + _THUMBNAILS_AT_ONCE)
        found[part] = (_normalised(first[part]) * _normalised(second[part])).sum(axis=1)
    return found


def _normalised(greys: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Without mean and of length 1: (P, SIDE * SIDE)."""
    flat = greys.reshape(len(greys), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return flat
