"""detkit detect as it is called: images, videos, what it writes, and what it leaves alone."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detkit.commands.detect import find_inputs
from detkit.data.io.images import read_image
from detkit.data.io.video import VideoWriter, open_video

Inside = Callable[..., tuple[int, str, str]]
Start = Callable[..., "subprocess.Popen[str]"]
LOW = ("--min-score", 0.02)


@pytest.fixture
def photos(tmp_path: Path, voc_root: Path) -> Path:
    """Three images, two of one name, and a text that is called an image."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "more/a.png", "z.png")):
        shutil.copy(voc_root / "JPEGImages" / f"00000{number}.png", folder / name)
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, voc_root: Path) -> Path:
    """Five frames of 128 x 96, two a second."""
    path = tmp_path_factory.mktemp("videos") / "street.mp4"
    with VideoWriter(path, (96, 128), 2.0) as writer:
        for number in (0, 1, 2, 4, 5):
            writer.write(read_image(voc_root / "JPEGImages" / f"00000{number}.png"))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def table(out: Path) -> dict[str, Any]:
    return json.loads((out / "detections.json").read_text())


def test_a_folder_of_images_twice(inside: Inside, finished_run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    command = ("detect", finished_run, photos, "--out", out, *LOW)
    status, output, _ = inside(*command)
    assert status == 0 and re.match(rf"\d+ detections in 3 images: {out}", output)
    assert names(out) == ["a.jpg", "a_2.jpg", "detections.json", "z.jpg"]
    first = table(out)
    assert first["made_by"] == "detkit detect"
    (out / "detections.json").write_text(json.dumps(first | {"made_by": "tools/detect.py"}))  # as it was called once
    assert first["complete"] and first["failed"] == [] and first["classes"] == ["bar", "block"]
    assert [row["drawn"] for row in first["images"]] == ["a.jpg", "a_2.jpg", "z.jpg"]
    assert [row["file"] for row in first["images"]] == [str(photos / n) for n in ("a.png", "more/a.png", "z.png")]
    row = first["images"][0]
    assert row["size"] == {"height": 96, "width": 128} and len(row["detections"]) > 0
    assert all(one["score"] >= 0.02 and one["class"] in first["classes"] for one in row["detections"])
    assert (cv2.imread(str(out / "a.jpg")) != cv2.imread(str(photos / "a.png"))).any()
    (out / "a.jpg").write_bytes(b"old")
    assert inside(*command)[0] == 0
    assert names(out) == ["a.jpg", "a_2.jpg", "detections.json", "z.jpg"]
    assert table(out) == first and cv2.imread(str(out / "a.jpg")) is not None


def test_a_bad_image_is_named_and_the_others_are_found(
    inside: Inside, finished_run: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "m.jpg").write_text("no image")
    status, output, errors = inside(
        "detect", finished_run, photos, "http://127.0.0.1:1/b.jpg", "--out", tmp_path / "found", "--batch-size", 2
    )
    assert status == 1 and "in 3 images" in output
    assert f"left out: {photos / 'm.jpg'}: is not an image" in errors
    assert "left out: http://127.0.0.1:1/b.jpg: cannot be fetched" in errors
    assert len(table(tmp_path / "found")["failed"]) == 2
    assert names(tmp_path / "found") == ["a.jpg", "a_2.jpg", "detections.json", "z.jpg"]


def test_a_video_is_drawn_in_its_size_and_rate(inside: Inside, finished_run: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    status, output, _ = inside("detect", finished_run / "model.pt", video, "--out", out, *LOW, "--batch-size", 2)
    assert status == 0 and "0 images and 5 frames of videos" in output
    [row] = table(out)["videos"]
    assert (row["file"], row["fps"], row["drawn"]) == (str(video), 2.0, "street.mp4")
    assert [frame["frame"] for frame in row["frames"]] == [0, 1, 2, 3, 4]
    assert [frame["seconds"] for frame in row["frames"]] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert any(frame["detections"] for frame in row["frames"])
    with open_video(out / "street.mp4") as drawn, open_video(video) as given:
        assert (drawn.size, drawn.fps) == (given.size, given.fps)
        pairs = list(zip(drawn.frames, given.frames, strict=True))
    assert any(np.abs(one.astype(int) - other).max() > 60 for one, other in pairs)


def test_json_only(inside: Inside, finished_run: Path, photos: Path, video: Path, tmp_path: Path) -> None:
    status, _, _ = inside("detect", finished_run, photos / "z.png", video, "--out", tmp_path / "found", "--json-only")
    assert status == 0 and names(tmp_path / "found") == ["detections.json"]
    content = table(tmp_path / "found")
    assert content["images"][0]["drawn"] is None and len(content["videos"][0]["frames"]) == 5


@pytest.mark.parametrize(
    "there",
    [
        {"a.jpg": "a photo"},  # of the name of an output
        {"notes.txt": "notes"},
        {"detections.json": '[{"file": "a.jpg"}]'},  # another tool's
        {"detections.json": '{"made_by": "detkit detect", "files": ["b.jpg"]}', "b.jpg": "of other images"},
    ],
)
def test_a_folder_with_other_files_stays_as_it_is(
    inside: Inside, finished_run: Path, photos: Path, tmp_path: Path, there: dict[str, str]
) -> None:
    out = tmp_path / "found"
    out.mkdir()
    for name, text in there.items():
        (out / name).write_text(text)
    status, _, errors = inside("detect", finished_run, photos, "--out", out)
    assert status == 2 and f"{out}: holds files that this call would not write" in errors
    assert {path.name: path.read_text() for path in out.iterdir()} == there


def test_drawn_images_are_not_detected_in(inside: Inside, finished_run: Path, photos: Path) -> None:
    for _ in range(2):
        assert inside("detect", finished_run, photos, "--out", photos / "found")[0] == 0
    assert len(table(photos / "found")["images"]) == 3
    status, _, errors = inside("detect", finished_run, photos, "--out", photos)
    assert status == 2 and "all images in it lie in" in errors


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["missing.jpg"], "missing.jpg: no such file or folder"),
        (["ftp://example.org/a.jpg"], "http:// or https://"),
    ],
)
def test_sources_that_are_none(
    inside: Inside, finished_run: Path, tmp_path: Path, sources: list[str], message: str
) -> None:
    status, _, errors = inside("detect", finished_run, *sources, "--out", tmp_path / "found")
    assert status == 2 and message in errors and not (tmp_path / "found").exists()


