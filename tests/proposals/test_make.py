"""Proposals of a whole data set: the same from any number of processes, and going on where it was stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from detkit.data.formats.forms import Form
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import open_form
from detkit.data.pipeline.proposal_file import ProposalFile
from detkit.proposals.make import make_proposals


def propose(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A box or two that depend on the image, so that a mix-up of images shows."""
    mean = image.mean(axis=(0, 1)).astype(np.float32)
    boxes = np.array([[0, 0, image.shape[1], image.shape[0]], [*mean, mean[0] + 200]], dtype=np.float32)
    return boxes[: 1 + int(mean.sum()) % 2], np.array([2, 1], dtype=np.float32)[: 1 + int(mean.sum()) % 2]


def content(file: ProposalFile, dataset: ListedDataset) -> list[tuple[object, ...]]:
    rows = []
    for image_id in dataset.image_ids:
        found = file.read(image_id)
        assert found is not None
        rows.append((image_id, found.boxes.tolist(), found.scores.tolist(), found.size))
    return rows


@pytest.fixture
def dataset(voc_root: Path) -> ListedDataset:
    return open_form(Form("voc", voc_root, ()), ["train"], None)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_gets_its_own_proposals_in_the_order_of_the_set(
    dataset: ListedDataset, tmp_path: Path, workers: int
) -> None:
    file = make_proposals(dataset, tmp_path / "deep" / "a.sqlite", "drawn", propose, workers)
    assert file.source == "drawn"
    expected = []
    for index, image_id in enumerate(dataset.image_ids):
        image = dataset.read(index).image.permute(1, 2, 0).numpy()
        boxes, scores = propose(image)
        expected.append((image_id, boxes.tolist(), scores.tolist(), dataset.size(index)))
    assert content(file, dataset) == expected
    rows = file._query("SELECT image_id, seconds FROM proposals ORDER BY rowid")
    assert [row[0] for row in rows] == list(dataset.image_ids)
    assert all(0 <= row[1] < 1 for row in rows)


def test_seconds_are_those_of_the_core(dataset: ListedDataset, tmp_path: Path) -> None:
    def slow(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(0.02)  # costs the core nothing
        begun = time.process_time()
        while time.process_time() - begun < 0.02:
            pass
        return propose(image)

    seconds = make_proposals(dataset, tmp_path / "a.sqlite", "drawn", slow, 0).seconds()
    assert len(seconds) == 8
    assert all(0.02 <= value < 0.04 for value in sorted(seconds.values())[:4])


def test_it_goes_on_where_it_was_stopped(
    dataset: ListedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0

    def stopped(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return propose(image)

    path = tmp_path / "a.sqlite"
    with pytest.raises(KeyboardInterrupt):
        make_proposals(dataset, path, "drawn", stopped, 0)
    assert ProposalFile(path).image_ids() == set(dataset.image_ids[:3])
    file = make_proposals(dataset, path, "drawn", stopped, 0)
    assert calls == 4 + 5  # the three are not made again
    assert "3 of 8 images are there already" in capsys.readouterr().out
    assert content(file, dataset) == content(
        make_proposals(dataset, tmp_path / "whole.sqlite", "drawn", propose, 0), dataset
    )
    make_proposals(dataset, path, "drawn", stopped, 0)
    assert calls == 9  # nothing is left to make
    with pytest.raises(ValueError, match="holds proposals of drawn, not of edge_boxes"):
        make_proposals(dataset, path, "edge_boxes", propose, 0)


INTERRUPTED = """
import signal, sys, time
import numpy as np
from pathlib import Path
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.runtime.console import run_tool
from detkit.proposals.make import make_proposals

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts with & ignore it

def propose(image):
    time.sleep(4)
    return np.zeros((1, 4), np.float32), np.zeros(1, np.float32)

dataset = open_form(Form("voc", Path(sys.argv[1]), ()), ["train"], None)
run_tool(lambda: len(make_proposals(dataset, Path(sys.argv[2]), "drawn", propose, 2).image_ids()))
"""


def test_ctrl_c_leaves_whole_images_and_no_process(voc_root: Path, dataset: ListedDataset, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    tool = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, voc_root, path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 300
    # With two images there, both workers are at work.
    while not (path.is_file() and path.stat().st_size and len(ProposalFile.create(path, "drawn").image_ids()) > 1):
        assert tool.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    os.killpg(tool.pid, signal.SIGINT)  # as a terminal sends it: to all processes of the group
    _, errors = tool.communicate(timeout=60)
    assert tool.returncode == 130 and errors.splitlines()[-1] == "interrupted" and "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(tool.pid, 0)
    there = ProposalFile(path).image_ids()
    assert there == set(dataset.image_ids[: len(there)]) and 0 < len(there) < 8  # the first ones, in order
    assert make_proposals(dataset, path, "drawn", propose, 0).image_ids() == set(dataset.image_ids)
