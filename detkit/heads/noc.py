"""Networks on Conv feature maps (Ren et al. 2015): what a region passes through between pooling and the classifier.

Layers are counted as the paper counts them: "2conv3fc" is two 3x3 convolutions and three fully connected layers, of
which the last is the classifier, which the region head brings itself.
"""

from collections import OrderedDict

from torch import nn


def noc(
    channels: int, cells: int, convs: int, conv_channels: int, fcs: int, fc_dim: int, dropout: float
) -> nn.Sequential:
    """(R, channels, P, P) -> (R, fc_dim), `cells` being P * P.

    `fcs` counts the classifier, so fcs - 1 layers of `fc_dim` are made here. Raises ValueError below two.
    """
    if fcs < 2:
        raise ValueError(f"a NoC of {fcs} fully connected layers: the classifier is one, so at least 2 are needed")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = channels
    for i in range(1, convs + 1):
        layers[f"conv{i}"] = nn.Conv2d(width, conv_channels, kernel_size=3, padding=1)
        layers[f"relu_conv{i}"] = nn.ReLU(inplace=True)
        width = conv_channels
    layers["flatten"] = nn.Flatten()
    width *= cells
    for i in range(6, 5 + fcs):  # fc6, fc7, as in VGG-16
        layers[f"fc{i}"] = nn.Linear(width, fc_dim)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        layers[f"drop{i}"] = nn.Dropout(dropout)
        width = fc_dim
    network = nn.Sequential(layers)
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # From a random start (He et al. 2015, equation 10): N(0, 0.01) would fade out in three layers.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network
