"""What was written is compared with what is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.data.formats.writers.reading_back import check_written
from detkit.data.formats.writers.writing import image_folders, write_objects
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, WrittenSplit
from detkit.data.formats.written_forms import WRITTEN, WrittenForm
from detkit.data.ground_truth import Objects


def write(root: Path, target: WrittenForm) -> WrittenSet:
    boxes = np.array([[1.0, 2.0, 9.0, 8.0], [10.0, 2.0, 19.5, 8.0]])
    image = AnnotatedImage("a.png", (30, 40), False, 1, Objects.of_boxes(np.array([0, 1]), boxes))
    data = WrittenSet(("cat", "dog"), (1, 2), (WrittenSplit("train", (image,)),))
    folder = root / image_folders(target, ["train"])["train"]
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    write_objects(root, target, data)
    return data


@pytest.mark.parametrize("target", WRITTEN)
def test_differences_are_errors(target: WrittenForm, tmp_path: Path) -> None:
    data = write(tmp_path, target)
    check_written(tmp_path, target, data)
    image = data.splits[0].images[0]

    def with_images(*images: AnnotatedImage) -> WrittenSet:
        return replace(data, splits=(WrittenSplit("train", images),))

    fewer = replace(image, objects=image.objects.rows(slice(1)))
    with pytest.raises(ValueError, match="train would be read with 1 objects of 'dog' for 0"):
        check_written(tmp_path, target, with_images(fewer))
    with pytest.raises(ValueError, match="train would be read with 1 images for 2"):
        check_written(tmp_path, target, with_images(image, image))
    other = replace(image, objects=replace(image.objects, labels=np.array([0, 0])))
    with pytest.raises(ValueError, match="train would be read with 1 objects of 'cat' for 2"):
        check_written(tmp_path, target, with_images(other))


def test_another_form_other_splits_and_faults_are_errors(tmp_path: Path) -> None:
    data = write(tmp_path, "coco")
    with pytest.raises(ValueError, match="would be taken for COCO form"):
        check_written(tmp_path, "voc", data)
    with pytest.raises(ValueError, match="would have the splits train for val"):
        check_written(tmp_path, "coco", replace(data, splits=(WrittenSplit("val", data.splits[0].images),)))
    with pytest.raises(ValueError, match="train would have 2 classes, such as cat, dog"):
        check_written(tmp_path, "coco", replace(data, classes=("cat", "dog", "emu"), category_numbers=(1, 2, 3)))
    (tmp_path / "images/train/a.png").unlink()
    with pytest.raises(ValueError, match=r"none of its 1 images, such as 'a\.png', is in"):
        check_written(tmp_path, "coco", data)
