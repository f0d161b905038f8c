"""The classes that a data set is asked for beside those that its objects have: one line for each way they differ."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from detkit.data.faults import Fault, Severity
from detkit.data.formats.read_split import ReadSplit

SHOWN = 20  # names


def compare_with_asked(root: Path, splits: Sequence[ReadSplit], classes: Sequence[str]) -> Iterator[Fault]:
    """An error for classes that never occur, which are most likely misspelt, and one for objects of other classes.

    Where all objects are of classes asked for, training can start: then a class that never occurs is a warning.
    """
    counts = _counts(splits)
    others = {name: count for name, count in counts.most_common() if name not in classes}
    missing = [name for name in classes if name not in counts]
    if missing:
        unasked = list(others) or list(counts)
        said = _listed([_with_nearest(name, unasked) for name in missing])
        known = f"classes that occur: {_listed(_with_counts(counts))}" if counts else "no class occurs"
        severity = Severity.ERROR if others else Severity.WARNING
        yield Fault(root, f"of the classes asked for, no object is of {said}; {known}", severity)
    if others:
        message = (
            f"{sum(others.values()):,} objects are of classes not asked for: {_listed(_with_counts(others))} (the "
            f"first: {_first_of(splits, others)}); ask for these too, mend the names, or train with "
            "data.other_classes=drop"
        )
        yield Fault(root, message)


def _counts(splits: Sequence[ReadSplit]) -> Counter[str]:
    """Objects of each class that has any; those of an image that several splits share count once."""
    counts, seen = Counter[str](), set[Path]()
    for split in splits:
        is_new = np.array([path not in seen for path in split.paths], dtype=np.bool_)
        seen.update(split.paths)
        labels = split.truth.objects.labels[is_new[split.truth.image_index]]
        counts.update(split.truth.classes[label] for label in labels.tolist())
    return counts


def _with_nearest(name: str, known: Sequence[str]) -> str:
    folded = {one.casefold(): one for one in known}
    near = get_close_matches(name.casefold(), folded, n=1)
    return f"{name!r} (did you mean {folded[near[0]]!r}?)" if near else repr(name)


def _with_counts(counts: Mapping[str, int]) -> list[str]:
    """Such as "dog 1,200"."""
    return [f"{name} {count:,}" for name, count in counts.items()]


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def _first_of(splits: Sequence[ReadSplit], names: Mapping[str, int]) -> str:
    """File and object of the first that has one of the names."""
    for split in splits:
        truth = split.truth
        labels = [label for label, name in enumerate(truth.classes) if name in names]
        rows = np.flatnonzero(np.isin(truth.objects.labels, labels))
        if len(rows):
            row = int(rows[0])
            return f"{split.annotations[int(truth.image_index[row])]}: {split.name_object(row)}"
    raise AssertionError("no split has an object of these classes")
