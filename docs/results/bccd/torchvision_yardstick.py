"""The yardstick of docs/results/bccd: torchvision's FasterRCNN on a ResNet-18 C4 body, for a given number of minutes.

From scratch with batch norm, 320x240, batches of 4, AdamW with a cosine over the time given, flips: trained on the
same images and scored by the same rules as detkit's run. Example:
  OMP_NUM_THREADS=1 python docs/results/bccd/torchvision_yardstick.py data/bccd --train train --test val --minutes 25
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from detkit.data.formats.forms import Form
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import open_form
from detkit.data.pipeline.loader import BatchOrder, SplitPart, detection_batches, train_batches
from detkit.data.pipeline.prepare import Resize
from detkit.data.pipeline.transforms import Augmentation, TrainTransform
from detkit.evaluation.voc import evaluate
from detkit.structures import Batch, Detections

RATE, DECAY, BATCH = 1e-3, 0.05, 4


def build(num_classes: int) -> FasterRCNN:
    body = torchvision.models.resnet18(weights=None)
    features = nn.Sequential(*list(body.children())[:-3])  # conv1 to conv4_x
    features.out_channels = 256
    return FasterRCNN(
        features,
        num_classes + 1,
        rpn_anchor_generator=AnchorGenerator(((16, 32, 64, 128),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        min_size=240,
        max_size=320,
    )


def images(batch: Batch) -> list[torch.Tensor]:
    return [image[:, :h, :w].float() / 255 for image, (h, w) in zip(batch.images, batch.sizes.tolist(), strict=True)]


def fit(model: FasterRCNN, dataset: ListedDataset, seconds: float) -> int:
    transform = TrainTransform(Resize(240, 320), Augmentation(horizontal_flip=0.5))
    order = BatchOrder([False] * len(dataset), BATCH, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    model.train()
    begun = time.perf_counter()
    for step, batch in enumerate(train_batches(dataset, transform, order, range(10**9), SplitPart(), workers=1)):
        done = (time.perf_counter() - begun) / seconds
        if done >= 1:
            return step
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))
        targets = [{"boxes": t.boxes, "labels": t.labels + 1} for t in batch.targets or ()]
        loss = sum(model(images(batch), targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}, {done:.0%}, loss {loss.item():.3f}", flush=True)
    raise AssertionError("the batches never end")


@torch.no_grad()
def find(model: FasterRCNN, dataset: ListedDataset) -> dict[str, Detections]:
    found = {}
    model.eval()
    for batch in detection_batches(dataset, Resize(240, 320), range(len(dataset)), 4, 1):
        for i, (one, image_id) in enumerate(zip(model(images(batch)), batch.image_ids, strict=True)):
            scale = (batch.original_sizes[i] / batch.sizes[i]).flip(0).repeat(2)
            found[image_id] = Detections(one["boxes"] * scale, one["scores"], one["labels"] - 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--train", default="trainval")
    parser.add_argument("--test", default="test")
    parser.add_argument("--minutes", type=float, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    dataset = open_form(Form("voc", arguments.root, ()), [arguments.train], None)
    model = build(len(dataset.classes))
    steps = fit(model, dataset, arguments.minutes * 60)
    test = open_form(Form("voc", arguments.root, ()), [arguments.test], dataset.classes)
    result = evaluate(find(model, test), test, "voc07")
    print(f"{steps} steps in {arguments.minutes:g} minutes: mAP {result.mean_ap:.3f}", result.ap)


if __name__ == "__main__":
    main()
