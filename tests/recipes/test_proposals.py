"""Proposals where a detector wants them: made for a run, by the tool, by an RPN, and for a loose image."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from detkit.commands.train import train
from detkit.config.loading import load_config
from detkit.data.pipeline.proposal_file import ProposalFile
from detkit.predictor import load
from detkit.recipes.proposals import proposal_path

Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def fast_run(voc_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Fast R-CNN of a few steps; its proposals are made while it is trained."""
    folder = tmp_path_factory.mktemp("fast")
    content = {
        "data": {"kind": "voc", "root": str(voc_root), "train": ["train"], "test": ["test"]}
        | {"short_side": 64, "long_side": 96, "workers": 0},
        "model": {
            "kind": "fast_rcnn",
            "backbone": {"kind": "zfnet", "width": 0.1, "fc_dim": 16, "weights": None},
            "pool": {"kind": "roi_pool"},
            "proposals": {"kind": "selective_search", "count": 50, "folder": str(folder / "proposals")},
            "head": {"batch_per_image": 8, "min_score": 0.0},
        },
        "train": {"steps": 2, "batch_size": 2, "lr": 0.001, "optimizer": {"kind": "sgd"}}
        | {"schedule": {"kind": "step", "drops": [1]}},
    }
    config = folder / "fast.yaml"
    config.write_text(yaml.safe_dump(content))
    train(load_config(config), folder / "run")
    return folder / "run"


def test_training_and_scoring_make_what_is_missing(fast_run: Path, voc_root: Path, inside: Inside) -> None:
    folder = fast_run.parent / "proposals"
    of_train = ProposalFile(proposal_path(folder, voc_root, "train", "selective_search_fast"))
    assert len(of_train.image_ids()) == 8
    status, out, err = inside("eval", fast_run, "--voc07")
    assert (status, "mAP (voc07)" in out) == (0, True), err
    of_test = ProposalFile(proposal_path(folder, voc_root, "test", "selective_search_fast"))
    assert len(of_test.image_ids()) == 3


def test_a_loose_image_gets_proposals_of_its_own(fast_run: Path, voc_root: Path) -> None:
    predictor = load(fast_run)
    image = next(iter(sorted((voc_root / "JPEGImages").glob("*.png"))))
    found = predictor.predict(image, min_score=0.0)
    assert len(found) > 0


def test_proposals_from_files_are_for_their_images_alone(fast_run: Path, tmp_path: Path) -> None:
    from detkit.engine.checkpoint import load_model, save_model

    saved = load_model(fast_run)
    saved.config["model"]["proposals"] = {"kind": "files", "files": ["a.sqlite"]}
    save_model(saved, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="array: this detector takes its proposals from files"):
        load(tmp_path / "model.pt").predict(torch.zeros(40, 50, 3, dtype=torch.uint8).numpy())


def test_the_tool_makes_scores_and_goes_on(voc_root: Path, tmp_path: Path, inside: Inside) -> None:
    out_file = tmp_path / "out.sqlite"
    command = ("--method", "selective_search", "--data", voc_root, "--split", "test", "--out", out_file)
    status, out, err = inside("make_proposals", *command, "--recall")
    assert status == 0, err
    assert "proposals of 3 images (selective_search_fast)" in out and "recall of 6 objects" in out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["out.recall_count.png", "out.recall_iou.png"]
    before = out_file.stat().st_mtime_ns
    assert inside("make_proposals", *command)[0] == 0
    assert out_file.stat().st_mtime_ns == before
    status, _, err = inside("make_proposals", *command[:1], "selective_search_quality", *command[2:])
    assert (status, "holds proposals of selective_search_fast, not of selective_search_quality" in err) == (2, True)


def test_the_boxes_of_a_trained_rpn(finished_run: Path, voc_root: Path, tmp_path: Path, inside: Inside) -> None:
    out_file = tmp_path / "rpn.sqlite"
    command = ("--method", "rpn", "--data", voc_root, "--split", "test", "--out", out_file)
    status, _, err = inside("make_proposals", *command, "--weights", finished_run)
    assert status == 0, err
    file = ProposalFile(out_file)
    assert file.source == "rpn_tiny"
    stored = file.read("000011")
    assert stored is not None and 0 < len(stored.boxes) <= 16
    height, width = stored.size
    assert bool((stored.boxes >= 0).all()) and bool((stored.boxes <= torch.tensor([width, height] * 2) + 1e-3).all())
    assert bool((stored.scores[:-1] >= stored.scores[1:]).all())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--method", "rpn"), "--weights RUN goes with --method rpn"),
        (("--method", "edge_boxes", "--weights", "x"), "--weights RUN goes with --method rpn"),
        (("--method", "selective_search", "--forest", "x"), "--forest goes with --method edge_boxes"),
    ],
)
def test_options_that_do_not_go_together(extra: tuple[str, ...], message: str, voc_root: Path, inside: Inside) -> None:
    status, _, err = inside("make_proposals", *extra, "--data", voc_root, "--split", "test")
    assert (status, message in err) == (2, True), err


def test_a_detector_without_an_rpn_has_no_rpn_boxes(fast_run: Path, voc_root: Path, inside: Inside) -> None:
    command = ("--method", "rpn", "--weights", fast_run, "--data", voc_root, "--split", "test")
    status, _, err = inside("make_proposals", *command)
    assert (status, "a fast_rcnn, which has no RPN" in err) == (2, True)


def test_svd_at_test_time(fast_run: Path, inside: Inside) -> None:
    status, _, err = inside("eval", fast_run, "--voc07", "--svd", "8", "4")
    assert status == 0, err
    assert (fast_run / "eval" / "test_svd8_svd4" / "metrics.json").is_file()
    status, _, err = inside("eval", fast_run, "--voc07", "--svd", "99")
    assert (status, "rank 99 of a layer" in err) == (2, True)
