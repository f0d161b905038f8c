"""Videos: what is written is read again with its size, rate and frames; and what is no video."""

from pathlib import Path

import numpy as np
import pytest

from detkit.data.io.video import VideoWriter, open_video


def write(path: Path, frames: list[np.ndarray], fps: float) -> Path:
    with VideoWriter(path, frames[0].shape[:2], fps) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def plain(color: tuple[int, int, int], size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), color, np.uint8)


@pytest.mark.parametrize(("size", "fps"), [((48, 64), 10.0), ((33, 51), 29.97), ((64, 48), 1.0)])
def test_what_is_written_is_read_again(tmp_path: Path, size: tuple[int, int], fps: float) -> None:
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 128, 128)]
    path = write(tmp_path / "100%d.mp4", [plain(color, size) for color in colors], fps)
    with open_video(path) as video:
        frames = list(video.frames)
    assert (video.name, video.num_frames) == (str(path), 4)
    assert video.size == tuple(side // 2 * 2 for side in size)  # the codec has no odd sides
    assert video.fps == pytest.approx(fps, rel=1e-3)
    for frame, color in zip(frames, colors, strict=True):
        assert frame.shape == (*video.size, 3) and frame.dtype == np.uint8
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), color, atol=8)  # the codec is lossy


def test_a_video_is_whole_though_its_writing_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", (48, 64), 10.0) as writer:
        for _ in range(3):
            writer.write(plain((9, 99, 9)))
        raise KeyboardInterrupt
    with open_video(tmp_path / "a.mp4") as video:
        assert len(list(video.frames)) == 3


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for name in ("text.mp4", "empty.mp4", "missing.mp4"):
        with (
            pytest.raises(ValueError, match=rf"{name}: no image can be had from it \(not a video"),
            open_video(tmp_path / name),
        ):
            pass


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"camera 97: no image can be had from it \(no such camera"), open_video(97):
        pass


def test_a_video_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="cannot be written as a video"),
        VideoWriter(tmp_path / "no" / "a.mp4", (8, 8), 1.0),
    ):
        pass
