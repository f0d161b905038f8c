"""pool5 and fc7 of regions: what the parts of the network give when they are applied by hand, a few at a time."""

import pytest
import torch
from torch import Tensor, nn

from detkit.backbones.backbone import imagenet_rgb
from detkit.ops.pooling import PyramidPool, RegionPool, WarpedCrop
from detkit.staged.region_network import RegionNetwork, RegionTail
from detkit.structures import Batch

REGIONS = torch.tensor([[i % 2, 3.0 * i, i, 3.0 * i + 12, 20 + i] for i in range(7)])


def crops(regions_at_once: int) -> RegionNetwork:
    """R-CNN's order: the crops first, then all convolutions."""
    convs = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(2))
    tail = RegionTail(convs, nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Dropout(0.5)))
    return _network(nn.Identity(), WarpedCrop(12, 2), tail, regions_at_once)


def maps(regions_at_once: int) -> RegionNetwork:
    """SPPNet's order: the convolutions once an image, then the pyramid."""
    tail = RegionTail(nn.Identity(), nn.Sequential(nn.Flatten(), nn.Linear(20, 5), nn.ReLU(), nn.Dropout(0.5)))
    return _network(nn.Conv2d(3, 4, 8, stride=8), PyramidPool((2, 1), 8), tail, regions_at_once)


def _network(features: nn.Module, pool: RegionPool, tail: RegionTail, regions_at_once: int) -> RegionNetwork:
    torch.manual_seed(0)
    network = RegionNetwork(imagenet_rgb(), features, pool, tail, regions_at_once)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def batch() -> Batch:
    images = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([[32, 40], [24, 32]])
    return Batch(images, sizes, sizes, ("a", "b"))


def plain(network: RegionNetwork, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Region by region, each part of the network on its own."""
    features = network.features(network.preprocess(batch().images, batch().sizes))
    pool5s, fc7s = [], []
    for region in regions:
        pool5 = network.tail.to_pool5(network.pool(features, region[None]))
        pool5s.append(pool5.flatten())
        fc7s.append(network.tail.tail(pool5)[0])
    return torch.stack(pool5s), torch.stack(fc7s)


@pytest.mark.parametrize("regions_at_once", [1, 3, 7, 100])
@pytest.mark.parametrize("kind", [crops, maps])
def test_vectors_are_those_of_the_parts_however_many_go_together(kind: type, regions_at_once: int) -> None:
    network: RegionNetwork = kind(regions_at_once)
    seen = []
    hook = network.tail.tail.register_forward_hook(lambda _, inputs, out: seen.append(len(out)))
    both = network.embed(network.maps(batch()), REGIONS)
    hook.remove()
    assert max(seen) == min(regions_at_once, 7) and sum(seen) == 7
    pool5, fc7 = plain(network, REGIONS)
    torch.testing.assert_close(both.pool5, pool5)
    torch.testing.assert_close(both.fc7, fc7)
    assert bool((both.fc7 > 0).any()) and not both.fc7.requires_grad
    pooled = network.pool(network.maps(batch()), REGIONS)
    torch.testing.assert_close(network.tail(pooled), both.fc7)  # what fine-tuning trains is the whole of it


@pytest.mark.parametrize("kind", [crops, maps])
def test_no_regions(kind: type) -> None:
    network: RegionNetwork = kind(3)
    both = network.embed(network.maps(batch()), torch.zeros(0, 5))
    assert both.pool5.shape == (0, {crops: 16, maps: 20}[kind]) and both.fc7.shape == (0, 5)


def test_rcnn_computes_nothing_once_an_image() -> None:
    features = crops(3).maps(batch())
    torch.testing.assert_close(features, imagenet_rgb()(batch().images, batch().sizes))


def test_a_tail_is_its_two_halves() -> None:
    tail = RegionTail(nn.MaxPool2d(2), nn.Flatten())
    pooled = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert tail(pooled).tolist() == [[5, 7, 13, 15]]
