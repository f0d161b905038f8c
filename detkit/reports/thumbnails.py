"""Small images of a data set's images, for pages that show many."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from detkit.data.dataset import DetectionDataset
from detkit.runtime.console import track
from detkit.runtime.cores import usable_cores

LONG_SIDE = 480  # px
QUALITY = 80  # of JPEG: about 30 kB an image


def write_thumbnails(folder: Path, dataset: DetectionDataset, images: Sequence[int]) -> None:
    """Writes <index>.jpg, the longer side at most LONG_SIDE, of the images by index; other .jpg there are removed.

    Files are named by index: ids may hold what no file name can.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{image}.jpg" for image in images}
    for old in folder.glob("*.jpg"):
        if old.name not in wanted:
            old.unlink()

    def write(image: int) -> None:
        (folder / f"{image}.jpg").write_bytes(_thumbnail(dataset, image))

    # Threads: nearly all the time is OpenCV's, which lets others run meanwhile.
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        for _ in track(pool.map(write, images), "images", len(images)):
            pass


def _thumbnail(dataset: DetectionDataset, index: int) -> bytes:
    image = dataset.read(index).image.permute(1, 2, 0).numpy()
    scale = LONG_SIDE / max(image.shape[:2])
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()
