"""What a split that was read tells of its files."""

from detkit.data.faults import Severity
from detkit.data.formats.read_split import ReadSplit


def errors(split: ReadSplit) -> list[str]:
    return [str(fault) for fault in split.faults if fault.severity is Severity.ERROR]


def warnings(split: ReadSplit) -> list[str]:
    """The kind of each."""
    return [fault.summary for fault in split.faults if fault.severity is Severity.WARNING]
