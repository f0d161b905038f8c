"""What a check says of deep images: the range that training would find, and the images that it does not fit."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from detkit.data.faults import Fault, Severity
from detkit.data.formats.forms import Form, parse_split, roles
from detkit.data.formats.joined import stacked, with_images
from detkit.data.formats.read_split import ReadSplit
from detkit.data.ground_truth import GroundTruth
from detkit.data.io.deep_images import DeepRange
from detkit.data.pipeline.deep_range import DeepImages, find_deep_images

FEW = 0.05  # of the deep images looked at: so many may be odd


def find_deep_ranges(form: Form, splits: Mapping[str, ReadSplit], stated: DeepRange | None) -> Iterator[Fault]:
    """The range in one line, `stated` or as training finds it; warnings for parts of the set that it does not fit."""
    training = [split for split in roles(form).train if parse_split(split)[0] in splits] or list(splits)
    parts = {split: _part(splits, split) for split in training}
    if not parts:
        return
    learned = find_deep_images(
        stacked([truth for truth, _ in parts.values()]), [path for _, paths in parts.values() for path in paths]
    )
    others = {name: find_deep_images(split.truth, split.paths) for name, split in splits.items() if name not in parts}
    used = stated or learned.range
    if used is not None and learned.looked_at:
        yield Fault(form.root, learned.describe(used), Severity.INFO)
    is_deep = learned.num_deep > 0
    for name, found in {" + ".join(training): learned, **others}.items():
        if found.num_deep and not is_deep:
            depth = f"{found.num_deep:,} of {found.num_images:,} images have more than 8 bits a channel"
        elif is_deep and not found.num_deep and found.num_images:
            depth = "no image has more than 8 bits a channel"
        else:
            depth = ""
        if depth:
            message = f"{name!r}: {depth}, otherwise than in training; the two may look unlike each other"
            yield Fault(form.root, message, Severity.WARNING)
        if used is not None:
            yield from _strange(form.root, name, found, used)


def _part(splits: Mapping[str, ReadSplit], name: str) -> tuple[GroundTruth, list[Path]]:
    """The images of a split, or of a part such as "all[:80%]"."""
    whole, part = parse_split(name)
    split = splits[whole]
    kept = np.array([image_id in part for image_id in split.truth.image_ids], dtype=np.bool_)
    return with_images(split.truth, kept), [path for path, keep in zip(split.paths, kept.tolist(), strict=True) if keep]


def _strange(root: Path, name: str, found: DeepImages, used: DeepRange) -> Iterator[Fault]:
    strange = [image.path for image in found.looked_at if image.is_strange_in(used)]
    if len(strange) > FEW * len(found.looked_at):
        low, high = used
        message = (
            f"{name!r}: {len(strange):,} of {len(found.looked_at):,} deep images looked at come out nearly black, or "
            f"with a quarter of their pixels clipped, where {low:g} to {high:g} become 0 to 255; the first: "
            f"{strange[0]}. Are they of another camera or bit depth?"
        )
        yield Fault(root, message, Severity.WARNING)
