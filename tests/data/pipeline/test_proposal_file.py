"""Proposals on disk: there and back, between processes, after a kill, and no trust in files from elsewhere."""

import multiprocessing
import os
import pickle
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detkit.data.formats.forms import Form
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import open_form
from detkit.data.pipeline.proposal_file import ProposalFile, WithProposals

FORK = multiprocessing.get_context("fork")  # as the DataLoader's workers are started


def boxes_of(number: int, count: int = 3) -> np.ndarray:
    return (np.arange(4 * count, dtype=np.float32).reshape(count, 4) + number) / 3


def scores_of(count: int = 3) -> np.ndarray:
    return np.linspace(1, 0.1, count, dtype=np.float32)


def filled(path: Path, *image_ids: str) -> ProposalFile:
    file = ProposalFile.create(path, "drawn")
    for number, image_id in enumerate(image_ids):
        file.write(image_id, boxes_of(number), scores_of(), (96, 128), 0.25 + number)
    return file


# One file


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.sqlite"
    file = filled(path, "000001", "b/ö '2")
    file.write("empty", np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (5, 7), 0.0)
    for opened in (file, ProposalFile(path), ProposalFile.create(path, "drawn"), pickle.loads(pickle.dumps(file))):
        assert opened.source == "drawn"
        assert opened.image_ids() == {"000001", "b/ö '2", "empty"}
        assert opened.seconds() == {"000001": 0.25, "b/ö '2": 1.25, "empty": 0.0}
        found = opened.read("b/ö '2")
        assert found is not None
        assert torch.equal(found.boxes, torch.from_numpy(boxes_of(1)))
        assert torch.equal(found.scores, torch.from_numpy(scores_of()))
        assert (found.size, found.seconds, found.boxes.dtype) == ((96, 128), 1.25, torch.float32)
        nothing = opened.read("empty")
        assert nothing is not None and nothing.boxes.shape == (0, 4) and nothing.scores.shape == (0,)
        assert opened.read("000002") is None
    file.write("000001", boxes_of(9, 1), scores_of(1), (5, 7), 2.0)  # in place of what was there
    replaced = ProposalFile(path).read("000001")
    assert replaced is not None and replaced.boxes.tolist() == boxes_of(9, 1).tolist() and replaced.size == (5, 7)


def test_any_language_can_read_it(tmp_path: Path) -> None:
    filled(tmp_path / "a.sqlite", "x")
    row = sqlite3.connect(tmp_path / "a.sqlite").execute("SELECT * FROM proposals").fetchone()
    assert row == ("x", 96, 128, boxes_of(0).astype("<f4").tobytes(), scores_of().astype("<f4").tobytes(), 0.25)


def test_another_source_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    filled(path, "x")
    with pytest.raises(ValueError, match=r"a\.sqlite: holds proposals of drawn, not of edge_boxes; name another file"):
        ProposalFile.create(path, "edge_boxes")
    assert ProposalFile(path).source == "drawn" and ProposalFile(path).image_ids() == {"x"}


def test_a_missing_file_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.sqlite: no such file of proposals; make it with detkit make-proposals"):
        ProposalFile(tmp_path / "a.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\x00" + bytes(200)])
def test_foreign_files_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.sqlite: not a file of proposals, or damaged"):
        ProposalFile(path)
    if content:  # an empty file is what a kill right after the start leaves
        with pytest.raises(ValueError, match=r"a\.sqlite: not a file of proposals"):
            ProposalFile.create(path, "drawn")
        assert path.read_bytes() == content
    else:
        assert ProposalFile.create(path, "drawn").image_ids() == set()


def test_a_database_of_something_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE addresses (name TEXT)")
    with pytest.raises(ValueError, match="not a file of proposals"):
        ProposalFile(path)


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    file = ProposalFile.create(path, "drawn")
    for number in range(40):
        file.write(str(number), boxes_of(number, 300), scores_of(300), (96, 128), 0.1)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(ValueError, match=r"a\.sqlite: .*damaged"):
        cut = ProposalFile(path)
        for number in range(40):
            cut.read(str(number))


