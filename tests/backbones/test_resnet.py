"""ResNet backbones: torchvision's own network beside them, what is frozen, and weights that must be refused."""

import copy
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum
from torchvision.models.resnet import Bottleneck, ResNet

from detkit.backbones.backbone import Backbone, Normalize
from detkit.backbones.resnet import Layout, resnet

STAGES = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.")  # by the names of their parameters


def theirs(depth: int) -> ResNet:
    """torchvision's network in eval mode, its batch norms with statistics as training might leave them."""
    torch.manual_seed(depth)
    network: ResNet = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.2, 0.6)  # small, so that a hundred layers stay finite
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def their_features(network: ResNet, images: Tensor) -> Tensor:
    conv1 = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    return torch.as_tensor(network.layer3(network.layer2(network.layer1(conv1))))


def saved(network: ResNet, folder: Path) -> str:
    path = folder / "weights.pth"
    torch.save(network.state_dict(), path)
    return str(path)


def assert_equal(ours: Tensor, other: Tensor) -> None:
    assert 1e-3 < float(other.abs().max()) < 1e4  # a sane size
    torch.testing.assert_close(ours, other, atol=1e-5 * float(other.abs().max()), rtol=1e-5)


@torch.no_grad()
def assert_same_network(backbone: Backbone, network: ResNet) -> None:
    images = torch.randn(1, 3, 64, 96)
    features = their_features(network, images)
    assert features.shape == (1, backbone.channels, 64 // backbone.stride, 96 // backbone.stride)
    assert_equal(backbone.features.eval()(images), features)
    regions = torch.randn(2, backbone.channels, backbone.pool_size, backbone.pool_size)
    vectors = network.avgpool(network.layer4(regions)).flatten(1)
    assert vectors.shape == (2, backbone.tail_dim)
    assert_equal(backbone.tail.eval()(regions), vectors)


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_is_torchvisions_network_cut_after_layer3(depth: int, tmp_path: Path) -> None:
    network = theirs(depth)
    backbone = resnet(depth, "torchvision", "frozen", 2, saved(network, tmp_path))
    assert_same_network(backbone, network)
    assert isinstance(backbone.preprocess, Normalize) and not backbone.preprocess.bgr


def test_batch_norm_in_eval_mode_is_torchvisions_too(tmp_path: Path) -> None:
    network = theirs(18)
    assert_same_network(resnet(18, "torchvision", "batch", 0, saved(network, tmp_path)), network)


def test_msra_layout_strides_in_the_first_convolution(tmp_path: Path) -> None:
    network = theirs(50)
    path = saved(network, tmp_path)
    as_torchvision = copy.deepcopy(network)
    for stage in (network.layer2, network.layer3, network.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    backbone = resnet(50, "msra", "frozen", 2, path)
    strides = {
        name: (block.conv1.stride, block.conv2.stride)
        for part in (backbone.features, backbone.tail)
        for name, block in part.named_modules()
        if isinstance(block, Bottleneck)
    }
    assert {name for name, s in strides.items() if s == ((2, 2), (1, 1))} == {"layer2.0", "layer3.0", "layer4.0"}
    assert all(s == ((1, 1), (1, 1)) for name, s in strides.items() if not name.endswith(".0") or name == "layer1.0")
    assert_same_network(backbone, network)
    assert isinstance(backbone.preprocess, Normalize) and backbone.preprocess.bgr
    with torch.no_grad():
        images = torch.randn(1, 3, 64, 96)
        swapped, plain = backbone.features(images), their_features(as_torchvision, images)
    assert swapped.shape == plain.shape and not torch.allclose(swapped, plain, rtol=0.01)


def test_sizes_that_the_stride_does_not_divide_are_rounded_up() -> None:
    features = resnet(18, "torchvision", "frozen", 0, None).features
    assert features(torch.zeros(1, 3, 65, 33)).shape == (1, 256, 5, 3)


@pytest.mark.parametrize("frozen_stages", range(5))
def test_frozen_stages_are_not_trained_and_keep_their_statistics(frozen_stages: int) -> None:
    backbone = resnet(18, "torchvision", "batch", frozen_stages, None)
    frozen = STAGES[: frozen_stages + 1] if frozen_stages else ()  # conv1 and bn1 are one stage
    features = backbone.features
    for name, parameter in features.named_parameters():
        assert parameter.requires_grad == (not name.startswith(frozen)), name
    assert all(parameter.requires_grad for parameter in backbone.tail.parameters())
    for prepare in (lambda: None, features.train, lambda: features.eval().train()):
        prepare()
        before = copy.deepcopy(dict(features.named_buffers()))
        features(torch.randn(2, 3, 64, 64))
        for name, buffer in features.named_buffers():
            assert torch.equal(buffer, before[name]) == name.startswith(frozen), name
    features.eval()
    before = copy.deepcopy(dict(features.named_buffers()))
    features(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(buffer, before[name]) for name, buffer in features.named_buffers())


def test_frozen_norm_is_no_parameter() -> None:
    backbone = resnet(18, "torchvision", "frozen", 0, None)
    for part in (backbone.features, backbone.tail):
        assert not [name for name, _ in part.named_parameters() if "bn" in name or "downsample.1" in name]


def test_group_norm_trains() -> None:
    torch.manual_seed(0)
    backbone = resnet(18, "torchvision", "group", 0, None)
    network = nn.Sequential(backbone.features, backbone.tail)
    assert sum(isinstance(module, nn.GroupNorm) for module in network.modules()) == 20
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images, goal = torch.randn(2, 3, 64, 64), torch.randn(2, backbone.tail_dim)
    losses = []
    for _ in range(5):
        loss = (network(images) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses


@pytest.mark.parametrize("layout", ["torchvision", "msra"])
@torch.no_grad()
def test_a_frozen_norm_from_scratch_keeps_a_deep_network_sane(layout: Layout) -> None:
    torch.manual_seed(0)
    backbone = resnet(101, layout, "frozen", 0, None)
    features = backbone.features(torch.randn(1, 3, 64, 96))
    vectors = backbone.tail(features)
    for values in (features, vectors):
        assert bool(values.isfinite().all())
        assert 0.01 < float(values.std()) < 100


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*absent\.pth"):
        resnet(18, "torchvision", "frozen", 0, str(tmp_path / "absent.pth"))


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not a file of torch")
    with pytest.raises(ValueError, match=r"weights\.pth: not a state dict that torch can read"):
        resnet(18, "torchvision", "frozen", 0, str(path))
    for value in ([torch.zeros(2)], {"model": {"conv1.weight": torch.zeros(2)}}, {0: torch.zeros(2)}):
        torch.save(value, path)
        with pytest.raises(ValueError, match=r"weights\.pth: expected a dict of tensors by name"):
            resnet(18, "torchvision", "frozen", 0, str(path))


def test_weights_of_another_depth_are_refused(tmp_path: Path) -> None:
    path = saved(theirs(18), tmp_path)
    with pytest.raises(ValueError, match=r"weights\.pth: not the weights of this network: \d+ missing"):
        resnet(34, "torchvision", "frozen", 0, path)
    state = torch.load(path, weights_only=True)
    torch.save(state | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    with pytest.raises(ValueError, match=r"1 of another shape \['conv1\.weight'\]"):
        resnet(18, "torchvision", "frozen", 0, path)
    torch.save({name: value for name, value in state.items() if name != "bn1.bias"}, path)
    with pytest.raises(ValueError, match=r"1 missing \['bn1\.bias'\]"):
        resnet(18, "torchvision", "frozen", 0, path)


class Malicious:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("by_torch", [True, False])
def test_a_file_with_code_is_refused_and_not_run(by_torch: bool, tmp_path: Path) -> None:
    path, folder = tmp_path / "weights.pth", tmp_path / "made"
    if by_torch:
        torch.save({"conv1.weight": Malicious(folder)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": Malicious(folder)}))
    with pytest.raises(ValueError, match="torch can read safely"):
        resnet(18, "torchvision", "frozen", 0, str(path))
    assert not folder.exists()


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    with pytest.raises(ValueError, match=r"resnet18-\w+\.pth.*no route to host.*weights=FILE.*weights=null"):
        resnet(18, "torchvision", "frozen", 0, "imagenet")


def test_torchvision_has_no_weights_of_other_kinds() -> None:
    for layout, norm in (("msra", "frozen"), ("torchvision", "group")):
        with pytest.raises(ValueError, match="which has none for"):
            resnet(18, layout, norm, 0, "imagenet")
