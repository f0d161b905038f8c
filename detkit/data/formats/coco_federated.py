"""What an annotation file of LVIS says beside COCO's: which classes were looked for in which image (federated.py).

An image lists the categories that it has none of (neg_category_ids) and those of which some objects are not marked
(not_exhaustive_category_ids). A file is federated if any image has the first list; COCO's own have neither.
"""

from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

import numpy as np

from detkit.data.faults import Fault, Severity
from detkit.data.federated import FREQUENCIES, Federated, Ints

NEGATIVE, PARTIAL = "neg_category_ids", "not_exhaustive_category_ids"


def read_federated(
    path: Path,
    image_numbers: Sequence[int],
    lists: Sequence[tuple[object, object]],
    categories: Sequence[tuple[int, str, object]],
    present: tuple[Ints, Ints],
    faults: list[Fault],
) -> Federated | None:
    """None where no image has a list; what is wrong goes to `faults`, and is left out.

    `lists` are both of each image (None: not there), `categories` id, name and frequency of each class. There are
    objects of the classes present[1] (M,) in the images present[0] (M,).
    """
    if all(negative is None for negative, _ in lists):
        return None
    reader = _Reader(path, image_numbers, categories, faults)
    silent = [number for number, (negative, _) in zip(image_numbers, lists, strict=True) if negative is None]
    if silent:
        message = f"is missing in {len(silent):,} images, others have it; write [] for no category"
        faults.append(Fault(path, message, Severity.ERROR, f"image id {silent[0]}", NEGATIVE))
    absent = reader.pairs(NEGATIVE, [() if negative is None else negative for negative, _ in lists])
    partial = reader.pairs(PARTIAL, [() if some is None else some for _, some in lists])
    _check_apart(reader, absent, present)
    checked = (np.concatenate([absent[0], present[0]]), np.concatenate([absent[1], present[1]]))
    frequencies = [frequency if frequency in FREQUENCIES else "" for _, _, frequency in categories]
    return Federated.of_pairs(len(image_numbers), [str(frequency) for frequency in frequencies], checked, partial)


class _Reader:
    def __init__(
        self,
        path: Path,
        image_numbers: Sequence[int],
        categories: Sequence[tuple[int, str, object]],
        faults: list[Fault],
    ) -> None:
        self._path, self._image_numbers, self._faults = path, image_numbers, faults
        self.names = [name for _, name, _ in categories]
        self._label_of = {number: label for label, (number, _, _) in enumerate(categories)}

    def pairs(self, field: str, lists: Sequence[object]) -> tuple[Ints, Ints]:
        """The images (P,) and the classes (P,) that their lists name."""
        images: list[int] = []
        labels: list[int] = []
        for image, numbers in enumerate(lists):
            if not isinstance(numbers, list | tuple):
                self.error(image, field, f"is {short_repr(numbers)}, expected a list of category ids")
                continue
            for number in numbers:
                if type(number) is int and number in self._label_of:
                    images.append(image)
                    labels.append(self._label_of[number])
                else:
                    self.error(image, field, f"has {short_repr(number)}, which is no category id; mend either list")
        return np.array(images, dtype=np.int64), np.array(labels, dtype=np.int64)

    def error(self, image: int, field: str, message: str) -> None:
        place = f"image id {self._image_numbers[image]}"
        self._faults.append(Fault(self._path, message, Severity.ERROR, place, field))


def _check_apart(reader: _Reader, absent: tuple[Ints, Ints], present: tuple[Ints, Ints]) -> None:
    """An error for each class that an image has objects of, and is said to have none of."""
    count = max(len(reader.names), 1)
    both = np.intersect1d(absent[0] * count + absent[1], present[0] * count + present[1])
    for image, label in zip((both // count).tolist(), (both % count).tolist(), strict=True):
        reader.error(image, NEGATIVE, f"has {reader.names[label]!r}, of which the image has objects; remove either")


def federated_note(path: Path, federated: Federated) -> Fault:
    """What check-data tells of it."""
    message = (
        f"is federated, as LVIS: of {len(federated.frequencies):,} classes {federated.mean_checked():.1f} were looked "
        "for in an image, on average; the others are unknown there, neither learned as absent nor scored"
    )
    return Fault(path, message, Severity.INFO)


def federated_lists(
    federated: Federated, image: int, present: Ints, category_numbers: Sequence[int]
) -> dict[str, list[int]]:
    """Both lists of an image, which has objects of the classes `present`, as they are written."""
    checked, partial = federated.labels_of(image)
    absent = np.setdiff1d(checked, present)
    return {
        NEGATIVE: [category_numbers[label] for label in absent.tolist()],
        PARTIAL: [category_numbers[label] for label in partial.tolist()],
    }
