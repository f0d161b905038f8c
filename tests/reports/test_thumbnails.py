"""Images: shrunk, never enlarged, named by index, and no others beside them."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch

from detkit.reports.thumbnails import write_thumbnails


class Wide:
    def read(self, index: int) -> SimpleNamespace:
        width = (1200, 100)[index]
        image = torch.zeros(3, 10, width, dtype=torch.uint8)
        image[0] = 200  # RGB
        return SimpleNamespace(image=image)


def test_images(tmp_path: Path) -> None:
    (tmp_path / "7.jpg").write_bytes(b"of another data set")
    write_thumbnails(tmp_path, Wide(), [1, 0])  # type: ignore[arg-type]
    images = {path.name: cv2.imread(str(path)) for path in tmp_path.iterdir()}
    assert {name: image.shape for name, image in images.items()} == {"0.jpg": (4, 480, 3), "1.jpg": (10, 100, 3)}
    assert images["1.jpg"][5, 50].tolist() == pytest.approx([0, 0, 200], abs=6)  # BGR
    write_thumbnails(tmp_path, Wide(), [])  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
