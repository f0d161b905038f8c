"""Fetching archives: resumed, checked, from the first mirror that works, and unpacked whole or not at all."""

import hashlib
import io
import runpy
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from detkit.data.io import download as module
from detkit.data.io.download import VOC07, VOC12, Archive, Release, download, has_release

TOOL = Path(__file__).parents[3] / "tools" / "download.py"
DEAD = "http://127.0.0.1:9/"  # the port "discard", where nobody listens


@dataclass
class Server:
    """A mirror on this machine, what it does wrong, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    knows_range: bool = True
    ends_after: int | None = None  # bytes of an answer, though more were announced
    asked: list[tuple[str, str | None, int]] = field(default_factory=list)  # file, Range, bytes sent


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, state)

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}/"
        yield state
        http.shutdown()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, server: Server) -> None:
    name, wanted = handler.path.lstrip("/"), handler.headers.get("Range")
    content = server.files.get(name)
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.knows_range else 0
    if content is None or (start and start >= len(content)):
        server.asked.append((name, wanted, 0))
        handler.send_error(404 if content is None else 416)
        return
    body = content[start:]
    sent = body[: server.ends_after]
    server.asked.append((name, wanted, len(sent)))
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(sent)


def make_tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def part(image_id: str, *splits: str) -> dict[str, str]:
    inside = {f"Annotations/{image_id}.xml": "<annotation/>", f"JPEGImages/{image_id}.jpg": image_id}
    lists = {f"ImageSets/Main/{split}.txt": image_id for split in splits}
    return {f"VOCdevkit/VOC2007/{name}": text for name, text in (inside | lists).items()}


def release_of(server: Server, **tars: bytes) -> Release:
    """A release of these archives, which the server has."""
    server.files = {f"{name}.tar": content for name, content in tars.items()}
    archives = tuple(
        Archive(name, hashlib.md5(content).hexdigest(), len(content)) for name, content in server.files.items()
    )
    return Release("VOC2007", ("trainval", "test"), archives, (server.url,))


@pytest.fixture
def release(server: Server) -> Release:
    return release_of(server, a=make_tar(part("000001", "trainval")), b=make_tar(part("000002", "test")))


def test_the_archives_end_up_in_one_folder(server: Server, release: Release, tmp_path: Path) -> None:
    root = tmp_path / "new" / "VOCdevkit"
    assert download(root, release) == root / "VOC2007"
    assert sorted(path.name for path in (root / "VOC2007" / "JPEGImages").iterdir()) == ["000001.jpg", "000002.jpg"]
    assert (root / "VOC2007/ImageSets/Main/test.txt").read_text() == "000002"
    assert [path.name for path in root.iterdir()] == ["VOC2007"]  # nothing else is left


def test_what_is_there_is_not_asked_for(server: Server, release: Release, tmp_path: Path) -> None:
    download(tmp_path, release)
    server.asked.clear()
    assert has_release(tmp_path, release)
    download(tmp_path, release)
    assert server.asked == []


def test_kept_archives_are_used_again(server: Server, release: Release, tmp_path: Path) -> None:
    download(tmp_path, release, keep_archives=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VOC2007", "a.tar", "b.tar"]
    shutil.rmtree(tmp_path / "VOC2007")
    server.asked.clear()
    download(tmp_path, release)
    assert server.asked == []


def test_a_broken_connection_is_resumed_where_it_ended(server: Server, release: Release, tmp_path: Path) -> None:
    server.ends_after = 3000
    with pytest.raises(OSError, match=r"a\.tar: no mirror .*ended after 3000 of \d+ bytes.*run the same command again"):
        download(tmp_path, release)
    assert (tmp_path / "a.tar.partial").stat().st_size == 3000
    server.ends_after = None
    server.asked.clear()
    download(tmp_path, release)
    assert server.asked[0] == ("a.tar", "bytes=3000-", len(server.files["a.tar"]) - 3000)
    assert has_release(tmp_path, release)


def test_the_next_mirror_goes_on_from_there(server: Server, release: Release, tmp_path: Path) -> None:
    (tmp_path / "a.tar.partial").write_bytes(server.files["a.tar"][:1000])
    download(tmp_path, replace(release, mirrors=(DEAD, server.url)))
    assert server.asked[0][:2] == ("a.tar", "bytes=1000-")


def test_ctrl_c_leaves_what_has_come(
    server: Server, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(progress: object, step: int, text: str = "") -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "CHUNK", 1024)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.StepProgress, "update", stop)
        download(tmp_path, release)
    assert (tmp_path / "a.tar.partial").read_bytes() == server.files["a.tar"][:1024]
    download(tmp_path, release)
    assert server.asked[1][:2] == ("a.tar", "bytes=1024-")


def test_a_server_without_ranges_sends_all_again(server: Server, release: Release, tmp_path: Path) -> None:
    server.knows_range = False
    (tmp_path / "a.tar.partial").write_bytes(b"x" * 1000)
    download(tmp_path, release)
    assert server.asked[0] == ("a.tar", "bytes=1000-", len(server.files["a.tar"]))


def test_a_partial_that_is_complete_is_only_checked(server: Server, release: Release, tmp_path: Path) -> None:
    (tmp_path / "a.tar.partial").write_bytes(server.files["a.tar"])
    download(tmp_path, release)
    assert server.asked[0][2] == 0


@pytest.mark.parametrize("start", [b"x" * 1000, b"x" * 100_000])  # the second is longer than the file: 416
def test_a_wrong_checksum_removes_the_partial(server: Server, release: Release, tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.tar.partial").write_bytes(start)
    with pytest.raises(OSError, match=r"the MD5 of what it sent is \w+, expected \w+.*run the same command again"):
        download(tmp_path, release)
    assert list(tmp_path.iterdir()) == []
    download(tmp_path, release)


def test_a_page_in_place_of_the_file_harms_nothing(server: Server, release: Release, tmp_path: Path) -> None:
    content = server.files["a.tar"]
    (tmp_path / "a.tar.partial").write_bytes(content[:3000])
    server.files["a.tar"], server.knows_range = b"<html>log in</html>", False
    with pytest.raises(OSError, match=f"offers a file of 19 bytes, expected {len(content)}"):
        download(tmp_path, release)
    assert (tmp_path / "a.tar.partial").read_bytes() == content[:3000]


def test_the_reasons_of_all_mirrors_are_told(server: Server, release: Release, tmp_path: Path) -> None:
    server.files = {}
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9: .*refused.*; 127\.0\.0\.1:\d+: .*404.*--mirror"):
        download(tmp_path, replace(release, mirrors=(DEAD, server.url)))


def test_a_mirror_of_ones_own_comes_first(server: Server, release: Release, tmp_path: Path) -> None:
    download(tmp_path, replace(release, mirrors=(DEAD,)), mirror=server.url.rstrip("/"))
    assert [name for name, *_ in server.asked] == ["a.tar", "b.tar"]


@pytest.mark.parametrize("mirror", ["example.org/voc", "file:///voc", "http://"])
def test_a_mirror_must_be_a_url(release: Release, tmp_path: Path, mirror: str) -> None:
    with pytest.raises(ValueError, match="expected the URL of a folder"):
        download(tmp_path, release, mirror)


def leading_out() -> bytes:
    return make_tar(part("000001", "trainval", "test") | {"../../outside.txt": "gotcha"})


def link_leading_out() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("VOCdevkit/link")
        member.type, member.linkname = tarfile.SYMTYPE, "../../../outside"
        tar.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize("tar", [leading_out, link_leading_out])
def test_a_tar_that_leads_out_of_its_folder_is_refused(
    server: Server, tmp_path: Path, tar: Callable[[], bytes]
) -> None:
    root = tmp_path / "a" / "b"
    with pytest.raises(ValueError, match=r"cannot be unpacked: .*outside the destination; delete it"):
        download(root, release_of(server, a=tar()))
    assert [path.name for path in root.iterdir()] == ["a.tar"]
    assert list(tmp_path.rglob("outside*")) == []


def test_a_tar_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.tar: no ImageSets/Main/test\.txt in VOCdevkit/VOC2007"):
        download(tmp_path, release_of(server, a=make_tar(part("000001", "trainval"))))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_an_archive_with_damage_is_not_unpacked(release: Release, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a\.tar: its MD5 is \w+, expected \w+; delete it"):
        download(tmp_path, release)


def test_what_a_killed_run_had_unpacked_is_replaced(release: Release, tmp_path: Path) -> None:
    stale = tmp_path / "VOC2007.partial" / "VOCdevkit" / "VOC2007" / "JPEGImages" / "stale.jpg"
    stale.parent.mkdir(parents=True)
    stale.touch()
    download(tmp_path, release)
    assert [path.name for path in tmp_path.iterdir()] == ["VOC2007"]
    assert not (tmp_path / "VOC2007" / "JPEGImages" / "stale.jpg").exists()


def test_a_folder_with_something_else_stays_as_it_is(server: Server, release: Release, tmp_path: Path) -> None:
    (tmp_path / "VOC2007" / "Annotations").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"exists but has no JPEGImages, .*; move it away"):
        download(tmp_path, release)
    assert server.asked == []


def fill_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, used=0, free=free))


def test_a_full_disk_is_seen_before(
    server: Server, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(archive.size for archive in release.archives)
    needed = size + int(1.1 * size)
    fill_disk(monkeypatch, needed - 1)
    with pytest.raises(OSError, match=r"GB are free and .* GB are needed"):
        download(tmp_path, release)
    assert server.asked == []
    (tmp_path / "a.tar.partial").write_bytes(server.files["a.tar"][:1])  # what is there needs no more room
    download(tmp_path, release)


def test_a_python_that_cannot_unpack_safely_is_refused(
    server: Server, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(ValueError, match=r"use 3\.11\.4 or later"):
        download(tmp_path, release)
    assert server.asked == []


# The tool


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["download.py", *arguments])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(TOOL), run_name="__main__")
    return exit_.value.code


def test_the_tool_explains_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(monkeypatch, "--help") == 0
    assert "detkit download voc07 --root" in capsys.readouterr().out
    assert run_tool(monkeypatch, "voc99") == 2


@pytest.mark.parametrize(("name", "release"), [("voc07", VOC07), ("voc12", VOC12)])
def test_the_tool_sees_what_is_there(
    name: str,
    release: Release,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / release.folder
    for inside in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / inside).mkdir(parents=True)
    for split in release.splits:
        (folder / "ImageSets" / "Main" / f"{split}.txt").touch()
    assert run_tool(monkeypatch, name, "--root", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{folder} is already there\n"


def test_the_tool_tells_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_disk(monkeypatch, 10**9)
    assert run_tool(monkeypatch, "voc07", "--root", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: 1.0 GB are free and 1.9 GB are needed")
    assert error.count("\n") == 1


def test_the_tool_fetches_and_tells_what_is_there(
    server: Server,
    release: Release,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "VOC07", replace(release, mirrors=(DEAD,)))
    assert run_tool(monkeypatch, "voc07", "--root", str(tmp_path), "--mirror", server.url, "--keep-archives") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'VOC2007'}: the splits trainval, test are there\n"
    assert (tmp_path / "a.tar").is_file()
