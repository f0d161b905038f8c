"""A detector as a graph of ONNX's own operators, from stored images to boxes in their px."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, compose, helper
from onnxscript import opset18
from torch import Tensor

from detkit.data.pipeline.prepare import Resize
from detkit.detectors.two_stage import TwoStageDetector
from detkit.export.batched import AXES, BatchedDetector
from detkit.export.onnx_resize import resize_graph
from detkit.export.quiet import quiet
from detkit.export.suppression import suppress_each

OPSET = 18  # the least that the exporter writes
op: Any = opset18  # its types are those of graphs that run at once
LOWEST = float(np.finfo(np.float32).min)
ALL = 2**31 - 1  # boxes NMS may keep
CORE_INPUTS = ("resized", "resized_sizes", "stored_sizes", "resized_proposals")  # of BatchedDetector
OUTPUTS = ("boxes", "scores", "labels")


def onnx_graph(detector: TwoStageDetector, resize: Resize, example: tuple[Tensor, ...]) -> ModelProto:
    """The detector behind its resize (onnx_resize.py has the inputs), with OUTPUTS as batched.py describes them.

    `example`: inputs of BatchedDetector. Raises RuntimeError where torch's exporter cannot follow the detector.
    """
    names = CORE_INPUTS[: len(example)]
    core = BatchedDetector(detector, suppress_each).eval()
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            core,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=OUTPUTS,
            dynamic_shapes=AXES[: len(example)],
            custom_translation_table=_translations(),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    before = resize_graph(resize, "resized_proposals" in names, names, OPSET, model.ir_version)
    return compose.merge_models(before, model, io_map=[(name, name) for name in names])


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    return {
        torch.ops.detkit.suppress_each.default: _suppress_each,
        torch.ops.torchvision.roi_pool.default: _roi_pool,
        torch.ops.torchvision.roi_align.default: _roi_align,
    }


def _suppress_each(boxes: Any, scores: Any, max_iou: float) -> Any:
    """Which boxes NonMaxSuppression names: rows of (image, class, box), here of one class."""
    named = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), ALL, _float_below(max_iou), LOWEST)
    place = op.Gather(named, op.Constant(value_ints=[0, 2]), axis=1)  # (kept, 2)
    none = op.Expand(op.Constant(value=_bool(False)), op.Shape(scores))
    yes = op.Expand(op.Constant(value=_bool(True)), op.Shape(named, start=0, end=1))
    return op.ScatterND(none, place, yes)


def _roi_pool(features: Any, regions: Any, spatial_scale: float, pooled_height: int, pooled_width: int) -> Any:
    """Caffe's region pooling, which MaxRoiPool is; the second output, where the maxima were, is for training."""
    pooled = op.MaxRoiPool(features, regions, pooled_shape=(pooled_height, pooled_width), spatial_scale=spatial_scale)
    return pooled, op.Identity(pooled)


def _roi_align(
    features: Any,
    regions: Any,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Any:
    """As torch's own translation, which warns of what is the same in both: 0 or less samples as many as fit."""
    return op.RoiAlign(
        features,
        op.Slice(regions, [1], [5], [1]),
        op.Cast(op.Squeeze(op.Slice(regions, [0], [1], [1]), [1]), to=7),  # 7: int64
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        output_height=pooled_height,
        output_width=pooled_width,
        sampling_ratio=max(sampling_ratio, 0),
        spatial_scale=spatial_scale,
    )


def _float_below(value: float) -> float:
    """The greatest float32 that is not above `value`: a float32 is above either or neither of them.

    torchvision compares an IoU with the threshold in float64, where the float32 nearest to 0.3 is above 0.3.
    """
    nearest = np.float32(value)
    return float(nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf)))


def _bool(value: bool) -> Any:
    return helper.make_tensor("value", TensorProto.BOOL, [1], [value])