@pytest.mark.parametrize("settings", [("--min-score", 2), ("--batch-size", 0), ("--device", "nonsense")])
def test_settings_that_are_none(inside: Inside, finished_run: Path, photos: Path, settings: tuple[str, object]) -> None:
    status, _, errors = inside("detect", finished_run, photos, "--out", photos / "found", *settings)
    assert status == 2 and settings[0].strip("-") in errors and not (photos / "found").exists()


def test_a_camera_and_a_video_that_cannot_be_opened(inside: Inside, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_text("no video")
    status, output, errors = inside("detect", finished_run, "97", tmp_path / "b.mp4", "--out", tmp_path / "found")
    assert status == 1 and "in 0 images" in output
    assert "left out: camera 97: " in errors and "b.mp4: no image can be had" in errors
    assert names(tmp_path / "found") == ["detections.json"]


def test_names_of_outputs(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "A.jpg", "a_2.png", "a.mp4", "7"):
        (tmp_path / name).touch()
    given = [str(tmp_path / name) for name in ("a.png", "a.jpg", "A.jpg", "a_2.png", "a.mp4", "7")]
    given += ["3", "http://x.org/dir/my%20dog.jpg?size=1", "http://x.org/", "http://x.org/%2e%2e%2f..jpg"]
    found = find_inputs(given, tmp_path / "out")
    assert [one.output for one in found] == [
        "a.jpg", "a_2.jpg", "A_3.jpg", "a_2_2.jpg", "a.mp4", "7.jpg", "camera_3.mp4", "my_dog.jpg", "image.jpg",
        "image_2.jpg",
    ]  # fmt: skip
    assert [one.is_video for one in found] == [False] * 4 + [True, False, True] + [False] * 3


def test_ctrl_c_leaves_a_whole_video(start: Start, finished_run: Path, tmp_path: Path, video: Path) -> None:
    long = tmp_path / "long.mp4"
    with open_video(video) as given, VideoWriter(long, given.size, 30.0) as writer:
        frames = list(given.frames)
        for number in range(600):
            writer.write(frames[number % 5])
    process = start("detect", finished_run, long, "--out", tmp_path / "found", "--batch-size", 1)
    drawn = tmp_path / "found" / "long.mp4"
    deadline = time.monotonic() + 60
    while not (drawn.exists() and drawn.stat().st_size > 10_000) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    content = table(tmp_path / "found")
    assert not content["complete"]
    [row] = content["videos"]
    with open_video(drawn) as video_drawn:
        assert 0 < len(list(video_drawn.frames)) == len(row["frames"]) < 600


def test_help_shows_an_example(inside: Inside) -> None:
    status, output, _ = inside("detect", "--help")
    assert status == 0 and "detkit detect runs/demo" in output
