"""Fetches the PASCAL VOC sets: archives by HTTP from the first mirror that works, resumed, checked and unpacked.

Whatever a run was stopped at, the same call goes on from there: a download from its last byte, an unpacking anew.
"""

import hashlib
import shutil
import tarfile
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from detkit.runtime.console import StepProgress, track

MIB = 1 << 20  # bytes
CHUNK = MIB // 4  # read at a time: what a stop loses at most
TIMEOUT = 30.0  # seconds without a byte until a mirror is given up
UNPACKED = 1.1  # bytes on disk for a byte of archive: files fill whole disk blocks
FOLDERS = ("Annotations", "JPEGImages", "ImageSets/Main")


@dataclass(frozen=True)
class Archive:
    name: str  # on every mirror
    md5: str
    size: int  # bytes


@dataclass(frozen=True)
class Release:
    """One year of PASCAL VOC: what to fetch, from where, and what is there when it is complete."""

    folder: str  # in the devkit root, such as VOC2007
    splits: tuple[str, ...]  # files of ImageSets/Main
    archives: tuple[Archive, ...]
    mirrors: tuple[str, ...]  # URLs of folders, tried in this order


PJREDDIE = "https://pjreddie.com/media/files/"

# Checksums: torchvision/datasets/voc.py, DATASET_YEAR_DICT. Sizes: what host.robots.ox.ac.uk reports.
VOC07 = Release(
    folder="VOC2007",
    splits=("train", "val", "trainval", "test"),
    archives=(
        Archive("VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64", 460_032_000),
        Archive("VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f", 451_020_800),
    ),
    mirrors=("http://host.robots.ox.ac.uk/pascal/VOC/voc2007/", PJREDDIE),
)
VOC12 = Release(
    folder="VOC2012",
    splits=("train", "val", "trainval"),  # the test set's annotations are not public
    archives=(Archive("VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd", 1_999_639_040),),
    mirrors=("http://host.robots.ox.ac.uk/pascal/VOC/voc2012/", PJREDDIE),
)


def has_release(root: Path, release: Release) -> bool:
    """Whether root/VOC20xx stands complete."""
    return not _missing(root / release.folder, release)


def download(root: Path, release: Release, mirror: str | None = None, keep_archives: bool = False) -> Path:
    """Make root/VOC20xx, unless it is there, and return it.

    mirror: the URL of a folder with the archives, tried before the public ones.
    Raises ValueError if something else stands at root/VOC20xx or an archive is not what it should be, OSError if the
    disk is too small or no mirror gives an archive.
    """
    mirrors = release.mirrors if mirror is None else (_checked(mirror), *release.mirrors)
    folder = root / release.folder
    if has_release(root, release):
        return folder
    if folder.exists():
        missing = ", ".join(_missing(folder, release))
        raise ValueError(f"{folder} exists but has no {missing}; move it away and run again")
    if not hasattr(tarfile, "data_filter"):
        raise ValueError("this Python cannot unpack archives safely; use 3.11.4 or later")
    root.mkdir(parents=True, exist_ok=True)
    scratch = root / f"{release.folder}.partial"
    if scratch.exists():
        shutil.rmtree(scratch)  # of a run that was killed
    _check_disk(root, release)
    archives = [_fetch(root, archive, mirrors) for archive in release.archives]
    try:
        _unpack(archives, scratch, folder, release)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not keep_archives:
        for path in archives:
            path.unlink()
    return folder


def _checked(mirror: str) -> str:
    parts = urlsplit(mirror)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"mirror {mirror!r}: expected the URL of a folder, such as https://example.org/voc/")
    return mirror if mirror.endswith("/") else mirror + "/"


def _missing(folder: Path, release: Release) -> list[str]:
    needed = [*FOLDERS, *(f"ImageSets/Main/{split}.txt" for split in release.splits)]
    return [name for name in needed if not (folder / name).exists()]


