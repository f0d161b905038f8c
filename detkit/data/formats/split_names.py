"""What a split is for, by its name."""

import re
from typing import Literal

Role = Literal["train", "val", "trainval", "test", ""]  # trainval: the union of train and val

WHOLE = "all"  # the split of a set that has none

_VAL_WORDS = frozenset({"val", "valid", "validation", "dev", "minival"})


def role_of(split: str) -> Role:
    """By the words in the name of the split, or of a folder or file of it."""
    words = set(re.findall("[a-z]+", split.rpartition("/")[2].lower()))
    has_val = bool(words & _VAL_WORDS)
    if any(word.startswith("test") for word in words):
        return "test"
    if "trainval" in words or ("train" in words and has_val):
        return "trainval"
    if any(word.startswith("train") for word in words):
        return "train"
    return "val" if has_val else ""
