"""Detecting in pictures, films and cameras, and what is written of it: what tools/detect.py does.

The folder holds one drawn picture or film an input, and detections.json, which lists all files that are this tool's:
what it does not list is somebody else's and is never touched.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from detkit.data.io.pictures import OpenPicture, is_address, open_picture, pictures_below
from detkit.data.io.video import VIDEO_SUFFIXES, Film, FilmWriter, open_film
from detkit.predictor import Predictor, in_groups
from detkit.results import Result, write_picture
from detkit.runtime.console import track
from detkit.runtime.interrupt import StopRequest, stop_between_steps
from detkit.runtime.whole_file import PARTIAL, written_whole

TABLE = "detections.json"
_NOT_FOR_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Input:
    """One thing to detect in, and the name of the file that shows what was found there."""

    source: str | Path | int  # path or address of a picture, path of a film, number of a camera
    is_film: bool
    output: str


@dataclass(frozen=True)
class Rule:
    min_score: float
    batch_size: int
    draw: bool  # or detections.json alone


@dataclass(frozen=True)
class Summary:
    pictures: int
    frames: int
    detections: int
    failed: tuple[str, ...]  # one line each
    interrupted: bool


def find_inputs(sources: Sequence[str], out: Path) -> list[Input]:
    """Files, folders of pictures, web addresses of pictures and numbers of cameras; nothing that lies in `out`.

    Raises ValueError for a path that is not there, and a folder without pictures.
    """
    inputs: list[Input] = []
    taken: set[str] = set()
    for source in [one for text in sources for one in _expanded(text, out)]:
        is_film = isinstance(source, int) or (isinstance(source, Path) and source.suffix.lower() in VIDEO_SUFFIXES)
        output = _free_name(_stem(source), ".mp4" if is_film else ".jpg", taken)
        inputs.append(Input(source, is_film, output))
    return inputs


def _expanded(text: str, out: Path) -> Sequence[str | Path | int]:
    if is_address(text):
        return [text]
    path = Path(text)
    if not path.exists():
        if text.isdecimal():
            return [int(text)]
        raise ValueError(f"{text}: no such file or folder")
    if not path.is_dir():
        return [path]
    inside = [p for p in pictures_below(path) if not p.absolute().is_relative_to(out.absolute())]
    if not inside:
        raise ValueError(f"{text}: all pictures in it lie in {out}, where the drawn ones go; name another --out")
    return inside


def _stem(source: str | Path | int) -> str:
    match source:
        case int():
            return f"camera_{source}"
        case Path():
            return source.stem
        case _:
            name = Path(unquote(urlsplit(source).path)).stem
            return _NOT_FOR_NAMES.sub("_", name)[:100].strip("._") or "picture"


def _free_name(stem: str, suffix: str, taken: set[str]) -> str:
    """`stem` with the suffix, or with a number where another input has this name; the same in every call."""
    number, name = 1, stem + suffix
    while name.lower() in taken:  # some file systems see no difference
        number, name = number + 1, f"{stem}_{number + 1}{suffix}"
    taken.add(name.lower())
    return name


def claim_folder(out: Path, inputs: Sequence[Input]) -> None:
    """Make the folder, or make sure that it holds nothing but what an earlier call for the same inputs left.

    Raises ValueError, with nothing changed, for a folder that holds other files.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    ours = {TABLE, *_listed_files(out / TABLE)} & {TABLE, *(one.output for one in inputs)}
    others = sorted(p.name for p in out.iterdir() if p.name not in ours and not p.name.startswith(f"{TABLE}{PARTIAL}"))
    if others or ((out / TABLE).exists() and not _listed_files(out / TABLE)):
        names = ", ".join(others[:3]) or TABLE
        raise ValueError(f"{out}: holds files that this call would not write ({names}); name a new folder with --out")


