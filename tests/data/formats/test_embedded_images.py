"""Images inside files are written below the data set, once, and nowhere else."""

import errno
import os
from pathlib import Path

import pytest

from detkit.data.faults import Severity
from detkit.data.formats.embedded_images import EmbeddedImages

PNG = b"\x89PNG rest"


def test_written_once_and_anew_when_the_source_is(tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text("{}")
    os.utime(source, (1, 1))
    written = EmbeddedImages(tmp_path, "some/train")
    path = written.write("a b", PNG, source)
    assert path == tmp_path / "detkit_images/some/train/a b.png" and path.read_bytes() == PNG
    assert list(path.parent.iterdir()) == [path]
    (fault,) = written.faults(source)
    assert fault.severity is Severity.INFO and "1 images inside were written to" in str(fault)
    again = EmbeddedImages(tmp_path, "some/train")
    again.write("a b", PNG, source)
    assert again.num_written == 0 and list(again.faults(source)) == []
    again.write("a b", PNG + b".", source)
    assert path.read_bytes() == PNG + b"."
    os.utime(path, (0, 0))  # older than the source
    again.write("a b", PNG, source)
    assert again.num_written == 2 and path.read_bytes() == PNG


@pytest.mark.parametrize(
    ("start", "suffix"), [(b"\xff\xd8", ".jpg"), (b"GIF89", ".gif"), (b"II*\0", ".tif"), (b"RIFF", ".webp")]
)
def test_the_content_says_the_suffix(tmp_path: Path, start: bytes, suffix: str) -> None:
    assert EmbeddedImages(tmp_path, "all").write("a", start, tmp_path).suffix == suffix


def test_what_is_no_image_or_leads_out_is_refused(tmp_path: Path) -> None:
    root, other = tmp_path / "set", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    with pytest.raises(ValueError, match="is no image that can be read"):
        EmbeddedImages(root, "all").write("a", b"#!/bin/sh", tmp_path)
    for split, stem in (("../../other", "a"), ("all", "../../../other/a"), ("/tmp", "a")):
        with pytest.raises(ValueError, match="is a link or leads out of the data set"):
            EmbeddedImages(root, split).write(stem, PNG, tmp_path)
    (root / "detkit_images").symlink_to(other)
    with pytest.raises(ValueError, match="is a link or leads out"):
        EmbeddedImages(root, "all").write("a", PNG, tmp_path)
    assert list(other.iterdir()) == []


def test_where_it_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "detkit_images").write_text("a file")
    with pytest.raises(ValueError, match=r"cannot be written to .*; copy the data set to where that can be"):
        EmbeddedImages(tmp_path, "all").write("a", PNG, tmp_path)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(
        ValueError, match=r"cannot be written to .*a\.png \(No space left on device\); copy the data set"
    ):
        EmbeddedImages(tmp_path, "train").write("a", b"\x89PNG and more", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
