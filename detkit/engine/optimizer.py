"""Which parameters learn at which rate, and with which decay."""

from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, AdamW, Optimizer


@dataclass(frozen=True)
class ParameterRule:
    lr: float
    weight_decay: float
    bias_rate: float  # factor on the rate of biases (Caffe: 2)
    decay_norm_and_bias: bool  # whether vectors (biases, scales of a norm) decay like weights
    new_layer_rate: float = 1.0  # factor on the rate of NEW_LAYERS (R-CNN: 10)


# What no ImageNet weights can be had for: of a detector's region head, also where it is trained by itself.
NEW_LAYERS = ("head.classifier", "head.regressor", "learner.classifier", "learner.regressor")


def parameter_groups(model: nn.Module, rule: ParameterRule) -> list[dict[str, object]]:
    """The trained parameters in groups for a torch optimizer; `lr_scale` is each group's factor on the rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 or rule.decay_norm_and_bias
            scale = rule.bias_rate if name.rpartition(".")[2] == "bias" else 1.0
            if name.rpartition(".")[0] in NEW_LAYERS:
                scale *= rule.new_layer_rate
            groups.setdefault((scale, rule.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": parameters, "lr": rule.lr * scale, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]


def sgd(model: nn.Module, rule: ParameterRule, momentum: float) -> Optimizer:
    return SGD(parameter_groups(model, rule), lr=rule.lr, momentum=momentum)


def adamw(model: nn.Module, rule: ParameterRule) -> Optimizer:
    return AdamW(parameter_groups(model, rule), lr=rule.lr)


def set_rate(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
