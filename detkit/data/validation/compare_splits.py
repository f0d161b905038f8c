"""What splits have in common that they should not, and what one has that it should share."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from detkit.data.faults import Fault, Severity
from detkit.data.formats.forms import WHOLE, Form, parse_split, roles
from detkit.data.formats.read_split import ReadSplit
from detkit.data.formats.split_names import Role, role_of
from detkit.data.validation.checked_images import CheckedImage, CheckedImages, keys_of
from detkit.data.validation.near_duplicates import near_pairs

COPIES = "images are copies of one in another split, byte for byte"
NEAR = "images are nearly one of another split"

_ORDER: tuple[Role, ...] = ("train", "trainval", "val", "test", "")  # of use
_MAX_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Group:
    """Images that have one use: a split, or a part of one."""

    name: str
    role: Role  # "": nothing is known
    file: Path
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    images: tuple[CheckedImage | None, ...]  # None: not there


@dataclass(frozen=True)
class NearDuplicate:
    first: Path
    first_group: str
    second: Path
    second_group: str
    correlation: float  # of their thumbnails
    is_mirrored: bool


def group_images(form: Form, splits: Sequence[ReadSplit], images: CheckedImages) -> list[Group]:
    """The splits, or their parts where detkit divides them, in the order of use."""
    by_name = {split.name: split for split in splits}
    used = roles(form)
    uses: list[tuple[Role, tuple[str, ...]]] = [("train", used.train), ("val", used.val), ("test", used.test)]
    named = [(split, *parse_split(split), role) for role, names in uses for split in names]
    if all(part == WHOLE for _, _, part, _ in named):
        named = [(split.name, split.name, WHOLE, role_of(split.name)) for split in splits]
    groups = []
    for text, name, part, role in named:
        if name not in by_name:
            continue
        split = by_name[name]
        rows = [row for row, image_id in enumerate(split.truth.image_ids) if image_id in part]
        ids = tuple(split.truth.image_ids[row] for row in rows)
        found = [images.get(key) for key in keys_of(split)]
        groups.append(
            Group(
                text, role, split.file, ids, tuple(split.paths[row] for row in rows), tuple(found[row] for row in rows)
            )
        )
    return sorted(groups, key=lambda group: _ORDER.index(group.role))


def find_shared(groups: Sequence[Group]) -> Iterator[Fault]:
    """Images that are in two groups which should have none in common, by name or by content."""
    for first, second in _strangers(groups):
        paths = set(first.paths)
        shared = [image_id for image_id, path in zip(second.ids, second.paths, strict=True) if path in paths]
        if shared:
            message = f"{len(shared):,} images are also in {first.name!r} ({examples(shared)})"
            yield Fault(second.file, f"{message}; scores on them mean little", Severity.WARNING)
        originals = {image.digest: path for path, image in _readable(first)}
        for path, image in _readable(second):
            original = originals.get(image.digest)
            if original is not None and path not in paths:
                message = f"in {second.name!r}: is byte for byte {original}, in {first.name!r}; remove one"
                yield Fault(path, message, Severity.WARNING, summary=COPIES)


def find_near(groups: Sequence[Group]) -> list[NearDuplicate]:
    """Images of two groups which should have none in common that show nearly the same, the likest first."""
    found: dict[tuple[Path, Path], NearDuplicate] = {}
    for first, second in _strangers(groups):
        known, copied = set(first.paths), {image.digest for _, image in _readable(first)}
        wanted = [(path, one) for path, one in _readable(second) if path not in known and one.digest not in copied]
        originals = list(_readable(first))
        pairs = near_pairs(
            [one.fingerprint for _, one in originals if one.fingerprint],
            [one.fingerprint for _, one in wanted if one.fingerprint],
        )
        columns = (pairs.first, pairs.second, pairs.correlation, pairs.is_mirrored)
        for one, other, correlation, is_mirrored in zip(*(column.tolist() for column in columns), strict=True):
            paths = originals[one][0], wanted[other][0]
            pair = NearDuplicate(paths[0], first.name, paths[1], second.name, correlation, is_mirrored)
            found.setdefault(paths, pair)
    return sorted(found.values(), key=lambda pair: -pair.correlation)


def near_fault(pair: NearDuplicate) -> Fault:
    what = "mirrors" if pair.is_mirrored else "is nearly"
    message = f"in {pair.second_group!r}: {what} {pair.first}, in {pair.first_group!r}"
    message += f" (correlation {pair.correlation:.3f}); keep them in one split"
    return Fault(pair.second, message, Severity.WARNING, summary=NEAR)


def _strangers(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Pairs that should have no image in common, the earlier in use first."""
    for first, second in combinations(groups, 2):
        pair = {first.role, second.role}
        if len(pair) == 2 and "" not in pair and ("trainval" not in pair or "test" in pair):
            yield first, second


def _readable(group: Group) -> Iterator[tuple[Path, CheckedImage]]:
    for path, image in zip(group.paths, group.images, strict=True):
        if image is not None and image.fingerprint is not None:
            yield path, image


def compare_classes(root: Path, splits: Sequence[ReadSplit]) -> Iterator[Fault]:
    """Classes that differ by case only, and those that a test split alone has."""
    names_of = {split.name: class_counts(split).keys() for split in splits}
    spellings = defaultdict(set)
    for name in {name for names in names_of.values() for name in names}:
        spellings[name.casefold()].add(name)
    for alike in sorted(sorted(names) for names in spellings.values() if len(names) > 1):
        yield Fault(root, f"the classes {', '.join(alike)} differ only by case; are they one?", Severity.WARNING)

    tests = [split for split in splits if role_of(split.name) == "test"]
    known = {name for split in splits if split not in tests for name in names_of[split.name]}
    for split in tests if known else []:
        new = sorted(names_of[split.name] - known)
        if new:
            message = f"has classes that no other split has: {', '.join(new)}; nothing can learn them"
            yield Fault(split.file, message, Severity.WARNING)


def class_counts(split: ReadSplit) -> dict[str, int]:
    """The number of objects of each class that has any."""
    counts: dict[int, int] = defaultdict(int)
    for label in split.truth.objects.labels.tolist():
        counts[label] += 1
    return {split.truth.classes[label]: counts[label] for label in sorted(counts)}


def examples(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MAX_EXAMPLES else ""
    return ", ".join(names[:_MAX_EXAMPLES]) + more
