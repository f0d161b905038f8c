"""Which classes were looked for in which image: a federated data set, such as LVIS, asks each image for a few alone.

A class with objects in an image was looked for there, and so was one that its file states as absent. Any other is
unknown there, neither present nor absent (Gupta et al. 2019, section 2.1).

Notation: N images, C classes. A row of bits is ceil(C / 8) bytes: 15 MB for LVIS's 100,170 images and 1,203 classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bits = NDArray[np.uint8]

FREQUENCIES = ("", "r", "c", "f")  # in ascending order; LVIS: in under 10, under 100, 100 or more training images
_AT_ONCE = 4096  # images whose bits are spread out together: 5 MB for LVIS's classes


@dataclass(frozen=True, eq=False)
class Federated:
    """What is known of each class in each image."""

    checked: Bits  # (N, ceil(C / 8)) whether the class was looked for; it was where it has objects
    partial: Bits  # (N, ceil(C / 8)) whether objects of the class may be there that are not marked
    frequencies: tuple[str, ...]  # (C,) values of FREQUENCIES; "": not stated

    @staticmethod
    def of_pairs(
        num_images: int,
        frequencies: Sequence[str],
        checked: tuple[Ints, Ints],
        partial: tuple[Ints, Ints],
    ) -> "Federated":
        """From images (P,) and the classes (P,) that are so in them, in any order and as often as one likes."""
        nothing = np.zeros((num_images, -(-len(frequencies) // 8)), dtype=np.uint8)
        return Federated(_with_bits(nothing, *checked), _with_bits(nothing, *partial), tuple(frequencies))

    def is_checked(self, images: Ints, labels: Ints) -> Bools:
        """(P,) of images (P,) and classes (P,)."""
        return _bits_at(self.checked, images, labels)

    def is_partial(self, images: Ints, labels: Ints) -> Bools:
        """(P,) of images (P,) and classes (P,)."""
        return _bits_at(self.partial, images, labels)

    def unknown(self, image: int) -> Bools:
        """(C,) the classes of which a place without an object, in this image, may well be one."""
        return ~_spread(self.checked[image], len(self.frequencies)) | _spread(
            self.partial[image], len(self.frequencies)
        )

    def labels_of(self, image: int) -> tuple[Ints, Ints]:
        """The classes that were looked for in an image, and those of which some objects may not be marked."""
        found = (_spread(bits[image], len(self.frequencies)) for bits in (self.checked, self.partial))
        checked, partial = (np.flatnonzero(bits) for bits in found)
        return checked, partial

    def mean_checked(self) -> float:
        """Classes that were looked for, of an image on average."""
        return float(np.bitwise_count(self.checked).sum() / max(len(self.checked), 1))

    def rows(self, keep: Bools) -> "Federated":
        """Of the images for which `keep` (N,) says so."""
        return Federated(self.checked[keep], self.partial[keep], self.frequencies)

    def under(self, labels: Ints, num_classes: int, images: Ints, found: Ints) -> "Federated":
        """Under other classes: label i becomes labels[i], or none where that is -1; objects are of the new classes
        `found` (M,) in `images` (M,).

        A new class that no old one becomes was not looked for. One of several was looked for where all of them were;
        where it has objects without that, it is there, but more may be.
        """
        if np.array_equal(labels, np.arange(num_classes)) and num_classes == len(self.frequencies):
            return self
        checked = _moved(self.checked, labels, num_classes, is_all=True)
        partial = _moved(self.partial, labels, num_classes, is_all=False)
        is_new = ~_bits_at(checked, images, found)
        frequencies = [""] * num_classes
        for frequency, label in zip(self.frequencies, labels.tolist(), strict=True):
            if label >= 0:
                frequencies[label] = max(frequencies[label], frequency, key=FREQUENCIES.index)
        return Federated(
            _with_bits(checked, images, found),
            _with_bits(partial, images[is_new], found[is_new]),
            tuple(frequencies),
        )


def stacked_federated(
    parts: Sequence[Federated | None], num_images: Sequence[int], num_classes: int
) -> Federated | None:
    """Of data sets one after the other; one that is not federated (None) has looked for all classes in all images."""
    if all(part is None for part in parts):
        return None
    everything = np.packbits(np.ones(num_classes, dtype=np.uint8))
    checked, partial, frequencies = [], [], [""] * num_classes
    for part, count in zip(parts, num_images, strict=True):
        checked.append(np.tile(everything, (count, 1)) if part is None else part.checked)
        partial.append(np.zeros((count, len(everything)), dtype=np.uint8) if part is None else part.partial)
        if part is not None:
            frequencies = [known or new for known, new in zip(frequencies, part.frequencies, strict=True)]
    return Federated(np.concatenate(checked), np.concatenate(partial), tuple(frequencies))


def _bits_at(bits: Bits, rows: Ints, labels: Ints) -> Bools:
    found: Bools = (bits[rows, labels >> 3] >> (7 - (labels & 7)) & 1).astype(np.bool_)
    return found


def _with_bits(bits: Bits, rows: Ints, labels: Ints) -> Bits:
    """A copy in which these are set."""
    found = bits.copy()
    np.bitwise_or.at(found, (rows, labels >> 3), (128 >> (labels & 7)).astype(np.uint8))
    return found


def _spread(bits: Bits, num_classes: int) -> Bools:
    """(..., ceil(C / 8)) -> (..., C)"""
    return np.unpackbits(bits, axis=-1, count=num_classes).astype(np.bool_)


def _moved(bits: Bits, labels: Ints, num_classes: int, is_all: bool) -> Bits:
    """Bits of `num_classes` new classes: whether all or any of the old ones that become it have it; not, of none."""
    sources = np.bincount(labels[labels >= 0], minlength=num_classes)  # old classes of each new one
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    starts = (np.cumsum(sources) - sources)[sources > 0]
    found = np.zeros((len(bits), -(-num_classes // 8)), dtype=np.uint8)
    combined = np.logical_and if is_all else np.logical_or
    for begin in range(0, len(bits) if len(order) else 0, _AT_ONCE):
        block = _spread(bits[begin : begin + _AT_ONCE], len(labels))
        moved = np.zeros((len(block), num_classes), dtype=np.bool_)
        moved[:, sources > 0] = combined.reduceat(block[:, order], starts, axis=1)
        found[begin : begin + _AT_ONCE] = np.packbits(moved, axis=1)
    return found
