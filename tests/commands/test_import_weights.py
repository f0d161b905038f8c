"""From a file of another tool to a file of detkit: what is written, what is said, and errors that name the file."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from detkit.build.backbone import build_backbone
from detkit.commands import import_weights as importing
from detkit.commands.import_weights import import_weights
from detkit.config.backbones import ResNet, TimmBackbone
from detkit.config.loading import parse_config
from detkit.engine.checkpoint import load_model
from detkit.weights.imported import Imported, WeightFile


def resnet18(folder: Path) -> tuple[Path, torch.nn.Module]:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    path = folder / "resnet18.pth"
    torch.save({"epoch": 90, "state_dict": {f"module.{n}": v for n, v in network.state_dict().items()}}, path)
    return path, network


def test_a_classification_network_becomes_a_backbone(tmp_path: Path) -> None:
    path, network = resnet18(tmp_path)
    out = tmp_path / "new" / "backbone.pt"
    message = import_weights(path, out)
    assert message.splitlines() == [
        f"{path} (torch file with 'state_dict'): torchvision's ResNet-18",
        f"written: {out}; train from it with: model.backbone.kind=resnet model.backbone.depth=18 "
        f"model.backbone.layout=torchvision model.backbone.weights={out}",
    ]
    features = build_backbone(ResNet(kind="resnet", depth=18, weights=str(out))).features
    assert torch.equal(features.state_dict()["layer3.1.conv2.weight"], network.state_dict()["layer3.1.conv2.weight"])


def test_a_network_of_timm_by_its_name(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("resnet10t")
    path, out = tmp_path / "weights.pth", tmp_path / "backbone.pt"
    torch.save(network.state_dict(), path)
    with pytest.raises(
        ValueError, match=r"weights\.pth \(torch file\): \d+ tensors .* of no network that is known here"
    ):
        import_weights(path, out)
    assert "timm's resnet10t" in import_weights(path, out, name="resnet10t")
    backbone = build_backbone(TimmBackbone(kind="timm", name="resnet10t", weights=str(out)))
    ours = dict(backbone.features.named_parameters()) | dict(backbone.features.named_buffers())
    assert any(torch.equal(value, network.state_dict()["layer1.0.conv1.weight"]) for value in ours.values())
    with pytest.raises(ValueError, match=r"weights\.pth.*timm \S+ has no resnet10x"):
        import_weights(path, out, name="resnet10x")


def test_weights_that_do_not_fit_name_their_file(tmp_path: Path) -> None:
    path, network = resnet18(tmp_path)
    state = network.state_dict() | {"layer1.0.se.weight": torch.zeros(1)}
    torch.save(state, path)
    expected = r"resnet18\.pth \(torch file\): torchvision's ResNet-18: not the weights of this network: .*1 unknown"
    with pytest.raises(ValueError, match=expected) as caught:
        import_weights(path, tmp_path / "out.pt")
    assert "weights.pt" not in str(caught.value) and not (tmp_path / "out.pt").exists()


def test_a_backbone_has_no_classes(tmp_path: Path) -> None:
    path, _ = resnet18(tmp_path)
    with pytest.raises(ValueError, match="a classification network: it has no use for --classes"):
        import_weights(path, tmp_path / "out.pt", classes=["a"])


def test_the_file_read_is_not_written_over(tmp_path: Path) -> None:
    path, _ = resnet18(tmp_path)
    with pytest.raises(ValueError, match="is the file to read; give --out another name"):
        import_weights(path, tmp_path / "." / "resnet18.pth")
    with pytest.raises(ValueError, match=r"missing\.pth: no such file"):
        import_weights(tmp_path / "missing.pth", tmp_path / "out.pt")


# Detectors, by a converter of a tiny one


@pytest.fixture
def tiny_import(tmp_path: Path, tiny: dict, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the only converter takes for the tiny detector with the classes bar and block."""
    weights = importing.build_detector(parse_config(tiny, "tiny"), 2).state_dict()

    def convert(found: WeightFile) -> Imported | None:
        return (
            Imported("a tiny detector", tiny, ("bar", "block"), found.tensors) if "head" not in found.tensors else None
        )

    monkeypatch.setattr(importing, "CONVERTERS", (convert,))
    path = tmp_path / "tiny.pth"
    torch.save(weights, path)
    return path


