"""Data sets under the same class names, and several as one: hand-worked cases, ids and numbers that clash, errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detkit.config.data import FolderData
from detkit.config.loading import load_config
from detkit.data.federated import Federated
from detkit.data.formats.joined import category_numbers, join, relabelled
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.voc import VOC_CLASSES
from detkit.data.ground_truth import GroundTruth, Objects

CONFIGS = Path(__file__).parents[3] / "configs"


def dataset(
    classes: tuple[str, ...] = ("cat", "couch", "dog"),
    ids: tuple[str, ...] = ("a", "b", "c"),
    numbers: tuple[int, ...] = (5, 6, 7),
    labels: tuple[tuple[int, ...], ...] = ((0, 1), (), (2,)),
) -> ListedDataset:
    """Object i of all has its left side at i; categories are numbered 10, 20, ..."""
    flat = [label for of_image in labels for label in of_image]
    boxes = np.array([[i, 2, i + 3, 5] for i in range(len(flat))], dtype=np.float64).reshape(-1, 4)
    truth = GroundTruth(
        classes,
        ids,
        np.array([[20, 30 + i] for i in range(len(ids))], dtype=np.int64).reshape(-1, 2),
        Objects.of_boxes(np.array(flat, dtype=np.int64), boxes, np.arange(len(flat)) % 2 == 1),
        np.array([len(of_image) for of_image in labels], dtype=np.int64),
        tuple(10 * (i + 1) for i in range(len(classes))),
        numbers,
    )
    return ListedDataset(truth, [Path(f"{image_id}.jpg") for image_id in ids])


def test_names_are_renamed_then_looked_up() -> None:
    found = relabelled(dataset(), ("sofa", "cat"), {"couch": "sofa", "tv": "sofa"}, drop_others=True)
    assert found.classes == ("sofa", "cat")
    assert found.image_ids == ("a", "b", "c")
    assert found.paths == (Path("a.jpg"), Path("b.jpg"), Path("c.jpg"))
    truth = found.ground_truth()
    assert truth.objects.labels.tolist() == [1, 0]
    assert truth.objects.xywh[:, 0].tolist() == [0, 1]
    assert truth.objects.ignore.tolist() == [False, True]
    assert truth.counts.tolist() == [2, 0, 0]
    assert truth.category_numbers == (20, 10)
    assert truth.image_numbers == (5, 6, 7)
    assert found.target(0).labels.tolist() == [1, 0]
    assert len(found.target(2).boxes) == 0
    assert found.size(2) == (20, 32)


def test_two_classes_may_become_one() -> None:
    found = relabelled(dataset(), ("pet", "couch"), {"cat": "pet", "dog": "pet"}, drop_others=False).ground_truth()
    assert found.objects.labels.tolist() == [0, 1, 0]
    assert found.category_numbers == (10, 20)


def test_its_own_classes_change_nothing() -> None:
    before = dataset()
    after = relabelled(before, before.classes, {}, drop_others=False).ground_truth()
    assert after.objects.labels.tolist() == before.ground_truth().objects.labels.tolist()
    assert after.category_numbers == before.ground_truth().category_numbers
    assert after.counts.tolist() == before.ground_truth().counts.tolist()


def test_classes_that_the_data_set_lacks_get_free_numbers() -> None:
    found = relabelled(dataset(), ("bird", "dog", "cow"), {}, drop_others=True)
    assert found.ground_truth().category_numbers == (31, 30, 32)
    assert category_numbers((), {"cat": 4}) == ()
    assert category_numbers(("dog",), {"cat": 4}) == (1,)


def test_other_classes_are_errors_only_where_they_have_objects() -> None:
    with pytest.raises(ValueError, match=r"objects of 'couch': 'couch' is not one of the classes, the nearest is"):
        relabelled(dataset(), ("cat", "dog"), {}, drop_others=False)
    without = dataset(labels=((0,), (), (2,)))
    assert relabelled(without, ("cat", "dog"), {}, drop_others=False).ground_truth().objects.labels.tolist() == [0, 1]


def test_bad_names_are_errors() -> None:
    with pytest.raises(ValueError, match=r"rename: 'couch' becomes 'soffa'; 'soffa' is not .* nearest is 'sofa'"):
        relabelled(dataset(), ("cat", "sofa"), {"couch": "soffa"}, drop_others=True)
    with pytest.raises(ValueError, match=r"\['cat'\] are there more than once"):
        relabelled(dataset(), ("cat", "cat"), {}, drop_others=True)


def test_a_data_set_without_images_or_objects_is_relabelled() -> None:
    assert len(relabelled(dataset(ids=(), numbers=(), labels=()), ("x",), {}, drop_others=False)) == 0
    assert relabelled(dataset(labels=((), (), ())), ("x",), {}, drop_others=False).ground_truth().counts.sum() == 0


def test_join_keeps_ids_and_numbers_that_differ() -> None:
    second = dataset(ids=("d",), numbers=(9,), labels=((2, 2),))
    found = join({"one": dataset(), "two": second})
    assert found.image_ids == ("a", "b", "c", "d")
    assert [path.name for path in found.paths] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    truth = found.ground_truth()
    assert truth.image_numbers == (5, 6, 7, 9)
    assert truth.category_numbers == (10, 20, 30)
    assert truth.counts.tolist() == [2, 0, 1, 2]
    assert truth.objects.labels.tolist() == [0, 1, 2, 2, 2]
    assert truth.objects.xywh[:, 0].tolist() == [0, 1, 2, 0, 1]
    assert found.target(3).labels.tolist() == [2, 2]
    assert found.size(3) == (20, 30)


def test_join_of_one_is_that_one() -> None:
    truth = join({"one": dataset()}).ground_truth()
    assert truth.image_ids == ("a", "b", "c")
    assert truth.image_numbers == (5, 6, 7)


def test_clashing_ids_get_the_name_of_their_part_and_clashing_numbers_are_counted_anew() -> None:
    second = dataset(ids=("b", "x"), numbers=(8, 9), labels=((), ()))
    found = join({"voc": dataset(), "coco": second})
    assert found.image_ids == ("a", "voc_b", "c", "coco_b", "x")
    assert found.ground_truth().image_numbers == (5, 6, 7, 8, 9)
    third = dataset(ids=("y",), numbers=(5,), labels=((1,),))
    assert join({"voc": dataset(), "coco": third}).ground_truth().image_numbers == (1, 2, 3, 4)


def test_what_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match=r"classes differ: one has \['cat', 'couch', 'dog'\], two has \['x'\]"):
        join({"one": dataset(), "two": dataset(classes=("x",), ids=("z",), numbers=(1,), labels=((0,),))})
    with pytest.raises(ValueError, match="there are no data sets to join"):
        join({})
    named_like_a_prefix = dataset(ids=("a", "one_a"), numbers=(1, 2), labels=((), ()))
    with pytest.raises(
        ValueError, match=r"image id 'one_a' is there 2 times in \['one', 'two'\]; give the parts other"
    ):
        join({"one": dataset(), "two": named_like_a_prefix})


def test_the_names_of_coco_lead_to_those_of_voc() -> None:
    data = load_config(CONFIGS / "faster_rcnn_vgg16_coco_voc.yaml").data
    assert isinstance(data, FolderData)
    [coco] = data.also
    same = set(VOC_CLASSES) - set(coco.rename.values())
    assert len(same) == 14
    assert set(coco.rename.values()) <= set(VOC_CLASSES)
    assert not set(coco.rename) & set(VOC_CLASSES)


def test_a_federated_set_joined_with_an_ordinary_one_stays_so_for_its_own_images() -> None:
    """In the ordinary one's images all classes were looked for; what is known of a class goes where the class goes."""
    some = dataset(ids=("d", "e", "f"))
    images, labels = np.array([0, 0, 1, 2]), np.array([0, 1, 2, 2])
    federated = Federated.of_pairs(3, ("r", "c", "f"), (images, labels), (images[3:], labels[3:]))
    some = ListedDataset(replace(some.ground_truth(), federated=federated), some.paths)
    joined = join({"some": some, "all": dataset()})
    unknown = [target.unknown for target in map(joined.target, range(6))]
    assert [None if one is None else one.tolist() for one in unknown] == [
        [False, False, True],
        [True, True, False],
        [True, True, True],
        *[None] * 3,
    ]
    less = relabelled(joined, ("dog", "cat"), {}, drop_others=True)
    unknown = [target.unknown for target in map(less.target, range(6))]
    assert [None if one is None else one.tolist() for one in unknown] == [
        [True, False],
        [False, True],
        [True, True],
        *[None] * 3,
    ]
