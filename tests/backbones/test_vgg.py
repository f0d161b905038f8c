"""VGG: torchvision's own network beside it, what is frozen, Caffe's rounding, weights that do not fit."""

from pathlib import Path
from typing import Literal

import pytest
import torch
import torchvision
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone, Normalize
from detkit.backbones.vgg import VGGTail, vgg

Layout = Literal["torchvision", "caffe"]


def small(layout: Layout = "torchvision", frozen_stages: int = 0, weights: str | None = None) -> Backbone:
    return vgg(16, layout, "none", frozen_stages, fc_dim=32, width=1 / 8, weights=weights)


@pytest.mark.parametrize(("depth", "norm"), [(11, "none"), (16, "none"), (16, "batch"), (19, "batch")])
def test_features_are_torchvisions(depth: Literal[11, 16, 19], norm: Literal["none", "batch"]) -> None:
    theirs = getattr(torchvision.models.vgg, f"vgg{depth}_bn" if norm == "batch" else f"vgg{depth}")
    with torch.device("meta"):  # shapes only
        network = theirs(init_weights=False)
        ours = vgg(depth, "torchvision", norm, 0, 4096, 1.0, None)
    state = {f"{name}": value.shape for name, value in network.features.state_dict().items()}
    assert {name: value.shape for name, value in ours.features.state_dict().items()} == state
    kinds = [type(layer) for layer in network.features]
    assert [type(layer) for layer in ours.features.children()] == kinds[:-1] and kinds[-1] is nn.MaxPool2d
    classifier = {name: tuple(value.shape) for name, value in network.classifier.state_dict().items()}
    tail = {name: tuple(value.shape) for name, value in ours.tail.state_dict().items()}
    assert [tail["fc6.weight"], tail["fc7.weight"]] == [classifier["0.weight"], classifier["3.weight"]]


def state_of(backbone: Backbone) -> dict[str, Tensor]:
    """With torchvision's names, and a classifier to be left out."""
    state = {f"features.{name}": torch.randn_like(value) for name, value in backbone.features.state_dict().items()}
    for ours, theirs in (("fc6", "classifier.0"), ("fc7", "classifier.3")):
        for part in ("weight", "bias"):
            state[f"{theirs}.{part}"] = torch.randn_like(backbone.tail.get_parameter(f"{ours}.{part}"))
    return state | {"classifier.6.weight": torch.zeros(10, 32), "classifier.6.bias": torch.zeros(10)}


@torch.no_grad()
def test_a_file_with_torchvisions_names_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    state = state_of(small())
    torch.save(state, path)
    backbone = small(weights=str(path))
    assert torch.equal(backbone.features.get_parameter("28.weight"), state["features.28.weight"])
    regions = torch.randn(2, 64, 7, 7)
    fc6 = (regions.flatten(1) @ state["classifier.0.weight"].T + state["classifier.0.bias"]).relu()
    fc7 = (fc6 @ state["classifier.3.weight"].T + state["classifier.3.bias"]).relu()
    torch.testing.assert_close(backbone.tail.eval()(regions), fc7)
    del state["features.28.bias"]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"vgg\.pth: not the weights of this network: 1 missing"):
        small(weights=str(path))


def test_imagenet_is_for_the_published_network_only() -> None:
    with pytest.raises(ValueError, match="none for VGG of layout caffe"):
        small("caffe", weights="imagenet")
    with pytest.raises(ValueError, match="other widths"):
        small(weights="imagenet")


@pytest.mark.parametrize(("layout", "shape"), [("torchvision", (6, 5)), ("caffe", (7, 6))])
def test_caffe_rounds_odd_sizes_up(layout: Layout, shape: tuple[int, int]) -> None:
    backbone = small(layout)
    assert backbone.features(torch.zeros(1, 3, 97, 81)).shape == (1, 64, *shape)  # 97 / 16 = 6.06, 81 / 16 = 5.06
    assert isinstance(backbone.preprocess, Normalize) and backbone.preprocess.bgr == (layout == "caffe")
    assert backbone.offset == 0 and backbone.stride == 16


@pytest.mark.parametrize(("frozen_stages", "free"), [(0, 0), (1, 5), (2, 10), (3, 17), (4, 24), (5, 29)])
def test_frozen_stages(frozen_stages: int, free: int) -> None:
    """conv1_2, conv2_2, conv3_3 and conv4_3 are layers 2, 7, 14 and 21 of torchvision's, the poolings 4, 9, 16, 23."""
    backbone = small(frozen_stages=frozen_stages)
    trained = {int(name.split(".")[0]) for name, p in backbone.features.named_parameters() if p.requires_grad}
    assert (min(trained) == free) if trained else frozen_stages == 5
    assert all(p.requires_grad for p in backbone.tail.parameters())


@pytest.mark.parametrize("layout", ["torchvision", "caffe"])
@torch.no_grad()
def test_a_random_start_keeps_images_at_a_sane_size(layout: Layout) -> None:
    torch.manual_seed(0)
    backbone = small(layout)
    images = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    features = backbone.features(backbone.preprocess(images, torch.tensor([[112, 112]] * 2)))
    assert features.shape == (2, backbone.channels, 7, 7)
    for values in (features, backbone.tail.eval()(features)):
        assert 0.05 < float(values.square().mean().sqrt()) < 20


def test_the_tail_drops_half_in_training_only() -> None:
    torch.manual_seed(0)
    tail = VGGTail(2, 3, 400)
    nn.init.ones_(tail.fc7.bias)
    nn.init.zeros_(tail.fc7.weight)
    regions = torch.randn(5, 2, 3, 3)
    assert torch.equal(tail.eval()(regions), torch.ones(5, 400))
    dropped = tail.train()(regions)
    assert set(dropped.unique().tolist()) == {0, 2} and 0.4 < float((dropped == 0).float().mean()) < 0.6
    assert tail(torch.zeros(0, 2, 3, 3)).shape == (0, 400)
