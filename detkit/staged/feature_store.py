"""Features of boxes on disk: one safetensors file an image, whole or not there, so that a stopped extraction goes on.

A file holds the id of its image, so that no other file passes for it.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from detkit.runtime.whole_file import PARTIAL, written_whole

SUFFIX = ".safetensors"


class FeatureStore:
    """The features of many images in one folder, which is made if it is not there.

    Opening a store clears what killed writers left behind. Processes that share one must therefore all have opened it
    before the first of them writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{SUFFIX}{PARTIAL}*"):
            leftover.unlink(missing_ok=True)

    def has(self, image_id: str) -> bool:
        return self._path(image_id).is_file()

    def write(self, image_id: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors under their names, in their own dtypes; what was kept for the image before is replaced.

        Raises OSError where there is no room.
        """
        # The format takes neither strides nor tensors that share memory.
        copies = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
        with written_whole(self._path(image_id)) as partial:
            partial.write_bytes(save(copies, metadata={"image_id": image_id}))

    def read(self, image_id: str, names: Sequence[str]) -> dict[str, Tensor]:
        """The named tensors of an image; the others are not read. Raises ValueError for a missing or damaged file."""
        path = self._path(image_id)
        if not path.is_file():
            raise ValueError(f"{path}: no features of image {image_id}; extract them again")
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("image_id") != image_id:
                    raise ValueError(f"{path}: not the features of image {image_id}; delete the file and extract again")
                if missing := set(names) - set(file.keys()):
                    raise ValueError(f"{path}: {', '.join(sorted(missing))} missing; delete the file and extract again")
                return {name: file.get_tensor(name) for name in names}
        except SafetensorError as error:
            raise ValueError(f"{path}: damaged ({error}); delete the file and extract again") from error

    def remove(self) -> None:
        """Delete all features, and the folder unless it holds something else."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, image_id: str) -> Path:
        """A readable start and a digest: ids may hold slashes, and two may differ only in case or beyond 255 bytes."""
        readable = re.sub(r"[^A-Za-z0-9_-]", "_", image_id)[:40]
        return self.folder / f"{readable}-{hashlib.sha256(image_id.encode()).hexdigest()[:24]}{SUFFIX}"


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Say how much `what` will write and how much is free; raises ValueError where that is not enough."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    room = f"{what}: {needed_bytes / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free at {folder}"
    if free < needed_bytes:
        raise ValueError(f"{room}; free some, choose a folder on another disk, or use fewer images or boxes an image")
    print(room)
