"""The configs that come with detkit, by their names: `faster_rcnn_r101`, `lineage/rcnn`."""

import difflib
import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
SUFFIX = ".yaml"
_END_OF_SENTENCE = re.compile(r"(?<!al)\.\s+")


def config_folder() -> Path:
    """Where they lie: in the package as it is installed, or beside it in a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def config_names() -> list[str]:
    """The names of all, those of sub-folders with the folder, sorted; `base` files are not among them."""
    folder = config_folder()
    names = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob(f"*{SUFFIX}"))
    return sorted(name for name in names if not is_base(name))


def is_base(name: str) -> bool:
    """Whether it is a part that others start from, and trains nothing by itself."""
    return summary_of(config_folder() / f"{name}{SUFFIX}").startswith("Base")


def find_config(name: str | Path) -> Path:
    """The YAML file that `name` stands for: a file of the user's, or a config that comes with detkit.

    A file wins over a packaged config. Raises ValueError, with the nearest names, for what is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in (SUFFIX, ".yml"):
        near = difflib.get_close_matches(str(path), sorted(map(str, path.parent.glob(f"*{SUFFIX}"))), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        if (config_folder() / path.name).is_file():
            hint += f"; the one that comes with detkit is called by its name alone: {path.stem}"
        raise ValueError(f"{path}: no such config{hint}")
    packaged = config_folder() / f"{path}{SUFFIX}"
    if packaged.is_file():
        return packaged
    near = difflib.get_close_matches(str(name), config_names(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "`detkit configs` lists those that come with detkit"
    raise ValueError(f"{name}: no file, and no config of that name; {hint}")


def summary_of(path: Path) -> str:
    """What a config says of itself: the first sentence of the comment it opens with; "" without one."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return _END_OF_SENTENCE.split(" ".join(lines), maxsplit=1)[0].rstrip(".")