def test_a_detector_becomes_a_model(tiny_import: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.pt"
    message = import_weights(tiny_import, out)
    assert message.splitlines() == [
        f"{tiny_import} (torch file): a tiny detector",
        f"written: {out}; detect with: detkit detect {out} IMAGES --out found",
    ]
    saved = load_model(out)
    assert saved.classes == ("bar", "block") and saved.step == 0
    state: dict[str, Tensor] = torch.load(tiny_import)
    assert saved.weights.keys() == state.keys()
    assert all(torch.equal(saved.weights[name], value) for name, value in state.items())


def test_classes_can_be_named(tiny_import: Path, tmp_path: Path) -> None:
    import_weights(tiny_import, tmp_path / "model.pt", classes=["cat", "dog"])
    saved = load_model(tmp_path / "model.pt")
    assert saved.classes == ("cat", "dog") and saved.config["data"]["classes"] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat"], "a tiny detector; --classes has 1 names"),
        (["cat", "cat"], "more than once"),
        (["cat", ""], "--classes: '' is empty"),
        (["cat", "a/b"], "--classes: 'a/b' must be"),
    ],
)
def test_wrong_classes(tiny_import: Path, classes: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        import_weights(tiny_import, tmp_path / "model.pt", classes=classes)


def test_no_converter_knows_it(tiny_import: Path, tmp_path: Path) -> None:
    torch.save({"head": torch.zeros(1)}, tiny_import)
    with pytest.raises(ValueError, match=r"1 tensors \(head, \.\.\.\) of no network that is known here; known are"):
        import_weights(tiny_import, tmp_path / "model.pt")


def test_what_a_file_does_not_tell_can_be_said(tiny_import: Path, tmp_path: Path) -> None:
    """As detkit train takes it; the weights stay as they are."""
    out = tmp_path / "model.pt"
    plain = load_model(_imported(tiny_import, out, []))
    changed = load_model(_imported(tiny_import, out, ["model.pool.sampling=0", "model.head={nms_iou: 0.5}"]))
    assert changed.config["model"]["pool"]["sampling"] == 0 and changed.config["model"]["head"]["nms_iou"] == 0.5
    assert changed.config["model"]["head"]["min_score"] == plain.config["model"]["head"]["min_score"] == 0.01
    assert all(torch.equal(changed.weights[name], value) for name, value in plain.weights.items())
    named = load_model(_imported(tiny_import, out, ["data.classes=[bar,block]", "data.short_side=80"]))
    assert named.config["data"]["short_side"] == 80
    told = import_weights(tiny_import, out, overrides=["model.pool.sampling=0", "data.short_side=80"])
    assert "\nchanged: model.pool.sampling=0 data.short_side=80\nwritten: " in told


def _imported(path: Path, out: Path, overrides: list[str]) -> Path:
    import_weights(path, out, overrides=overrides)
    return out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.pool.sampls=0", r"a tiny detector: model\.pool\.sampls: unknown key, did you mean sampling\?"),
        ("model.pool.sampling=many", r"a tiny detector: model\.pool\.sampling: .*got 'many'"),
        ("model.pool.sampling", "override 'model.pool.sampling': expected key=value"),
        (
            "model.rpn.channels=8",
            r"its weights do not fit its config \(proposals\.[\w., ]+\); with model\.rpn\.channels=8",
        ),
        (
            "model.backbone.norm=batch",
            r"its weights do not fit its config \(.*num_batches_tracked.*\); with model\.backbone\.norm=batch",
        ),
        ("model.backbone={kind: timm, name: resnet18}", "its backbone and weights are in the file"),
        ("model.backbone.weights=imagenet", "its backbone and weights are in the file"),
        ("data.classes=[cat,dog]", r"data\.classes \['cat', 'dog'\]: name the classes with --classes"),
    ],
)
def test_changes_that_do_not_fit(tiny_import: Path, override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        import_weights(tiny_import, tmp_path / "model.pt", overrides=[override])
    assert not (tmp_path / "model.pt").exists()


def test_a_backbone_has_no_config(tmp_path: Path) -> None:
    path, _ = resnet18(tmp_path)
    with pytest.raises(ValueError, match=r"a classification network: it has no use for data\.short_side=800"):
        import_weights(path, tmp_path / "out.pt", overrides=["data.short_side=800"])
