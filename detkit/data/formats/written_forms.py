"""The forms that a data set can be written in, and what people call each.

Nothing slow is imported: the console asks before anything is done.
"""

from typing import Literal, get_args

WrittenForm = Literal["voc", "coco", "yolo", "labelme", "cvat", "openimages", "huggingface", "darknet"]
WRITTEN: tuple[WrittenForm, ...] = get_args(WrittenForm)

TITLES: dict[str, str] = {
    "voc": "VOC",
    "coco": "COCO",
    "yolo": "YOLO",
    "labelme": "labelme",
    "cvat": "CVAT",
    "openimages": "Open Images",
    "huggingface": "Hugging Face",
    "darknet": "darknet",
}