DAMAGE = {
    "boxes cut": ("boxes", boxes_of(0).tobytes()[:-4]),
    "a box less": ("boxes", boxes_of(0, 2).tobytes()),
    "scores cut": ("scores", scores_of().tobytes()[:-1]),
    "not a number": ("boxes", np.full((3, 4), np.nan, "<f4").tobytes()),
    "infinite": ("boxes", np.full((3, 4), np.inf, "<f4").tobytes()),
    "no boxes": ("boxes", None),
    "no scores": ("scores", None),
    "no size": ("height", None),
    "no time": ("seconds", None),
}


@pytest.mark.parametrize(("column", "value"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_row_is_told_with_its_image(tmp_path: Path, column: str, value: bytes | None) -> None:
    path = tmp_path / "a.sqlite"
    file = filled(path, "whole", "hurt")
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE proposals SET {column} = ? WHERE image_id = 'hurt'", (value,))
    with pytest.raises(ValueError, match=r"a\.sqlite: the proposals of image hurt are damaged; delete the file"):
        file.read("hurt")
    assert file.read("whole") is not None


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    file = filled(path, "x")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE proposals")
    with pytest.raises(OSError, match=r"a\.sqlite: the proposals of image y could not be written"):
        file.write("y", boxes_of(0), scores_of(), (96, 128), 0.1)


# Several processes


def _write_some(file: ProposalFile, first: int) -> None:
    for number in range(first, first + 10):
        file.write(str(number), boxes_of(number), scores_of(), (96, 128), 0.1)


def test_processes_write_at_the_same_time_with_one_object(tmp_path: Path) -> None:
    """The file was used before the fork: a connection taken along would break the database."""
    file = filled(tmp_path / "a.sqlite", "before")
    children = [FORK.Process(target=_write_some, args=(file, first)) for first in (0, 10, 20)]
    for child in children:
        child.start()
    _write_some(file, 30)
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert file.image_ids() == {"before", *map(str, range(40))}
    for number in range(40):
        found = file.read(str(number))
        assert found is not None and torch.equal(found.boxes, torch.from_numpy(boxes_of(number)))
    assert sqlite3.connect(file.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _write_and_be_killed(path: Path) -> None:
    file = ProposalFile.create(path, "drawn")
    for number in range(3):
        file.write(str(number), np.full((500, 4), number, np.float32), np.ones(500, np.float32), (96, 128), 0.1)
    connection = file._connection()
    connection.execute("PRAGMA cache_size = 1")  # so that much of the next row is in the file before it is committed
    connection.execute("INSERT INTO proposals VALUES ('cut', 1, 1, ?, ?, 0)", (bytes(8_000_000), bytes(2_000_000)))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_kill_in_the_middle_of_a_write_leaves_whole_images(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    child = FORK.Process(target=_write_and_be_killed, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert path.with_name("a.sqlite-journal").exists()  # it was in the middle
    file = ProposalFile.create(path, "drawn")
    assert file.image_ids() == {"0", "1", "2"}
    for number in range(3):
        found = file.read(str(number))
        assert found is not None and bool((found.boxes == number).all()) and len(found.boxes) == 500
    file.write("cut", boxes_of(0), scores_of(), (96, 128), 0.1)  # and it goes on
    assert len(ProposalFile(path).image_ids()) == 4


# A data set with its proposals


@pytest.fixture
def dataset(voc_root: Path) -> ListedDataset:
    return open_form(Form("voc", voc_root, ()), ["val"], None)  # 000008 and 000009, 128 x 96 px


def test_samples_carry_the_best_proposals_of_the_files(dataset: ListedDataset, tmp_path: Path) -> None:
    first, second = filled(tmp_path / "1.sqlite", "000009", "elsewhere"), filled(tmp_path / "2.sqlite", "000008")
    both = WithProposals(dataset, [first, second], count=2)
    assert (len(both), both.image_ids, both.classes) == (2, dataset.image_ids, dataset.classes)
    for index in range(2):
        sample, plain = both.read(index), dataset.read(index)
        assert sample.image_id == plain.image_id and torch.equal(sample.image, plain.image)
        assert sample.original_size == plain.original_size == both.size(index)
        assert sample.target is not None and torch.equal(sample.target.boxes, both.target(index).boxes)
        assert sample.proposals is not None
        assert sample.proposals.tolist() == both.proposals(index).tolist() == boxes_of(0)[:2].tolist()
    second.write("000008", boxes_of(0), scores_of(), (96, 128), 7.5)
    assert both.seconds() == [7.5, 0.25]
    again = pickle.loads(pickle.dumps(both))  # as a worker process that is not forked gets it
    assert torch.equal(again.proposals(0), both.proposals(0))


def test_missing_images_are_told_at_once_and_counted(dataset: ListedDataset, tmp_path: Path) -> None:
    one, none = filled(tmp_path / "1.sqlite", "000008"), filled(tmp_path / "2.sqlite")
    make = r"make them with detkit make-proposals"
    with pytest.raises(ValueError, match=rf"^image 000009: no proposals in \S+1\.sqlite, \S+2\.sqlite; {make}"):
        WithProposals(dataset, [one, none], count=5)
    with pytest.raises(ValueError, match=r"^image 000008 and 1 more: no proposals in \S+2\.sqlite"):
        WithProposals(dataset, [none], count=5)


def test_proposals_for_an_image_of_another_size_are_refused(dataset: ListedDataset, tmp_path: Path) -> None:
    file = filled(tmp_path / "a.sqlite", "000008", "000009")
    file.write("000009", boxes_of(0), scores_of(), (128, 96), 0.1)
    both = WithProposals(dataset, [file], count=5)
    both.read(0)
    with pytest.raises(ValueError, match=r"image 000009: \S+ has proposals for an image of 96 x 128 px, this one is"):
        both.read(1)


def test_a_file_is_not_used_for_other_images_of_the_same_ids(dataset: ListedDataset, tmp_path: Path) -> None:
    file = ProposalFile.create(tmp_path / "a.sqlite", "drawn")
    file.claim(dataset)
    file.claim(dataset)
    content = dataset.paths[0].read_bytes()
    middle = len(content) // 2
    changed = bytes([content[middle] ^ 1])  # of the same size: images that are not compressed
    (tmp_path / "other.png").write_bytes(content[:middle] + changed + content[middle + 1 :])
    other = ListedDataset(dataset.ground_truth(), [tmp_path / "other.png", *dataset.paths[1:]])
    with pytest.raises(ValueError, match=r"a\.sqlite: has proposals for another image .* another data set"):
        file.claim(other)


def test_images_keep_their_proposals_where_a_union_gives_them_other_ids(tmp_path: Path) -> None:
    """Two cameras that count alike: a file of proposals for each split, by the ids there."""
    for number, camera in enumerate(("x", "y")):
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (tmp_path / camera / folder).mkdir(parents=True)
        Image.new("RGB", (128, 96), (9, 9, number)).save(tmp_path / camera / "JPEGImages/0.png")
        (tmp_path / camera / "Annotations/0.xml").write_text("<annotation></annotation>")
        (tmp_path / camera / "ImageSets/Main/train.txt").write_text("0\n")
    splits = ["x/train", "y/train"]
    union = open_form(Form("voc", tmp_path, ()), splits, ["dog"])
    assert union.image_ids == ("x_train_0", "y_train_0")
    parts = [open_form(Form("voc", tmp_path, ()), [split], ["dog"]) for split in splits]
    files = []
    for number in range(2):
        files.append(ProposalFile.create(tmp_path / f"{number}.sqlite", "drawn"))
        files[-1].write("0", boxes_of(number), scores_of(), (96, 128), 1.0 + number)
    both = WithProposals(union, files, 5, parts)
    assert [both.proposals(index).tolist() for index in range(2)] == [boxes_of(number).tolist() for number in range(2)]
    assert both.seconds() == [1.0, 2.0] and both.paths == union.paths
    with pytest.raises(ValueError, match="y_train_0: no proposals"):
        WithProposals(union, files[:1], 5, parts[:1])
