"""Data sets of Hugging Face: an image folder with metadata, or what `datasets` saved, which holds its images."""

from pathlib import Path

from detkit.data.formats.hf_folder import find_hf_folder_splits, has_metadata, read_hf_folder_split
from detkit.data.formats.hf_saved import find_hf_saved_splits, read_hf_saved_split
from detkit.data.formats.read_split import ReadSplit


def find_huggingface_splits(root: Path) -> tuple[str, ...]:
    """The splits that have columns of objects."""
    return find_hf_folder_splits(root) or find_hf_saved_splits(root)


def read_huggingface_split(root: Path, split: str) -> ReadSplit:
    """Read all of a split but the pixels; faults are in the result. Raises DatasetMissing."""
    return read_hf_folder_split(root, split) if has_metadata(root) else read_hf_saved_split(root, split)
