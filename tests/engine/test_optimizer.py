"""Which parameters learn, at which rate and with which decay, and one update by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from detkit.engine.optimizer import ParameterRule, adamw, parameter_groups, set_rate, sgd

CAFFE = ParameterRule(lr=0.1, weight_decay=0.01, bias_rate=2.0, decay_norm_and_bias=False)
PLAIN = ParameterRule(lr=0.1, weight_decay=0.01, bias_rate=1.0, decay_norm_and_bias=True)


@pytest.fixture
def model() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[2].requires_grad_(False)
    return model


def rates(model: nn.Module, rule: ParameterRule) -> dict[str, tuple[float, float]]:
    """(rate, decay) of each parameter by name."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, rule)
        for parameter in group["params"]
    }


def test_caffes_biases_learn_twice_as_fast_and_vectors_do_not_decay(model: nn.Sequential) -> None:
    assert rates(model, CAFFE) == {
        "0.weight": (0.1, 0.01),
        "0.bias": (0.2, 0.0),
        "1.weight": (0.1, 0.0),
        "1.bias": (0.2, 0.0),
    }


def test_without_special_rules_all_are_alike(model: nn.Sequential) -> None:
    assert set(rates(model, PLAIN).values()) == {(0.1, 0.01)}
    assert len(parameter_groups(model, PLAIN)) == 1


def test_the_classifier_and_the_box_layer_learn_faster_as_new_layers() -> None:
    """R-CNN: ten times the rate for what ImageNet has no weights for, and Caffe's twice for biases on top of it."""
    head = nn.ModuleDict({"classifier": nn.Linear(2, 3), "regressor": nn.Linear(2, 4), "tail": nn.Linear(2, 2)})
    detector = nn.ModuleDict({"features": nn.Linear(2, 2), "head": head, "classifier": nn.Linear(2, 2)})
    rule = replace(CAFFE, new_layer_rate=10.0)
    found = rates(detector, rule)
    assert {name: rate for name, (rate, _) in found.items()} == pytest.approx(
        {
            "features.weight": 0.1,
            "features.bias": 0.2,
            "head.classifier.weight": 1.0,
            "head.classifier.bias": 2.0,
            "head.regressor.weight": 1.0,
            "head.regressor.bias": 2.0,
            "head.tail.weight": 0.1,
            "head.tail.bias": 0.2,
            "classifier.weight": 0.1,  # of a classification network, which has weights
            "classifier.bias": 0.2,
        }
    )
    assert {name for name, (_, decay) in found.items() if decay} == {name for name in found if name.endswith("weight")}
    optimizer = sgd(detector, rule, momentum=0.9)
    set_rate(optimizer, 0.01)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([0.01, 0.02, 0.1, 0.2])


def test_frozen_parameters_are_in_no_group(model: nn.Sequential) -> None:
    for optimizer in (sgd(model, CAFFE, momentum=0.9), adamw(model, CAFFE)):
        held = {p for group in optimizer.param_groups for p in group["params"]}
        assert held == {*model[0].parameters(), *model[1].parameters()}


def test_a_new_rate_keeps_the_factor_of_each_group(model: nn.Sequential) -> None:
    optimizer = sgd(model, CAFFE, momentum=0.9)
    set_rate(optimizer, 0.01)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([0.01, 0.01, 0.02])


def test_two_steps_of_sgd_by_hand() -> None:
    """v = gradient + decay * w, then momentum * v + that; w -= rate * v."""
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 1.0)
    nn.init.constant_(layer.bias, 1.0)
    optimizer = sgd(layer, CAFFE, momentum=0.5)
    seen = []
    for _ in range(2):
        layer.weight.grad, layer.bias.grad = torch.tensor([[1.0]]), torch.tensor([1.0])
        optimizer.step()
        seen.append((layer.weight.item(), layer.bias.item()))
    # weight: v = 1.01, w = 0.899; v = 0.505 + 1.00899 = 1.51399, w = 0.747601. bias: 1 - 0.2 = 0.8; v = 1.5, 0.5
    assert seen[0] == pytest.approx((0.899, 0.8))
    assert seen[1] == pytest.approx((0.747601, 0.5))
