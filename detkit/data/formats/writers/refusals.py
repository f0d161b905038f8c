"""What is not written: what a form cannot hold and cannot do without is said before anything is there."""

from collections.abc import Iterator, Sequence

from detkit.data.formats.class_names import fault_of_name
from detkit.data.formats.named_images import split_of_folder
from detkit.data.formats.split_names import role_of
from detkit.data.formats.writers.fitting import BY_OBJECTS
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet
from detkit.data.formats.writers.yolo import darknet_keys, yolo_keys, yolo_yaml
from detkit.data.formats.written_forms import TITLES, WrittenForm
from detkit.data.formats.yolo_layout import MAX_YAML_BYTES

# Keys of data.yaml and obj.data that are no splits, and folders for which YOLO's readers look in a path.
_TAKEN = frozenset({"path", "names", "nc", "backup", "classes", "download", "kpt_shape", "images", "JPEGImages"})


def refuse_unfit(data: WrittenSet, target: WrittenForm) -> None:
    """Raises ValueError for the first thing that detkit would not read again."""
    reason = next(_reasons(data, target), None)
    if reason is not None:
        raise ValueError(f"not written in {TITLES[target]} form: {reason}")


def _reasons(data: WrittenSet, target: WrittenForm) -> Iterator[str]:
    yield from _reasons_of_classes(data, target)
    splits = [split.name for split in data.splits]
    match target:
        case "voc":
            yield from _differing_images(data)
        case "yolo":
            yield from (_not_a_split(split) for split, key in yolo_keys(splits).items() if key in _TAKEN)
            length = len(yolo_yaml(splits, data.classes))
            if length > MAX_YAML_BYTES:
                yield f"data.yaml would have {length:,} characters, at most {MAX_YAML_BYTES:,} are read; shorten names"
        case "darknet":
            keys = darknet_keys(splits)
            yield from (_not_a_split(split) for split, key in keys.items() if key in _TAKEN)
            if not any(role_of(key) for key in keys.values()):
                yield f"it has train, valid and test, and the splits are {', '.join(splits)}; convert one at a time"
        case "labelme" | "openimages" | "huggingface":
            yield from (_not_a_split(split) for split in splits if split_of_folder([split]) != split)


def _reasons_of_classes(data: WrittenSet, target: WrittenForm) -> Iterator[str]:
    for name in data.classes:
        fault = fault_of_name(name) or ("has blanks around it; rename it" if name != name.strip() else None)
        if fault is not None:
            yield f"class {name[:40]!r} {fault}"
    if target in BY_OBJECTS and not any(split.num_objects for split in data.splits):
        yield "no object is left, and it knows classes by their objects alone; write coco or yolo"


def _not_a_split(name: str) -> str:
    return f"{name!r} would not be read as a split; convert the other splits, with --split"


def _differing_images(data: WrittenSet) -> Iterator[str]:
    """VOC has one file for an image that several splits have."""
    known: dict[str, tuple[str, Sequence[object]]] = {}
    for split in data.splits:
        for image in split.images:
            first, content = known.setdefault(image.name, (split.name, _content(image)))
            if content != _content(image):
                yield f"{image.name} has other objects in {split.name!r} than in {first!r}; convert one split at a time"


def _content(image: AnnotatedImage) -> Sequence[object]:
    objects = image.objects
    columns = (objects.labels, objects.xywh, objects.ignore, objects.truncated, objects.crowd)
    return [column.tolist() for column in columns]
