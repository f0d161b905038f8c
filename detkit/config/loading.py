"""Configuration files: a YAML file, its `base` files and key=value overrides, checked into sections."""

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from detkit.config.base import Section
from detkit.config.data import FolderData, ImageConfig
from detkit.config.schema import Config, TestTime


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, its value and what is allowed."""


def load_config(path: Path, overrides: Sequence[str] = (), data: FolderData | None = None) -> Config:
    """Read `path`, the files it is based on and the `key=value` overrides, in order.

    `data` takes the place of the data set in the file; the file's sizes of images, augmentation and workers stay.
    Raises ConfigError naming the key, its value, what is allowed and the nearest known key.
    """
    content = _read(path, seen=())
    if data is not None:
        before = content.get("data")
        kept = {k: v for k, v in before.items() if k in ImageConfig.model_fields} if isinstance(before, dict) else {}
        own = data.model_dump(mode="json", exclude=set(ImageConfig.model_fields), exclude_defaults=True)
        content["data"] = kept | own
    train = content.get("train")
    if isinstance(train, dict) and train.get("lr_batch") is None:
        train["lr_batch"] = train.get("batch_size")  # so that an override of batch_size scales the rate
    return parse_config(with_overrides(content, overrides), source=str(path))


def read_config(path: Path) -> Config:
    """The config in `path` as it stands, such as the config.yaml of a run. Raises ConfigError as load_config does."""
    return parse_config(_read(path, seen=()), source=str(path))


def parse_config(content: dict[str, Any], source: str) -> Config:
    """Check plain values, as read from YAML or a checkpoint, into a Config."""
    try:
        return Config.model_validate_json(json.dumps(content))
    except TypeError as error:  # YAML has more kinds of values than JSON: bytes, paths
        raise ConfigError(f"{source}: {error}") from None
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ConfigError(f"{source}: {problems}") from None


def parse_test_time(settings: Sequence[str]) -> TestTime:
    """Check `key=value` settings, such as flip=true, into a TestTime. Raises ConfigError as load_config does."""
    content = with_overrides({}, settings, example="flip=true")
    try:
        return TestTime.model_validate_json(json.dumps(content))
    except ValidationError as error:
        problems = "; ".join(_explain(problem, TestTime) for problem in error.errors())
        raise ConfigError(f"test-time options: {problems}") from None


# Kinds that have one section in common: changing one for another keeps the other keys.
SHARED_KINDS = {"joint": "train", "alternating": "train", "voc": "data", "coco": "data", "yolo": "data"}


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, section by section; a section that names another `kind` replaces the old one whole."""
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _is_same_kind(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def differing_keys(one: Config, other: Config) -> list[str]:
    """Dotted keys whose values differ between two configs."""
    first, second = dict(flatten(one.model_dump())), dict(flatten(other.model_dump()))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _is_same_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    before = str(old.get("kind", "joint"))  # what a training without one is
    kind = str(new.get("kind", before))
    return kind == before or (kind in SHARED_KINDS and SHARED_KINDS.get(kind) == SHARED_KINDS.get(before))


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: its `base` files lead back to itself")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except FileNotFoundError:
        known = sorted(str(file) for file in path.parent.glob("*.yaml"))
        raise ConfigError(f"{path}: no such config{_nearest(str(path), known)}") from None
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected sections such as `data:`, `model:`, `train:`, got {content!r:.80}")
    sections = {str(key): value for key, value in content.items()}
    base = sections.pop("base", None)
    if base is None:
        return sections
    return merge(_read(path.parent / str(base), (*seen, path.resolve())), sections)


def with_overrides(content: dict[str, Any], overrides: Sequence[str], example: str = "train.lr=0.01") -> dict[str, Any]:
    """Plain values of a config with `key=value` changes to them. `example` is for the ConfigError."""
    for override in overrides:
        content = merge(content, _parse_override(override, example))
    return content


def _parse_override(override: str, example: str) -> dict[str, Any]:
    key, equals, _ = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r}: expected key=value, such as {example}")
    try:
        content = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"override {override!r}: {error}") from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _explain(problem: Any, root: type[Section] = Config) -> str:
    """One problem that pydantic found, as `key: what is wrong (got value)`, with the nearest key if it is unknown."""
    key, known = _locate([str(part) for part in problem["loc"]], root)
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest(key.rpartition('.')[2], known)}; known here: {', '.join(known)}"
    got = "" if problem["type"] == "missing" else f" (got {problem['input']!r:.80})"
    return f"{key or 'config'}: {problem['msg']}{got}"


def _locate(names: Sequence[str], root: type[Section]) -> tuple[str, list[str]]:
    """The dotted key as a file has it (pydantic names a chosen kind as a step of the path), and the keys beside it."""
    section: Any = root
    key: list[str] = []
    known: list[str] = []
    for name in names:
        chosen = next((kind for kind in _sections(section) if name in _kinds_of(kind)), None)
        if chosen is not None:
            section = chosen
            continue
        key.append(name)
        known = sorted({field for kind in _sections(section) for field in kind.model_fields})
        is_section = isinstance(section, type) and issubclass(section, Section)
        section = section.model_fields[name].annotation if is_section and name in section.model_fields else None
    return ".".join(key), known


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    else:
        for part in getattr(annotation, "__args__", ()):
            yield from _sections(part)


def _kinds_of(section: type[Section]) -> tuple[str, ...]:
    field = section.model_fields.get("kind")
    return () if field is None else field.annotation.__args__  # type: ignore[union-attr]


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f", did you mean {close[0]}?" if close else ""


def flatten(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by their dotted keys."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
