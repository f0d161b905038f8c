"""The vectors of an image's candidates, as the SVMs and the regressors read them: from files, or from feature maps.

R-CNN keeps fc7 of every box, in half precision, and pool5 of those boxes alone that a regressor learns from: of all it
would be six times as much (82 and 503 GB for VOC 2007). SPPNet keeps its feature maps and pools them on reading.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from detkit.data.pipeline.prepare import Resize, collate
from detkit.data.pipeline.proposal_file import WithProposals
from detkit.ops.pooling import as_regions
from detkit.staged.candidates import CandidateRule, Candidates, candidates
from detkit.staged.feature_store import FeatureStore
from detkit.staged.region_network import RegionNetwork
from detkit.structures import Features, Pyramid, Size

HALF = 2  # bytes of a stored number


class ImageSource:
    """The training images with their candidates, one by one."""

    def __init__(self, dataset: WithProposals, resize: Resize, rule: CandidateRule, device: torch.device) -> None:
        self.dataset, self.resize, self.rule, self.device = dataset, resize, rule, device

    def __len__(self) -> int:
        return len(self.dataset)

    def candidates(self, index: int) -> Candidates:
        return candidates(
            self.dataset.proposals(index), self.dataset.target(index), len(self.dataset.classes), self.rule
        )

    def maps(self, index: int, network: RegionNetwork) -> tuple[Features, Size]:
        """What the network computes once an image, and the size of the image it was computed from."""
        sample = self.resize(self.dataset.read(index))
        batch = collate([sample]).to(self.device)
        return network.maps(batch), (sample.image.shape[1], sample.image.shape[2])

    def regions(self, index: int, boxes: Tensor, size: Size) -> Tensor:
        """Boxes (N, 4) px of the image as stored -> regions (N, 5) of the image of `size`."""
        height, width = self.dataset.size(index)
        scale = torch.tensor([size[1] / width, size[0] / height] * 2)
        return as_regions([boxes * scale]).to(self.device)


class Vectors(Protocol):
    def prepare(self, index: int) -> None:
        """Write what reading image `index` needs, unless it is there."""
        ...

    def needed_bytes(self) -> int:
        """What preparing all images will write."""
        ...

    def fc7(self, index: int, rows: slice) -> Tensor:
        """(n, D) float32 of the candidates `rows`."""
        ...

    def regressed(self, index: int) -> Tensor:
        """(K, P) float32 of the candidates that learn a way: what the regressors take."""
        ...


class CropVectors:
    """R-CNN's: fc7 and the regressors' input in two stores, so that either can be removed when it has served."""

    def __init__(
        self,
        source: ImageSource,
        network: RegionNetwork,
        folder: Path,
        from_pool5: bool,
        dims: tuple[int, int],
        wanted: Sequence[str],
    ) -> None:
        """`dims`: lengths of pool5 and fc7. `wanted`: "fc7", "regressed" or both: what is still needed."""
        self.source, self.network, self.from_pool5, self.dims = source, network, from_pool5, dims
        self.stores = {name: FeatureStore(folder / name) for name in wanted}

    def prepare(self, index: int) -> None:
        image_id = self.source.dataset.image_ids[index]
        if all(store.has(image_id) for store in self.stores.values()):
            return
        found = self.source.candidates(index)
        maps, size = self.source.maps(index, self.network)
        rows = slice(None) if "fc7" in self.stores else found.regressed
        both = self.network.embed(maps, self.source.regions(index, found.boxes[rows], size))
        chosen = both.pool5 if self.from_pool5 else both.fc7
        of_rows = found.regressed if "fc7" in self.stores else slice(None)
        vectors = {"fc7": both.fc7, "regressed": chosen[of_rows]}
        for name, store in self.stores.items():
            store.write(image_id, {name: half(vectors[name], image_id)})

    def needed_bytes(self) -> int:
        sizes = {"fc7": 0, "regressed": 0}
        for index, image_id in enumerate(self.source.dataset.image_ids):
            missing = [name for name, store in self.stores.items() if not store.has(image_id)]
            if missing:
                found = self.source.candidates(index)
                rows = {"fc7": len(found.boxes), "regressed": len(found.regressed)}
                for name in missing:
                    sizes[name] += rows[name] * HALF * self.dims[0 if name == "regressed" and self.from_pool5 else 1]
        return sum(sizes.values())

    def fc7(self, index: int, rows: slice) -> Tensor:
        return self._read(index, "fc7")[rows].float()

    def regressed(self, index: int) -> Tensor:
        return self._read(index, "regressed").float()

    def _read(self, index: int, name: str) -> Tensor:
        return self.stores[name].read(self.source.dataset.image_ids[index], [name])[name]


class MapVectors:
    """SPPNet's: the feature maps of each scale."""

    def __init__(
        self,
        source: ImageSource,
        network: RegionNetwork,
        folder: Path,
        from_pool5: bool,
        factors: Sequence[float],
        channels: int,
        stride: int,
    ) -> None:
        """`factors` of the scales; `channels` and `stride` of the maps."""
        self.source, self.network, self.from_pool5, self.factors = source, network, from_pool5, tuple(factors)
        self.channels, self.stride = channels, stride
        self.store = FeatureStore(folder / "maps")

    def prepare(self, index: int) -> None:
        image_id = self.source.dataset.image_ids[index]
        if self.store.has(image_id):
            return
        features, size = self.source.maps(index, self.network)
        maps = features.maps if isinstance(features, Pyramid) else (features,)
        tensors = {f"map{i}": half(one, image_id) for i, one in enumerate(maps)}
        self.store.write(image_id, tensors | {"size": torch.tensor(size)})

    def needed_bytes(self) -> int:
        total = 0
        for index, image_id in enumerate(self.source.dataset.image_ids):
            if not self.store.has(image_id):
                size = self.source.dataset.size(index)
                scale = self.source.resize.scale(size)
                resized = [max(1, round(side * scale)) for side in size]
                for factor in self.factors:
                    cells = [math.ceil(max(1, round(side * factor)) / self.stride) for side in resized]
                    total += math.prod(cells) * self.channels * HALF
        return total

    def fc7(self, index: int, rows: slice) -> Tensor:
        found = self.source.candidates(index)
        features, regions = self._read(index, found.boxes[rows])
        return self.network.embed(features, regions).fc7.cpu()

    def regressed(self, index: int) -> Tensor:
        found = self.source.candidates(index)
        features, regions = self._read(index, found.boxes[found.regressed])
        both = self.network.embed(features, regions)
        return (both.pool5 if self.from_pool5 else both.fc7).cpu()

    def _read(self, index: int, boxes: Tensor) -> tuple[Features, Tensor]:
        names = [f"map{i}" for i in range(len(self.factors))]
        stored = self.store.read(self.source.dataset.image_ids[index], [*names, "size"])
        maps = tuple(stored[name].float().to(self.source.device) for name in names)
        height, width = stored["size"].tolist()
        features = Pyramid(maps, self.factors) if len(maps) > 1 else maps[0]
        return features, self.source.regions(index, boxes, (height, width))


def half(values: Tensor, image_id: str) -> Tensor:
    """In half precision, as kept on disk. Raises ValueError where that has no room for a value."""
    small = values.half()
    if not bool(torch.isfinite(small).all()):
        raise ValueError(f"image {image_id}: features up to {float(values.abs().max()):.3g} do not fit half precision")
    return small.cpu()
