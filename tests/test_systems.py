"""Every system on every kind of backbone, small: two images are learned to AP 1.0, by the whole of its pipeline."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.commands.eval import detect_timed, open_dataset
from detkit.commands.train import train
from detkit.config.loading import parse_config
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.pipeline.proposal_file import ProposalFile
from detkit.evaluation.voc import evaluate
from detkit.predictor import load

BACKBONES: dict[str, dict[str, Any]] = {
    "resnet": {"kind": "resnet", "depth": 18, "norm": "group", "frozen_stages": 0, "weights": None},
    "vgg": {
        "kind": "vgg",
        "depth": 11,
        "width": 0.25,
        "fc_dim": 64,
        "norm": "batch",
        "frozen_stages": 0,
        "weights": None,
    },
    "zf": {"kind": "zfnet", "width": 0.25, "fc_dim": 64, "weights": None},
}
POOL_SIZES = {"resnet": 3, "vgg": 7, "zf": 6}
HEAD = {"batch_per_image": 16, "foreground_fraction": 0.5, "min_score": 0.01}
RPN = {
    "channels": 64,
    "sizes": [24, 36],
    "ratios": [0.5, 1.0],
    "positive_iou": 0.6,
    "min_side": 2,
    "across_border": True,
    "train_after_nms": 64,
    "test_after_nms": 32,
}


@pytest.fixture(scope="module")
def two_images(voc_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The root of a data set whose split "two" has two of the images, and a file of proposals for them."""
    root = tmp_path_factory.mktemp("two") / voc_root.name  # a copy: others count the splits of theirs
    shutil.copytree(voc_root, root)
    (root / "ImageSets" / "Main" / "two.txt").write_text("000000\n000001\n")
    dataset = open_form(Form("voc", root, ()), ["two"], None)
    path = tmp_path_factory.mktemp("proposals") / "two.sqlite"
    file = ProposalFile.create(path, "drawn")
    rng = np.random.default_rng(0)
    for index, image_id in enumerate(dataset.image_ids):
        height, width = dataset.size(index)
        about = np.repeat(dataset.target(index).boxes.numpy(), 8, axis=0)
        about = about + rng.uniform(-5, 5, about.shape)
        corner = rng.uniform(0, 0.6, (24, 2))
        anywhere = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (24, 2))], axis=1) * ([width, height] * 2)
        boxes = np.concatenate([about, anywhere]).clip(0, [width, height] * 2).astype(np.float32)
        file.write(image_id, boxes, np.linspace(1, 0, len(boxes), dtype=np.float32), (height, width), 0.01)
    return root, path


def models(backbone: str, proposals: Path) -> dict[str, dict[str, Any]]:
    section, files = BACKBONES[backbone], {"kind": "files", "files": [str(proposals)]}
    pool = {"kind": "roi_align", "size": POOL_SIZES[backbone], "sampling": 1}
    softmax_only = HEAD | {"box_weight": 0.0}
    noc = {"convs": 0, "fc_dim": 64}
    return {
        "rcnn": {"kind": "rcnn", "crop_side": 32, "context": 2, "pool_size": POOL_SIZES[backbone], "head": softmax_only}
        | {"backbone": section, "proposals": files, "regression": {"ridge": 10.0}},
        "sppnet": {"kind": "sppnet", "noc": noc, "head": softmax_only, "regression": {"ridge": 10.0}}
        | {"backbone": section, "proposals": files},
        "fast_rcnn": {"kind": "fast_rcnn", "pool": pool, "head": HEAD, "backbone": section, "proposals": files},
        "faster_rcnn": {"kind": "faster_rcnn", "pool": pool, "rpn": RPN, "head": HEAD, "backbone": section},
        "alternating": {"kind": "faster_rcnn", "pool": pool, "rpn": RPN, "head": HEAD, "backbone": section},
        "noc_maxout": {"kind": "fast_rcnn", "pool": pool | {"size": 3}, "head": HEAD, "backbone": section}
        | {"proposals": files, "noc": {"convs": 1, "conv_channels": 32, "fc_dim": 64, "dropout": 0.0}}
        | {"scales": {"sides": [48, 64, 96], "combine": "maxout", "region_side": 32}},
    }


STEPS = {"rcnn": 50, "sppnet": 150, "faster_rcnn": 150}
SYSTEMS = ("rcnn", "sppnet", "fast_rcnn", "faster_rcnn", "alternating", "noc_maxout")


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("system", SYSTEMS)
def test_two_images_are_learned(
    system: str, backbone: str, two_images: tuple[Path, Path], tiny: dict[str, Any], tmp_path: Path
) -> None:
    root, proposals = two_images
    tiny["data"] |= {"root": str(root), "train": ["two"], "test": ["two"], "short_side": 96, "long_side": 128}
    tiny["data"]["augment"] = {"horizontal_flip": 0.0}
    tiny["model"] = models(backbone, proposals)[system]
    is_narrow = system == "alternating" and backbone == "vgg"  # its RPN learns on features made for step 2
    if system == "sppnet" or is_narrow:  # features that stay as they are: let an object cover several cells
        tiny["data"] |= {"short_side": 192, "long_side": 256}
    if is_narrow:
        tiny["model"]["rpn"] = RPN | {"sizes": [48, 72]}
    tiny["train"] |= {
        "steps": STEPS.get(system, 90),
        "lr": 0.001,
        "optimizer": {"kind": "adamw"},
        "schedule": {"kind": "cosine"},
    }
    tiny["train"] |= {"clip_norm": 10.0, "checkpoint_every": 1000, "log_every": 1000}
    if system == "alternating":
        tiny["train"] |= {"kind": "alternating", "alternating_steps": [60, 50, 60, 50]}
    folder = tmp_path / "run"
    train(parse_config(tiny, system), folder)
    predictor = load(folder)
    dataset = open_dataset(predictor.config, None, "two", predictor.classes)
    found, _ = detect_timed(predictor, dataset)
    result = evaluate(found, dataset, "voc10")
    assert result.mean_ap == pytest.approx(1.0), result.ap