def _listed_files(table: Path) -> set[str]:
    """The files that an earlier call wrote or meant to write; none where the table is not this tool's."""
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        return set(content["files"]) if content["made_by"] == "tools/detect.py" else set()
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def detect_inputs(predictor: Predictor, inputs: Sequence[Input], out: Path, rule: Rule) -> Summary:
    """Detect in all inputs, films after pictures, and write what is found to `out`, claimed before.

    An input that cannot be read is left out and named in the summary. Ctrl-C ends a camera, and the work before the
    next batch of pictures or frames elsewhere; what was found so far is written whole either way.
    """
    table: dict[str, Any] = {
        "made_by": "tools/detect.py",
        "complete": False,
        "min_score": rule.min_score,
        "classes": predictor.classes,
        "files": [one.output for one in inputs],
        "pictures": [],
        "films": [],
        "failed": [],
    }
    _write_table(out / TABLE, table)
    failed: list[str] = table["failed"]
    try:
        interrupted = _detect_pictures(predictor, [i for i in inputs if not i.is_film], out, rule, table)
        for one in inputs:
            if one.is_film and not interrupted:
                stopped = _detect_film(predictor, one, out, rule, table)
                interrupted = stopped and isinstance(one.source, Path)  # a camera has no other end
        table["complete"] = not interrupted
    finally:
        _write_table(out / TABLE, table)
    frames = [frame for film in table["films"] for frame in film["frames"]]
    return Summary(
        len(table["pictures"]),
        len(frames),
        sum(len(row["detections"]) for row in [*table["pictures"], *frames]),
        tuple(failed),
        interrupted,
    )


def _write_table(path: Path, table: dict[str, Any]) -> None:
    with written_whole(path) as partial:
        partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _detect_pictures(
    predictor: Predictor, inputs: Sequence[Input], out: Path, rule: Rule, table: dict[str, Any]
) -> bool:
    """Whether it was stopped before the last picture."""
    with stop_between_steps(True) as stop:
        opened = track(_opened(inputs, table["failed"], stop), "detecting", len(inputs))
        for group in in_groups(opened, rule.batch_size):
            results = predictor.look([picture for _, picture in group], rule.min_score)
            for (one, picture), result in zip(group, results, strict=True):
                if rule.draw:
                    write_picture(out / one.output, result.draw(picture.pixels))
                table["pictures"].append(result.to_dict() | {"drawn": one.output if rule.draw else None})
        return stop.asked and len(table["pictures"]) + len(table["failed"]) < len(inputs)


def _opened(inputs: Sequence[Input], failed: list[str], stop: StopRequest) -> Iterator[tuple[Input, OpenPicture]]:
    """The pictures that can be read; what is wrong with the others goes to `failed`."""
    for one in inputs:
        if stop.asked:
            return
        assert not isinstance(one.source, int)
        try:
            yield one, open_picture(one.source)
        except ValueError as error:
            failed.append(str(error))


def _detect_film(predictor: Predictor, one: Input, out: Path, rule: Rule, table: dict[str, Any]) -> bool:
    """Whether it was stopped before the last frame. A film that cannot be read goes to the table's failures."""
    assert not isinstance(one.source, str)
    with ExitStack() as stack:
        try:
            film = stack.enter_context(open_film(one.source))
        except ValueError as error:
            table["failed"].append(str(error))
            return False
        writer = stack.enter_context(FilmWriter(out / one.output, film.size, film.fps)) if rule.draw else None
        height, width = film.size
        row: dict[str, Any] = {"file": film.name, "size": {"height": height, "width": width}, "fps": film.fps}
        table["films"].append(row | {"drawn": one.output if rule.draw else None, "frames": (frames := [])})
        stop = stack.enter_context(stop_between_steps(True))
        for number, result in enumerate(_in_frames(predictor, film, rule, stop)):
            found = result.to_dict()["detections"]
            frames.append({"frame": number, "seconds": round(number / film.fps, 3), "detections": found})
            if writer is not None:
                writer.write(result.draw())
        return stop.asked


def _in_frames(predictor: Predictor, film: Film, rule: Rule, stop: StopRequest) -> Iterator[Result]:
    for group in in_groups(track(film.frames, film.name, film.num_frames), rule.batch_size):
        yield from predictor.look([OpenPicture(film.name, frame, frame) for frame in group], rule.min_score)
        if stop.asked:
            return
