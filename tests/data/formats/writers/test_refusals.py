"""What is refused before anything is written, by name."""

from collections.abc import Sequence

import numpy as np
import pytest

from detkit.data.formats.writers.refusals import refuse_unfit
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, WrittenSplit
from detkit.data.formats.written_forms import WRITTEN, WrittenForm
from detkit.data.ground_truth import Objects


def set_of(*splits: str, classes: Sequence[str] = ("dog",), boxes: int = 1) -> WrittenSet:
    objects = Objects.of_boxes(np.zeros(boxes, dtype=np.int64), np.tile([1.0, 2.0, 5.0, 6.0], (boxes, 1)))
    images = {split: (AnnotatedImage(f"{split}.png", (9, 9), False, 1, objects),) for split in splits}
    numbers = tuple(range(1, len(classes) + 1))
    return WrittenSet(tuple(classes), numbers, tuple(WrittenSplit(split, images[split]) for split in splits))


@pytest.mark.parametrize("target", WRITTEN)
def test_usual_sets_are_written(target: WrittenForm) -> None:
    refuse_unfit(set_of("train", "val", "test"), target)
    refuse_unfit(set_of("all", classes=("hex nut", "a,b", "no")), target)


@pytest.mark.parametrize("target", WRITTEN)
@pytest.mark.parametrize("name", ["", "a/b", "a\nb", " dog", "dog ", "x" * 101])
def test_names_that_no_form_gives_back(target: WrittenForm, name: str) -> None:
    with pytest.raises(ValueError, match=r"^not written in .* form: class "):
        refuse_unfit(set_of("train", classes=("dog", name)), target)


@pytest.mark.parametrize(
    ("target", "split"),
    [
        ("yolo", "names"),
        ("yolo", "path"),
        ("yolo", "images"),
        ("labelme", "data"),
        ("huggingface", "images"),
        ("openimages", "labels"),
    ],
)
def test_splits_that_would_not_be_read_as_such(target: WrittenForm, split: str) -> None:
    with pytest.raises(ValueError, match=f"form: '{split}' would not be read as a split; convert the other splits"):
        refuse_unfit(set_of("train", split), target)
    refuse_unfit(set_of("train", split), "coco")


def test_darknet_needs_a_split_to_learn_from() -> None:
    with pytest.raises(ValueError, match="it has train, valid and test, and the splits are fold_a, fold_b; convert"):
        refuse_unfit(set_of("fold_a", "fold_b"), "darknet")
    refuse_unfit(set_of("fold_a"), "darknet")


def test_more_classes_than_data_yaml_can_hold() -> None:
    classes = [f"{number:05d}{'x' * 95}" for number in range(3000)]
    with pytest.raises(ValueError, match=r"data\.yaml would have 3..,... characters, at most 262,144 are read"):
        refuse_unfit(set_of("train", classes=classes), "yolo")
    refuse_unfit(set_of("train", classes=classes), "darknet")
