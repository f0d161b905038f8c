"""A trained detector as a file for other programs (ONNX, torch.export, safetensors), and detecting with such files.

The graph of ONNX holds everything from the stored image to boxes in its pixels: resize, normalisation, network, both
NMS. That of torch.export begins behind the resize (export/batched.py has its inputs and outputs), since the shapes of
its tensors may not follow from values. The resize is, for each image, cv2.resize(image, size), bilinear, to the
sides times min(short_side / shorter, long_side / longer), rounded; then zeros on the right and at the bottom up to the
largest of the batch. OnnxDetector and TorchExportDetector show them in use.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.backbones.multi_scale import MultiScale
from detkit.config.loading import parse_config
from detkit.config.models import RCNN, FasterRCNN, SPPNet
from detkit.config.schema import Config
from detkit.data.io.image_sources import ImageSource
from detkit.data.pipeline.prepare import Resize
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.checkpoint import load_model, save_safetensors
from detkit.export.agreement import Agreement, compare
from detkit.export.batched import AXES, BatchedDetector
from detkit.export.quiet import quiet
from detkit.export.suppression import suppress_together
from detkit.heads.proposals import padded
from detkit.predictor import MIN_SCORE, Predictor
from detkit.results import Result
from detkit.runtime.whole_file import written_whole
from detkit.structures import Batch, Clock, Detections, no_clock

FORMAT = "2"  # 1: ONNX took resized images
ABOUT = "detkit.json"  # in a .pt2
DYNAMIC = torch.export.Dim.DYNAMIC
RESULTS = (
    "boxes: float32 (B, D, 4) x1, y1, x2, y2 px of the stored images; scores: float32 (B, D), best first, 0 marks "
    "padding; labels: int64 (B, D), counting in classes"
)
ONNX_USAGE = (
    "images: uint8 (B, 3, H, W) RGB as stored, of different sizes with padding on the right and at the bottom; sizes: "
    "int64 (B, 2) height, width of each without padding; proposals, where asked for: float32 (B, N, 4) px of images, "
    f"rows without area are padding; {RESULTS}"
)
TORCH_USAGE = (
    "images: uint8 (B, 3, H, W) RGB, each resized (bilinear, as cv2.resize) by min(short_side / shorter, long_side / "
    "longer), sides rounded, and padded with zeros on the right and at the bottom, to 32 px at least; sizes, "
    "original_sizes: int64 (B, 2) height, width after and before the resize; proposals, where asked for: float32 "
    f"(B, N, 4) px of images, N at least 2, rows without area are padding; {RESULTS}"
)
INSTALL = 'pip install "detkit[export]"'
LEAST_PROPOSALS = 2  # of an image: what torch.export saw of several it does not hold for one


def export_onnx(predictor: Predictor, path: Path) -> int:
    """Write the detector to `path` as one ONNX file, and return its opset.

    Raises ValueError for a detector of which there is no graph, or without the packages of ONNX.
    """
    _check_suffix(path, ".onnx")
    detector = _graph_of(predictor)
    try:
        import onnx

        from detkit.export.onnx_graph import OPSET, onnx_graph  # needs packages that detecting does not
    except ImportError as error:
        raise ValueError(f"{path}: writing ONNX needs further packages ({error}); {INSTALL}") from error
    try:
        model = onnx_graph(detector, predictor.resize, _example(predictor))
    except RuntimeError as error:
        raise _no_graph(path, error) from error
    onnx.helper.set_model_props(model, _about(predictor, ONNX_USAGE))
    model.producer_name, model.producer_version = "detkit", version("detkit")
    with written_whole(path) as partial:
        onnx.save(model, partial)
    return OPSET


def export_torch(predictor: Predictor, path: Path) -> None:
    """Write the detector to `path` as a program of torch.export, which needs torch and torchvision to run.

    Raises ValueError for a detector of which there is no graph.
    """
    _check_suffix(path, ".pt2")
    core = BatchedDetector(_graph_of(predictor), suppress_together).eval()
    example = _example(predictor)
    shapes = tuple(dict.fromkeys(axes, DYNAMIC) for axes in AXES[: len(example)])
    try:
        with torch.no_grad(), quiet():
            program = torch.export.export(core, example, dynamic_shapes=shapes)
    except RuntimeError as error:
        raise _no_graph(path, error) from error
    content = io.BytesIO()
    with quiet():
        torch.export.save(program, content, extra_files={ABOUT: json.dumps(_about(predictor, TORCH_USAGE))})
    with written_whole(path) as partial:
        partial.write_bytes(content.getvalue())


def export_safetensors(source: Path, path: Path) -> None:
    """Write the model.pt, or that of a run folder, to `path` as safetensors, which detkit.load reads as well."""
    _check_suffix(path, ".safetensors")
    save_safetensors(load_model(source), path)


class OnnxDetector:
    """A file of export_onnx in onnxruntime: `OnnxDetector(path).predict(images)`."""

    def __init__(self, path: str | Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        """`providers`: what onnxruntime computes with. Raises ValueError for a file that export_onnx did not write."""
        try:
            import onnxruntime  # type: ignore[import-untyped]
        except ImportError as error:
            raise ValueError(f"{path}: running ONNX needs further packages ({error}); {INSTALL}") from error
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=list(providers))
        except Exception as error:  # onnxruntime raises errors of many kinds for a file that is not its own
            raise ValueError(f"{path}: not an ONNX file, or damaged ({type(error).__name__})") from error
        self.classes, self.config = _read_about(self.session.get_modelmeta().custom_metadata_map, path)
        as_stored = Resize(None, self.config.data.long_side)  # the graph resizes
        self._predictor = Predictor(self, self.classes, self.config, torch.device("cpu"), as_stored)

    def predict(self, images: ImageSource | Iterable[ImageSource], min_score: float = MIN_SCORE) -> list[Result]:
        """As Predictor.predict, always a list; what scores less than the config's min_score is not in the graph."""
        return list(self._predictor.stream(images, min_score))

    def detect(self, batch: Batch, clock: Clock = no_clock, min_score: float | None = None) -> list[Detections]:
        """As engine/inference.py has it, of a padded batch of images as they are stored."""
        names = [one.name for one in self.session.get_inputs()]
        given = (batch.images, batch.sizes, *([padded(batch)[0]] if _takes_proposals(self.config) else []))
        arrays = [one.numpy() for one in given]
        with clock("graph"):
            found = self.session.run(None, dict(zip(names, arrays, strict=True)))
        boxes, scores, labels = (torch.from_numpy(one) for one in found)
        return _as_detections(boxes, scores, labels, min_score)


