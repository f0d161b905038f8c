"""Files that are whole or not there."""

from pathlib import Path

import pytest

from detkit.runtime.whole_file import PARTIAL, named, written_whole


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old" and partial.name.startswith(f"a.txt{PARTIAL}")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), KeyError("a"), ValueError("a")])
def test_what_is_stopped_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), written_whole(path) as partial:
        partial.write_text("ne")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_names_may_be_as_long_as_the_disk_takes(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 250)
    with written_whole(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_what_cannot_be_written_is_named_with_the_room_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with (
        pytest.raises(OSError, match=r"a\.txt: could not be written \(No space left on device\), with \d+ MB free"),
        written_whole(path),
    ):
        raise OSError(28, "No space left on device")
    for parent in ("missing", "file"):
        (tmp_path / "file").touch()
        with (
            pytest.raises(OSError, match=rf"{parent}/a\.txt: could not be written \(.+\), with \d+ MB free"),
            written_whole(tmp_path / parent / "a.txt") as partial,
        ):
            partial.write_text("new")
    (tmp_path / "file").unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    message = r"log\.jsonl: could not be written \(No space left on device\), with \d+ MB free"
    with pytest.raises(OSError, match=message), named(path), Path("/dev/full").open("w") as full:
        full.write("a line\n")