def _check_disk(root: Path, release: Release) -> None:
    size = sum(archive.size for archive in release.archives)
    needed = size + int(UNPACKED * size)
    for archive in release.archives:
        for path in (root / archive.name, _partial(root, archive)):
            needed -= path.stat().st_size if path.exists() else 0
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(
            f"{root}: {free / 1e9:.1f} GB are free and {needed / 1e9:.1f} GB are needed to fetch and unpack "
            f"{release.folder}; make room or choose another --root"
        )


# Fetching


def _partial(root: Path, archive: Archive) -> Path:
    return root / f"{archive.name}.partial"


def _fetch(root: Path, archive: Archive, mirrors: tuple[str, ...]) -> Path:
    """The archive in `root`, checked; fetched if it is not there."""
    path, partial = root / archive.name, _partial(root, archive)
    if path.exists():
        if (md5 := _md5(path)) != archive.md5:
            raise ValueError(f"{path}: its MD5 is {md5}, expected {archive.md5}; delete it and run again")
        return path
    failures = []
    for mirror in mirrors:
        try:
            _continue(mirror + archive.name, partial, archive.size)
            _check_md5(partial, archive)
        except (OSError, HTTPException) as error:
            failures.append(f"{urlsplit(mirror).netloc}: {str(error) or type(error).__name__}")
        else:
            partial.rename(path)
            return path
    raise OSError(
        f"{archive.name}: no mirror gave it ({'; '.join(failures)}); run the same command again to go on, "
        "or name another mirror with --mirror"
    )


def _check_md5(partial: Path, archive: Archive) -> None:
    """Remove a finished download that is not the archive, so that the next attempt starts over."""
    md5 = _md5(partial)
    if md5 != archive.md5:
        partial.unlink()
        raise OSError(f"the MD5 of what it sent is {md5}, expected {archive.md5}, so it was removed")


def _continue(url: str, partial: Path, size: int) -> None:
    """Append to `partial` what it lacks of the file at `url`; start over if the server cannot send a part.

    Raises OSError if the file there has another size or the connection ends early; what has come stays in `partial`.
    """
    have = partial.stat().st_size if partial.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing beyond what we have: all of it, or another file; the MD5 will tell
            return
        raise
    with response:
        have = have if response.status == 206 and _first_byte(response) == have else 0
        if response.length is not None and have + response.length != size:  # such as a page that asks to log in
            raise OSError(f"offers a file of {have + response.length} bytes, expected {size}")
        with partial.open("ab" if have else "wb") as file:
            _copy(response, file, f"{partial.stem} (MiB)", have, size)
    if partial.stat().st_size < size:
        raise OSError(f"the connection ended after {partial.stat().st_size} of {size} bytes")


def _first_byte(response: HTTPResponse) -> int | None:
    """Where a partial answer begins: 500 for `Content-Range: bytes 500-999/1000`."""
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _copy(source: HTTPResponse, file: BinaryIO, label: str, have: int, size: int) -> None:
    """Copy up to the end of the connection, and show how far the file of `size` bytes has come from `have`."""
    with StepProgress(-(-size // MIB), have // MIB, label) as progress:
        while chunk := source.read(CHUNK):
            file.write(chunk)
            have += len(chunk)
            progress.update(have // MIB)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # Against damage, not attack: MD5 is what is published.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


# Unpacking


def _unpack(archives: list[Path], scratch: Path, folder: Path, release: Release) -> None:
    """Unpack the archives, which hold VOCdevkit/VOC20xx, over one another and move the result to `folder`."""
    for archive in archives:
        _extract(archive, scratch)
    unpacked = scratch / "VOCdevkit" / release.folder
    if missing := ", ".join(_missing(unpacked, release)):
        names = ", ".join(str(archive) for archive in archives)
        raise ValueError(f"{names}: no {missing} in VOCdevkit/{release.folder}; delete and run again")
    unpacked.rename(folder)


def _extract(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            for member in track(tar.getmembers(), f"unpacking {archive.name}"):
                tar.extract(member, folder, filter="data")  # refuses what would land outside the folder
    except tarfile.TarError as error:
        raise ValueError(f"{archive}: cannot be unpacked: {error}; delete it and run again") from error