class TorchExportDetector:
    """A file of export_torch: `TorchExportDetector(path).predict(images)`."""

    def __init__(self, path: str | Path) -> None:
        """Only for files you trust. Raises ValueError for one that export_torch did not write."""
        import torchvision  # noqa: F401  # registers the operators that the program calls

        texts = {ABOUT: ""}
        try:
            self.program = torch.export.load(str(path), extra_files=texts).module()
            about = json.loads(texts[ABOUT] or "{}")
        except Exception as error:  # torch raises errors of many kinds for a file that is not its own
            raise ValueError(f"{path}: not a file of torch.export, or damaged ({type(error).__name__})") from error
        self.classes, self.config = _read_about(about, path)
        self._predictor = Predictor(self, self.classes, self.config, torch.device("cpu"))

    def predict(self, images: ImageSource | Iterable[ImageSource], min_score: float = MIN_SCORE) -> list[Result]:
        """As Predictor.predict, always a list; what scores less than the config's min_score is not in the graph."""
        return list(self._predictor.stream(images, min_score))

    def detect(self, batch: Batch, clock: Clock = no_clock, min_score: float | None = None) -> list[Detections]:
        """As engine/inference.py has it, of a resized and padded batch."""
        with clock("graph"), torch.no_grad():
            inputs = [batch.images, batch.sizes, batch.original_sizes]
            if _takes_proposals(self.config):
                proposals, _ = padded(batch)
                inputs.append(F.pad(proposals, (0, 0, 0, max(0, LEAST_PROPOSALS - proposals.shape[1]))))
            boxes, scores, labels = self.program(*inputs)
        return _as_detections(boxes, scores, labels, min_score)


def agreement(
    predictor: Predictor, exported: OnnxDetector | TorchExportDetector | Predictor, images: Sequence[ImageSource]
) -> Agreement:
    """How far the exported detector differs from the one it was made of, over all they find in `images`."""
    model = predictor.config.model
    least = (model.svm if isinstance(model, RCNN | SPPNet) else model.head).min_score  # that of the graph, too
    return compare(predictor.predict(list(images), least), exported.predict(list(images), least))


def _graph_of(predictor: Predictor) -> TwoStageDetector:
    detector, kind = predictor.detector, predictor.config.model.kind
    if not isinstance(detector, TwoStageDetector):
        raise ValueError(f"{kind}: SVMs and regressors of its own make no graph; export this detector as safetensors")
    if isinstance(detector.features, MultiScale):
        raise ValueError(
            f"{kind} with model.scales: how many regions each scale gets hangs on their boxes, which makes no graph; "
            "export this detector as safetensors"
        )
    return detector


def _example(predictor: Predictor) -> tuple[Tensor, ...]:
    """Inputs for an exporter to follow: as few images as stand for many, no two sides alike."""
    sizes = torch.tensor([[320, 416], [300, 400]], device=predictor.device)
    images = torch.zeros(2, 3, 320, 416, dtype=torch.uint8, device=predictor.device)
    inputs = (images, sizes, sizes.clone())  # a tensor that is given twice would become one input
    return (*inputs, torch.rand(2, 30, 4, device=predictor.device)) if _takes_proposals(predictor.config) else inputs


def _takes_proposals(config: Config) -> bool:
    return not isinstance(config.model, FasterRCNN)


def _as_detections(boxes: Tensor, scores: Tensor, labels: Tensor, min_score: float | None) -> list[Detections]:
    asked = (scores > 0) & (scores >= (min_score or 0))
    return [Detections(boxes[i, real], scores[i, real], labels[i, real]) for i, real in enumerate(asked)]


def _about(predictor: Predictor, usage: str) -> dict[str, str]:
    return {
        "detkit": FORMAT,
        "version": version("detkit"),
        "classes": json.dumps(predictor.classes),
        "short_side": json.dumps(predictor.resize.short_side),
        "long_side": json.dumps(predictor.resize.long_side),
        "deep_range": json.dumps(predictor.config.data.deep_range),  # what is 0 and 255 in images of more than 8 bits
        "usage": usage,
        "config": json.dumps(predictor.config.model_dump(mode="json")),
    }


def _read_about(about: Mapping[str, str], path: str | Path) -> tuple[tuple[str, ...], Config]:
    if about.get("detkit") != FORMAT:
        raise ValueError(f"{path}: detkit export of this version of detkit did not write it")
    try:
        classes, config = json.loads(about["classes"]), json.loads(about["config"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: what stands in it of its classes and config is damaged ({error!r})") from error
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"{path}: its classes are no list of names")
    return tuple(classes), parse_config(config, source=str(path))


def _check_suffix(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise ValueError(f"{path}: the name of this file is to end with {suffix}")


def _no_graph(path: Path, error: RuntimeError) -> ValueError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ValueError(f"{path}: torch's exporter cannot follow this detector ({reason}); export it as safetensors")
