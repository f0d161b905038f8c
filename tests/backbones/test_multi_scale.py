"""Features at several image sizes, and features that are never trained."""

import torch
import torch.nn.functional as F
from torch import nn

from detkit.backbones.multi_scale import Frozen, MultiScale


def image() -> torch.Tensor:
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def test_every_size_goes_through_the_same_network_smallest_first() -> None:
    network = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    pyramid = MultiScale(network, (2.0, 0.5, 1.0))(image())
    assert pyramid.factors == (0.5, 1.0, 2.0)
    assert [tuple(m.shape) for m in pyramid.maps] == [(2, 4, 8, 12), (2, 4, 16, 24), (2, 4, 32, 48)]
    assert torch.equal(pyramid.maps[1], network(image()))  # as it is, not resampled
    assert torch.equal(pyramid.base, pyramid.maps[1])
    # Half the size is what averages neighbours; twice the size is what interpolates.
    larger = F.interpolate(image(), scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(pyramid.maps[2], network(larger))


def test_an_image_made_smaller_is_averaged_not_sampled() -> None:
    """A third of the size keeps the mean of a pattern that every sampling would take for black or white."""
    stripes = torch.zeros(1, 3, 48, 48)
    stripes[..., ::3] = 3.0
    small = MultiScale(nn.Identity(), (1 / 3,))(stripes).maps[0]
    assert small.shape == (1, 3, 16, 16)
    torch.testing.assert_close(small[..., 1:-1], torch.full((1, 3, 16, 14), 1.0), atol=0.1, rtol=0)


def test_places_stay_in_proportion() -> None:
    """A ramp of x px resized by f holds x / f: what pooling at scaled boxes relies on."""
    ramp = (torch.arange(48) + 0.5).expand(1, 3, 32, 48)
    for factor, resized in zip((0.5, 1.5), MultiScale(nn.Identity(), (0.5, 1.5))(ramp).maps, strict=True):
        x = (torch.arange(resized.shape[3]) + 0.5) / factor
        inner = slice(2, -2)  # at the border there is nothing to interpolate to
        torch.testing.assert_close(resized[0, 0, 5, inner], x[inner], atol=1e-3, rtol=0)


def test_tiny_images_keep_a_pixel() -> None:
    assert MultiScale(nn.Identity(), (0.1,))(torch.ones(1, 3, 2, 4)).maps[0].shape == (1, 3, 1, 1)


def test_what_is_frozen_learns_nothing_in_any_mode() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    detector = nn.Sequential(Frozen(network), nn.Conv2d(4, 1, 1))
    detector.train()
    assert not network.training and detector[1].training
    detector(image()).sum().backward()
    assert torch.equal(detector[0](image()), detector[0](image()))  # no dropout
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert detector[1].weight.grad is not None and bool((detector[1].weight.grad != 0).all())
    assert list(detector[0].state_dict()) == [f"network.{name}" for name in before]
