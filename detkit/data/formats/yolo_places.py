"""Paths in the files of a YOLO set: what they mean on this machine, and where the labels of an image are."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from detkit.data.io.files import read_bytes


def label_path(image: Path, root: Path) -> Path:
    """Where the labels of an image are: beside it, or below `labels` where its path has `images`."""
    if image.is_absolute() and not root.is_absolute():
        root = root.absolute()
    inside = image.is_relative_to(root)
    parts = list(image.relative_to(root).parts if inside else image.parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] in ("images", "JPEGImages"):
            parts[place] = "labels"
            break
    return (root / Path(*parts) if inside else Path(*parts)).with_suffix(".txt")


def read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as UTF-8 ({error}); write it anew") from None


def listed_images(file: Path, bases: Sequence[Path]) -> Iterator[tuple[int, str, Path | None]]:
    """Line number, text and image of each line of a file that lists images. Raises ValueError."""
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        text = line.strip()
        if text:
            yield number, text, resolve(text, (file.parent, *bases))


def resolve(text: str, bases: Sequence[Path]) -> Path | None:
    """The file or folder that a path in a data set means; None where nothing is there.

    Leading ../ are dropped, as they lead out of the data set (Roboflow writes ../train/images). Absolute paths may be
    those of another machine, or of the folder that the data set was copied from, and relative ones start from where a
    tool was run (darknet's data/train.txt): where their first folder is not there, their ends are looked for below
    `bases`, longest first. What is there and nowhere below `bases` comes last.
    """
    if "\0" in text:
        return None
    path = Path(text.replace("\\", "/"))
    is_there = path.is_absolute() and _is_there(path)
    own = [base.absolute() for base in bases if bases[0].is_relative_to(base)]  # without a folder elsewhere
    if is_there and any(map(path.is_relative_to, own)):
        return path
    parts = [part for part in path.parts if part not in ("/", "..")]
    foreign = path.is_absolute() or (bool(parts) and parts[0].endswith(":"))
    away = bool(parts) and not any(_is_there(base / parts[0]) for base in bases)
    for start in range(len(parts)) if foreign or away else (0,):
        end = parts[start:]
        if start and end == ["images"]:
            break  # too little: it would be the same for all splits
        for base in bases:
            if _is_there(base.joinpath(*end)):
                return base.joinpath(*end)
    return path if is_there else None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file may have
        return False


def outside(root: Path, places: Iterable[Path]) -> list[Path]:
    """Those that are not below the root."""
    top = root.resolve()
    return [place for place in places if not place.resolve().is_relative_to(top)]


def bases_of(root: Path, declared: object) -> tuple[Path, ...]:
    path = resolve(declared, [root]) if isinstance(declared, str) else None
    if path is None or path == root:
        return (root,)
    is_inside = path.resolve().is_relative_to(root.resolve())
    return (path, root) if is_inside else (root, path)  # the folder a set was copied from may still be there
