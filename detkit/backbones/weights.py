"""Where the weights of a backbone come from: torchvision's own, a file, or a random start."""

from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

State = dict[str, Tensor]


def imagenet_state(model: str, from_scratch: str = "model.backbone.weights=null") -> State:
    """torchvision's ImageNet weights of the network it calls `model`, downloaded once.

    `from_scratch`: the overrides by which a user does without, for the ValueError when they cannot be had.
    """
    weights = torchvision.models.get_model_weights(model)["IMAGENET1K_V1"]
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"the ImageNet weights of {model} could not be downloaded from {weights.url} ({error}): fetch that "
            f"file elsewhere and set model.backbone.weights=FILE, or train from scratch with {from_scratch}"
        ) from error


def no_imagenet(network: str, remedy: str = "give the path of a state dict") -> ValueError:
    """The error for a variant of a network that nobody published ImageNet weights for where we could fetch them."""
    return ValueError(
        f"weights: imagenet are torchvision's, which has none for {network}: {remedy}, or null to train from scratch"
    )


def file_state(path: str) -> State:
    """The tensors by name in a file of torch.save or safetensors. Raises ValueError when it is no such file."""
    if not Path(path).is_file():
        raise ValueError(f"model.backbone.weights: no file {path}; allowed are a file, imagenet or null")
    if path.endswith(".safetensors"):
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a file of safetensors ({error})") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many kinds for a file that is not its own
        raise ValueError(f"{path}: not a state dict that torch can read safely ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ValueError(f"{path}: expected a dict of tensors by name, as torch.save(model.state_dict()) writes it")
    return state


def load(network: nn.Module, state: State, source: str, unused: tuple[str, ...]) -> None:
    """Load all but what starts with one of `unused` (the classifier), strictly, else ValueError naming `source`.

    The counters of batch norm, which a frozen norm lacks, do not matter.
    """
    own = network.state_dict()
    state = {k: v for k, v in state.items() if _matters(k, unused)}
    missing = [k for k in own if k not in state and _matters(k, unused)]
    unknown = [k for k in state if k not in own]
    misfit = [k for k in state if k in own and state[k].shape != own[k].shape]
    if missing or unknown or misfit:
        raise ValueError(
            f"{source}: not the weights of this network: {len(missing)} missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(misfit)} of another shape {misfit[:3]}"
        )
    network.load_state_dict(state, strict=False)


def _matters(name: str, unused: tuple[str, ...]) -> bool:
    return not name.startswith(unused) and not name.endswith("num_batches_tracked")


def renamed(state: State, prefixes: dict[str, str]) -> State:
    """The state with names that start with a key of `prefixes` starting with its value instead."""
    new = {}
    for name, value in state.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        new[prefixes.get(old, "") + name.removeprefix(old)] = value
    return new


def random_start(network: nn.Module, pixel_std: float = 1.0) -> None:
    """He initialisation (He et al. 2015, section 2.2) of convolutions and fully connected layers; biases 0.

    The papers' fixed deviations (0.01 and 0.005) fit only the published widths, and with them a VGG-16 does not learn
    from scratch. `pixel_std`: the deviation of the network's input, which the first convolution takes out again.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layers[0].weight /= pixel_std
