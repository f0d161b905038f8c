"""Whether the boxes of a set in VOC's form count from 1, as VOC's own do, or from 0, as many tools write them.

Datumaro, CVAT, FiftyOne, Label Studio and globox write the corners of continuous boxes from 0, and nothing in the files
says so. Boxes that touch the left or upper border tell: there a set that counts from 1 has 1, the others have 0.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from detkit.data.formats.listing import iterate_files
from detkit.data.formats.voc_layout import XML

SAMPLE = 400  # files looked at, spread evenly over all
MARK = "counted from 1"  # in <source> of files that detkit writes
_MAX_BYTES = 64 << 10  # of a file
_LOW_CORNER = re.compile(rb"<[xy]min>\s*([0-9.]{1,12})\s*</[xy]min>")


def counts_from_0(folders: Iterable[Path]) -> bool:
    """Of the sets in folders of annotations, which are one: where more low corners are in [0, 1) than are 1.

    Where no box touches the border, fractions tell: who measures whole pixels counts from 1, as VOC does.
    """
    files = sorted(path for folder in dict.fromkeys(folders) for path in iterate_files(folder, XML))
    values: list[float] = []
    for path in files[:: max(1, -(-len(files) // SAMPLE))]:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
        if MARK.encode() in text:
            return False
        values += [float(found) for found in _LOW_CORNER.findall(text) if found.count(b".") <= 1 and found != b"."]
    zeros, ones = sum(0 <= value < 1 for value in values), sum(value == 1 for value in values)
    if zeros or ones:
        return zeros > ones
    return any(not value.is_integer() for value in values)
