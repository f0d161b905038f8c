"""A backbone's weights out of what detkit trained: a file of detkit pretrain, or the model.pt of a detector."""

from pathlib import Path

from torch import Tensor, nn

from detkit.backbones.backbone import Backbone
from detkit.engine import checkpoint

BACKBONE_FORMAT = "detkit-backbone-1"


def save_backbone(backbone: Backbone, path: Path) -> None:
    weights = {f"features.{name}": value.cpu() for name, value in backbone.features.state_dict().items()}
    weights |= {f"tail.{name}": value.cpu() for name, value in backbone.tail.state_dict().items()}
    checkpoint.save({"format": BACKBONE_FORMAT, "weights": weights}, path)


def read_backbone(path: Path) -> dict[str, Tensor] | None:
    """Weights by name, "features." and "tail." first; None for what detkit did not write (a plain state dict).

    Raises ValueError for a detector of which no backbone can be taken.
    """
    file = path / "model.pt" if path.is_dir() else path
    try:
        content = checkpoint.load(file)
    except ValueError:
        return None  # the backbone's own reader says what is wrong with it
    if "format" not in content:
        return None
    if content["format"] == BACKBONE_FORMAT:
        return dict(content["weights"])
    saved = checkpoint.load_model(file)
    kind = saved.config.get("model", {}).get("kind")
    if kind not in ("fast_rcnn", "faster_rcnn"):
        raise ValueError(
            f"{path}: a {kind} detector; backbones are taken from Fast and Faster R-CNN or detkit pretrain"
        )
    inside = "features.network."  # of a detector at several scales
    features = {
        name.replace(inside, "features.", 1): value
        for name, value in saved.weights.items()
        if name.startswith("features.")
    }
    tail = {f"tail.{n.removeprefix('head.tail.')}": v for n, v in saved.weights.items() if n.startswith("head.tail.")}
    return features | tail


def load_backbone(backbone: Backbone, weights: dict[str, Tensor], source: str) -> None:
    """Load the features, all of them, and the tail if it is the same network; another tail (a NoC) keeps its start.

    Raises ValueError when the features do not fit.
    """
    _load(backbone.features, weights, "features.", source)
    own = {f"tail.{name}": value.shape for name, value in backbone.tail.state_dict().items()}
    if own.keys() <= weights.keys() and all(weights[name].shape == shape for name, shape in own.items()):
        _load(backbone.tail, weights, "tail.", source)


def _load(module: nn.Module, weights: dict[str, Tensor], prefix: str, source: str) -> None:
    state = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"model.backbone.weights: {source} holds another network: {error}") from error
