"""What a check of a data set found, and its text: faults by kind, what is in the splits, and a verdict."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detkit.data.faults import Fault, Severity
from detkit.data.formats.forms import Form
from detkit.data.formats.read_split import ReadSplit
from detkit.data.validation.compare_splits import NearDuplicate, class_counts

SHOWN_CLASSES = 100  # more make no table to be read


@dataclass(frozen=True, eq=False)
class CheckReport:
    form: Form
    faults: tuple[Fault, ...]  # errors first
    splits: dict[str, ReadSplit]
    near_duplicates: tuple[NearDuplicate, ...]  # each also among the faults
    unreadable: tuple[Fault, ...]  # images, each also among the faults
    can_train: bool  # whether training on these splits would begin

    def count(self, severity: Severity) -> int:
        return sum(fault.severity is severity for fault in self.faults)

    @property
    def num_images(self) -> int:
        return len({path for split in self.splits.values() for path in split.paths})

    def lines(self, limit: int | None = None) -> Iterator[str]:
        """The faults, at most `limit` of a kind, then what is in the splits, then one line for all."""
        yield from fault_lines(self.faults, limit)
        yield from self.split_lines()
        yield self.verdict()

    def split_lines(self) -> Iterator[str]:
        for name, split in self.splits.items():
            objects = split.truth.objects
            marks = (("difficult", objects.ignore & ~objects.crowd), ("crowds", objects.crowd))
            counts = [f"{int(marked.sum()):,} {word}" for word, marked in marks if marked.any()]
            ignored = f" ({', '.join(counts)})" if counts else ""
            yield (
                f"{name}: {len(split.truth):,} images{_describe_sizes(split)} "
                f"({int((split.truth.counts == 0).sum()):,} without objects), {len(objects):,} objects{ignored}"
            )
        yield from _class_table(self.splits)

    def verdict(self) -> str:
        errors, warnings = self.count(Severity.ERROR), self.count(Severity.WARNING)
        verdict = "training can start" if self.can_train else "training would stop: mend the errors"
        if self.can_train and errors:
            verdict += ", the errors are in splits that it does not use"
        counts = f"{errors:,} errors, {warnings:,} warnings"
        return f"{self.num_images:,} images, {len(self.splits)} splits: {counts}; {verdict}"


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Each once, errors first."""
    order = list(Severity)
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: order.index(fault.severity)))


def kinds_of(faults: Iterable[Fault]) -> dict[tuple[Severity, str], list[Fault]]:
    """Faults by severity and the phrase for their kind, "" where they have none."""
    kinds = defaultdict(list)
    for fault in faults:
        kinds[fault.severity, fault.summary].append(fault)
    return dict(kinds)


def fault_lines(faults: Iterable[Fault], limit: int | None = None) -> Iterator[str]:
    """One line a fault; those of a kind that has a phrase follow it and their number."""
    for (severity, summary), members in kinds_of(faults).items():
        start = f"{severity}: "
        if summary and len(members) > 1:
            yield f"{severity}: {len(members):,} {summary}:"
            start = "  "
        yield from (f"{start}{fault}" for fault in members[:limit])
        if limit is not None and len(members) > limit:
            yield f"  ... and {len(members) - limit:,} more (--all lists them)"


def _class_table(splits: dict[str, ReadSplit]) -> Iterator[str]:
    counts = {name: class_counts(split) for name, split in splits.items()}
    known = next(iter(splits.values())).truth.classes if splits else ()
    names = [name for name in known if any(name in count for count in counts.values())]
    shown = names[:SHOWN_CLASSES]
    width = max(len(name) for name in ["class", *shown])
    widths = {split: max(len(split), 9) for split in splits}
    yield "  ".join([f"{'class':{width}}", *(f"{split:>{widths[split]}}" for split in splits)])
    for name in shown:
        yield "  ".join([f"{name:{width}}", *(f"{counts[split].get(name, 0):{widths[split]},}" for split in splits)])
    if len(names) > len(shown):
        yield f"... and {len(names) - len(shown):,} classes more"
    unused = [name for name in known if name not in names]
    if unused:
        yield f"without objects: {_shortened(unused)}"


def _shortened(names: Sequence[str], count: int = 20) -> str:
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _describe_sizes(split: ReadSplit) -> str:
    sizes = split.truth.sizes[(split.truth.sizes > 0).all(axis=1)]
    if not len(sizes):
        return ""
    (low_height, low_width), (high_height, high_width) = np.min(sizes, axis=0), np.max(sizes, axis=0)
    if (low_height, low_width) == (high_height, high_width):
        return f" of {low_width} x {low_height} px"
    return f" of {low_width}-{high_width} x {low_height}-{high_height} px"
