"""Whether the images of a data set can be read, which training should know before its first step and not at 30,000."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from detkit.data.faults import Fault, image_fault
from detkit.data.formats.listed import ListedDataset
from detkit.data.io.files import real_path
from detkit.data.io.images import ImageError, check_image_of_size, read_image_of_size
from detkit.runtime.console import track
from detkit.runtime.cores import usable_cores
from detkit.structures import Size

MOST_DECODED = 10_000  # images, about a minute on two cores: of larger sets the headers are read


def unreadable_images(datasets: Sequence[ListedDataset]) -> Iterator[Fault]:
    """An error for each image of the data sets that cannot be read; those of very large sets are not decoded."""
    wanted: dict[tuple[str, Size], Path] = {}
    for dataset in datasets:
        for index, path in enumerate(dataset.paths):
            wanted.setdefault((real_path(path), dataset.size(index)), path)
    check = _decode if len(wanted) <= MOST_DECODED else check_image_of_size

    def fault_of(job: tuple[Path, Size]) -> Fault | None:
        path, size = job
        try:
            check(path, size)
        except ImageError as error:
            return image_fault(path, error)
        return None

    # Threads: nearly all the time is OpenCV's and Pillow's, which let others run meanwhile.
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        jobs = ((path, size) for (_, size), path in wanted.items())
        for fault in track(pool.map(fault_of, jobs), "checking images", len(wanted)):
            if fault is not None:
                yield fault


def _decode(path: Path, size: Size) -> None:
    read_image_of_size(path, size, "own")
