"""The names of classes: which are allowed, and what is said about one that is not known."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

MAX_NAME = 100  # characters; a name becomes part of a file name


def fault_of_name(name: str) -> str | None:
    """What is wrong with a class name, if anything: it becomes part of the names of result files."""
    if not name:
        return "is empty; give the class"
    if len(name) > MAX_NAME or not name.isprintable() or set(name) & set("/\\"):
        return f"must be at most {MAX_NAME} printable characters without / and \\; rename it"
    return None


def unknown_name(name: str, classes: Sequence[str]) -> str:
    """What is said about a name that is not among the classes."""
    near = difflib.get_close_matches(name, classes, n=1, cutoff=0) or ["none"]
    return f"{name!r} is not one of the classes, the nearest is {near[0]!r}; mend either"


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes as given. Raises ValueError where one is there twice."""
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ValueError(f"classes: {twice} are there more than once; name each class once")
    return tuple(classes)


def discovered_classes(names: Iterable[str], root: Path, splits: Sequence[str]) -> tuple[str, ...]:
    """The names that objects have, sorted. Raises ValueError where there are none."""
    found = tuple(sorted(set(names)))
    if not found:
        raise ValueError(f"{root}: the splits {list(splits)} have no objects, so no classes; name the classes")
    return found
