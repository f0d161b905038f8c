"""What is wrong in the files of a data set, as values: opening it raises the first error, checking lists them all."""

import logging
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

OnWarning = Callable[[str], None]
log_warning: OnWarning = logging.getLogger(__name__).warning

CLIPPED = "boxes reach beyond their image and are clipped to it"
NOT_ANNOTATED = "images have no annotation and are left out"
LISTED_TWICE = "ids are listed more than once and are used once"


class DatasetMissing(ValueError):
    """A data set folder or a split of it is not there."""


def check_folder(root: Path) -> None:
    """Raise DatasetMissing unless a data set could be in `root`; quick, before what reads data sets is imported."""
    if not root.is_dir():
        raise DatasetMissing(f"{root}: there is no such folder; name that of the data set")


class Severity(StrEnum):
    ERROR = "error"  # training cannot start
    WARNING = "warning"  # it can, but look at this
    INFO = "info"


@dataclass(frozen=True)
class Fault:
    """Something wrong in the files of a data set, at one place."""

    file: Path
    message: str
    severity: Severity = Severity.ERROR
    object: str = ""  # index in the file and class
    field: str = ""
    summary: str = ""  # of warnings: one phrase for all of the kind, which follows their number

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.file), self.object, self.field, self.message) if part)


def image_fault(image: Path, error: ValueError) -> Fault:
    """The fault of an image that cannot be read, from the error that says so and starts with its path."""
    return Fault(image, str(error).removeprefix(f"{image}: "))


class FaultError(ValueError):
    """A fault that training cannot live with."""

    def __init__(self, fault: Fault, root: Path) -> None:
        super().__init__(f"{fault} (detkit check-data {shlex.quote(str(root))} lists all faults)")
        self.fault = fault


def raise_first_error(faults: Iterable[Fault], root: Path) -> None:
    """Raises FaultError for the first fault that training cannot live with."""
    for fault in faults:
        if fault.severity is Severity.ERROR:
            raise FaultError(fault, root)


def tell_warnings(faults: Iterable[Fault], root: Path, on_warning: OnWarning) -> None:
    """One line a kind of warning: how many there are, and the first; other faults are passed over."""
    kinds = defaultdict(list)
    for fault in (fault for fault in faults if fault.severity is Severity.WARNING):
        kinds[fault.summary].append(fault)
    for summary, members in kinds.items():
        on_warning(f"{root}: {len(members)} {summary}; the first: {members[0]}")
