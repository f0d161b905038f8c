"""A data set of any form opened: its splits read, its faults told, its images taken as one list."""

from collections.abc import Iterator, Sequence

import numpy as np

from detkit.data.faults import Fault, OnWarning, log_warning, raise_first_error, tell_warnings
from detkit.data.formats.class_names import checked_classes, unknown_name
from detkit.data.formats.coco import read_coco_split
from detkit.data.formats.cvat_xml import read_cvat_split
from detkit.data.formats.forms import Form, SplitPart, parse_split
from detkit.data.formats.huggingface import read_huggingface_split
from detkit.data.formats.joined import category_numbers
from detkit.data.formats.labelme import read_labelme_split
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.merging import merged, numbered_classes, under_classes
from detkit.data.formats.open_images import read_open_images_split
from detkit.data.formats.read_split import ReadSplit
from detkit.data.formats.voc import read_voc_splits
from detkit.data.formats.yolo import read_yolo_split
from detkit.data.ground_truth import Bools


class SplitReader:
    """Reads the splits of a data set, each once however often it is asked for."""

    def __init__(self, form: Form, need_images: bool = True) -> None:
        """Scoring needs no images: without `need_images` those of COCO's form may be missing."""
        self.form, self._need_images = form, need_images
        self._read: dict[str, ReadSplit] = {}

    def read(self, splits: Sequence[str]) -> tuple[ReadSplit, ...]:
        """Whatever is wrong with them, each once and under the same classes.

        Raises DatasetMissing where a split is not there, ValueError where a file that names the classes is broken.
        """
        names = list(dict.fromkeys(splits))
        missing = [name for name in names if name not in self._read]
        self._read.update(zip(missing, self._read_files(missing), strict=True))
        return self._under_equal_classes([self._read[name] for name in names])

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that is wrong in the files of the splits that were read."""
        return tuple(fault for split in self._read.values() for fault in split.faults)

    def _read_files(self, splits: Sequence[str]) -> Sequence[ReadSplit]:
        root = self.form.root
        match self.form.kind:
            case "voc":
                return read_voc_splits(root, splits)
            case "coco":
                return [read_coco_split(root, split, self._need_images) for split in splits]
            case "yolo":
                return [read_yolo_split(root, split) for split in splits]
            case "labelme":
                return [read_labelme_split(root, split) for split in splits]
            case "cvat":
                return [read_cvat_split(root, split) for split in splits]
            case "openimages":
                return [read_open_images_split(root, split) for split in splits]
            case "huggingface":
                return [read_huggingface_split(root, split) for split in splits]

    def _under_equal_classes(self, splits: Sequence[ReadSplit]) -> tuple[ReadSplit, ...]:
        """The classes of all, by the numbers or in the order that files state, else by name."""
        known = numbered_classes(splits)
        match self.form.kind:
            case "coco":
                names = sorted(known, key=lambda name: known[name])
            case "yolo":
                names, known = list(known), {}
            case _:
                names, known = sorted(known), {}
        numbers = category_numbers(names, known)
        return tuple(under_classes(split, names, numbers) for split in splits)


def open_form(
    form: Form,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    on_warning: OnWarning = log_warning,
    need_images: bool = True,
) -> ListedDataset:
    """As open_splits, of files that are read for it."""
    return open_splits(SplitReader(form, need_images), splits, classes, on_warning)


def open_splits(
    reader: SplitReader, splits: Sequence[str], classes: Sequence[str] | None, on_warning: OnWarning = log_warning
) -> ListedDataset:
    """The images of splits, of which some may be parts. Without `classes`, they are those of the whole splits.

    Raises FaultError for the first fault that is an error, ValueError for splits or parts without images and for
    splits without classes, and what SplitReader.read raises. Each kind of warning is told once, with its number and
    the first example.
    """
    root = reader.form.root
    named = [parse_split(split) for split in dict.fromkeys(splits)]
    read = reader.read([name for name, _ in named])
    faults = [fault for split in read for fault in split.faults]
    raise_first_error(faults, root)
    if not any(len(split.truth) for split in read):
        raise ValueError(f"{root}: the splits {list(splits)} list no images; name a split that does")
    if classes is not None:
        names = checked_classes(classes)
        raise_first_error(unknown_classes(read, names), root)
        known = dict(zip(read[0].truth.classes, read[0].truth.category_numbers, strict=True))
        read = tuple(under_classes(split, names, category_numbers(names, known)) for split in read)
    elif not read[0].truth.classes:
        raise ValueError(f"{root}: the splits {list(splits)} have no objects, so no classes; name the classes")
    kept = [_kept(split, [part for name, part in named if name == split.name]) for split in read]
    if not any(keep.any() for keep in kept):
        total = sum(len(split.truth) for split in read)
        raise ValueError(f"{root}: {list(splits)} has none of {total} images; name another part")
    truth, paths, merge_faults = merged(read, kept, states_numbers=reader.form.kind == "coco")
    raise_first_error(merge_faults, root)
    tell_warnings(dict.fromkeys([*faults, *merge_faults]), root, on_warning)
    return ListedDataset(truth, paths)


def unknown_classes(splits: Sequence[ReadSplit], classes: Sequence[str]) -> Iterator[Fault]:
    """An error for each class of objects that is not among `classes`, at its first object."""
    told: set[str] = set()
    for split in splits:
        labels, rows = np.unique(split.truth.objects.labels, return_index=True)
        for label, row in zip(labels.tolist(), rows.tolist(), strict=True):
            name = split.truth.classes[label]
            if name not in classes and name not in told:
                told.add(name)
                place = split.annotation_of(row)
                yield Fault(place, unknown_name(name, classes), object=split.name_object(row), field=split.class_field)


def _kept(split: ReadSplit, parts: Sequence[SplitPart]) -> Bools:
    """(N,) which images are in any of the parts."""
    return np.array([any(image_id in part for part in parts) for image_id in split.truth.image_ids], dtype=np.bool_)
