"""Detecting in images, videos and cameras, and what is written of it: what detkit detect does.

The folder holds one drawn image or video an input, and detections.json, which lists all files that are this tool's:
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

from detkit.data.io.image_sources import OpenImage, images_below, is_address
from detkit.data.io.video import VIDEO_SUFFIXES, Video, VideoWriter, open_video
from detkit.predictor import Predictor, in_groups
from detkit.results import Result, write_image
from detkit.runtime.console import track
from detkit.runtime.interrupt import StopRequest, stop_between_steps
from detkit.runtime.whole_file import PARTIAL, written_whole

TABLE = "detections.json"
MADE_BY = "detkit detect"
_MADE_BY = (MADE_BY, "tools/detect.py")  # the second: as it was written before there was a command
_NOT_FOR_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Input:
    """One thing to detect in, and the name of the file that shows what was found there."""

    source: str | Path | int  # path or address of an image, path of a video, number of a camera
    is_video: bool
    output: str


@dataclass(frozen=True)
class Rule:
    min_score: float
    batch_size: int
    draw: bool  # or detections.json alone


@dataclass(frozen=True)
class Summary:
    images: int
    frames: int
    detections: int
    failed: tuple[str, ...]  # one line each
    interrupted: bool


def find_inputs(sources: Sequence[str], out: Path) -> list[Input]:
    """Files, folders of images, web addresses of images and numbers of cameras; nothing that lies in `out`.

    Raises ValueError for a path that is not there, and a folder without images.
    """
    inputs: list[Input] = []
    taken: set[str] = set()
    for source in [one for text in sources for one in _expanded(text, out)]:
        is_video = isinstance(source, int) or (isinstance(source, Path) and source.suffix.lower() in VIDEO_SUFFIXES)
        output = _free_name(_stem(source), ".mp4" if is_video else ".jpg", taken)
        inputs.append(Input(source, is_video, output))
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
    inside = [p for p in images_below(path) if not p.absolute().is_relative_to(out.absolute())]
    if not inside:
        raise ValueError(f"{text}: all images in it lie in {out}, where the drawn ones go; name another --out")
    return inside


def _stem(source: str | Path | int) -> str:
    match source:
        case int():
            return f"camera_{source}"
        case Path():
            return source.stem
        case _:
            name = Path(unquote(urlsplit(source).path)).stem
            return _NOT_FOR_NAMES.sub("_", name)[:100].strip("._") or "image"


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
        return set(content["files"]) if content["made_by"] in _MADE_BY else set()
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def detect_inputs(predictor: Predictor, inputs: Sequence[Input], out: Path, rule: Rule) -> Summary:
    """Detect in all inputs, videos after images, and write what is found to `out`, claimed before.

    An input that cannot be read is left out and named in the summary. Ctrl-C ends a camera, and the work before the
    next batch of images or frames elsewhere; what was found so far is written whole either way.
    """
    table: dict[str, Any] = {
        "made_by": MADE_BY,
        "complete": False,
        "min_score": rule.min_score,
        "classes": predictor.classes,
        "files": [one.output for one in inputs],
        "images": [],
        "videos": [],
        "failed": [],
    }
    _write_table(out / TABLE, table)
    failed: list[str] = table["failed"]
    try:
        interrupted = _detect_images(predictor, [i for i in inputs if not i.is_video], out, rule, table)
        for one in inputs:
            if one.is_video and not interrupted:
                stopped = _detect_video(predictor, one, out, rule, table)
                interrupted = stopped and isinstance(one.source, Path)  # a camera has no other end
        table["complete"] = not interrupted
    finally:
        _write_table(out / TABLE, table)
    frames = [frame for video in table["videos"] for frame in video["frames"]]
    return Summary(
        len(table["images"]),
        len(frames),
        sum(len(row["detections"]) for row in [*table["images"], *frames]),
        tuple(failed),
        interrupted,
    )


def _write_table(path: Path, table: dict[str, Any]) -> None:
    with written_whole(path) as partial:
        partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _detect_images(predictor: Predictor, inputs: Sequence[Input], out: Path, rule: Rule, table: dict[str, Any]) -> bool:
    """Whether it was stopped before the last image."""
    with stop_between_steps(True) as stop:
        opened = track(_opened(predictor, inputs, table["failed"], stop), "detecting", len(inputs))
        for group in in_groups(opened, rule.batch_size):
            results = predictor.detect([image for _, image in group], rule.min_score)
            for (one, image), result in zip(group, results, strict=True):
                if rule.draw:
                    write_image(out / one.output, result.draw(image.pixels))
                table["images"].append(result.to_dict() | {"drawn": one.output if rule.draw else None})
        return stop.asked and len(table["images"]) + len(table["failed"]) < len(inputs)


def _opened(
    predictor: Predictor, inputs: Sequence[Input], failed: list[str], stop: StopRequest
) -> Iterator[tuple[Input, OpenImage]]:
    """The images that can be read; what is wrong with the others goes to `failed`."""
    for one in inputs:
        if stop.asked:
            return
        assert not isinstance(one.source, int)
        try:
            yield one, predictor.open(one.source)
        except ValueError as error:
            failed.append(str(error))


def _detect_video(predictor: Predictor, one: Input, out: Path, rule: Rule, table: dict[str, Any]) -> bool:
    """Whether it was stopped before the last frame. A video that cannot be read goes to the table's failures."""
    assert not isinstance(one.source, str)
    with ExitStack() as stack:
        try:
            video = stack.enter_context(open_video(one.source))
        except ValueError as error:
            table["failed"].append(str(error))
            return False
        writer = stack.enter_context(VideoWriter(out / one.output, video.size, video.fps)) if rule.draw else None
        height, width = video.size
        row: dict[str, Any] = {"file": video.name, "size": {"height": height, "width": width}, "fps": video.fps}
        table["videos"].append(row | {"drawn": one.output if rule.draw else None, "frames": (frames := [])})
        stop = stack.enter_context(stop_between_steps(True))
        for number, result in enumerate(_in_frames(predictor, video, rule, stop)):
            found = result.to_dict()["detections"]
            frames.append({"frame": number, "seconds": round(number / video.fps, 3), "detections": found})
            if writer is not None:
                writer.write(result.draw())
        return stop.asked


def _in_frames(predictor: Predictor, video: Video, rule: Rule, stop: StopRequest) -> Iterator[Result]:
    for group in in_groups(track(video.frames, video.name, video.num_frames), rule.batch_size):
        yield from predictor.detect([OpenImage(video.name, frame, frame) for frame in group], rule.min_score)
        if stop.asked:
            return
