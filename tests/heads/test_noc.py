"""Networks on conv feature maps: the layers the paper counts, in its order, and a start that carries through them."""

import pytest
import torch
from torch import nn

from detkit.heads.noc import noc


@pytest.mark.parametrize("convs", [0, 2])
@pytest.mark.parametrize("fcs", [2, 3])
def test_layers_are_counted_as_in_the_paper(convs: int, fcs: int) -> None:
    """ "2conv3fc": two 3 x 3 convolutions, fc6, fc7 and the classifier, which is not of this part."""
    network = noc(4, 9, convs, 8, fcs, fc_dim=16, dropout=0.5)
    layers = dict(network.named_children())
    weighted = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert weighted == ["conv1", "conv2"][:convs] + ["fc6", "fc7"][: fcs - 1]
    shapes = [tuple(layers[name].weight.shape) for name in weighted]
    first_fc = (16, (8 if convs else 4) * 9)
    assert shapes == [(8, 4, 3, 3), (8, 8, 3, 3)][:convs] + [first_fc, (16, 16)][: fcs - 1]
    assert [layer.p for layer in layers.values() if isinstance(layer, nn.Dropout)] == [0.5] * (fcs - 1)
    assert network(torch.randn(5, 4, 3, 3)).shape == (5, 16)
    assert network.eval()(torch.randn(0, 4, 3, 3)).shape == (0, 16)


def test_it_is_the_plain_chain() -> None:
    network = noc(2, 9, 1, 3, 3, fc_dim=4, dropout=0.5).eval()
    x = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    w = network.state_dict()
    hidden = nn.functional.conv2d(x, w["conv1.weight"], w["conv1.bias"], padding=1).clamp(min=0).flatten(1)
    for fc in ("fc6", "fc7"):
        hidden = (hidden @ w[f"{fc}.weight"].T + w[f"{fc}.bias"]).clamp(min=0)
    torch.testing.assert_close(network(x), hidden)


def test_a_pyramids_column_of_cells_is_taken_too() -> None:
    assert noc(2, 50, 0, 8, 2, fc_dim=4, dropout=0.0)(torch.randn(3, 2, 50, 1)).shape == (3, 4)


@torch.no_grad()
def test_values_neither_fade_nor_grow_from_layer_to_layer() -> None:
    torch.manual_seed(0)
    network = noc(64, 9, 3, 64, 3, fc_dim=256, dropout=0.0)
    x = torch.randn(64, 64, 3, 3)
    assert 0.05 < float(network(x).square().mean() / x.square().mean()) < 5  # N(0, 0.01) would come to 1e-9


def test_the_classifier_alone_is_no_noc() -> None:
    with pytest.raises(ValueError, match="a NoC of 1 fully connected layers: the classifier is one"):
        noc(4, 9, 2, 8, 1, fc_dim=16, dropout=0.5)
