"""NMS for all images of a batch in one step, in the two forms that exporters have words for."""

import torch
from torch import Tensor

from detkit.ops import boxes as box_ops

SPARE = 2  # boxes


def suppress_together(boxes: Tensor, scores: Tensor, max_iou: float) -> Tensor:
    """A Suppress in operators of torch and torchvision alone: one NMS over images that are moved apart.

    In float64, in which moving boxes apart does not blur them. SPARE boxes beyond all images are always kept, as
    programs of torch.export take for granted that there are two and more of what they counted: else they would fail.
    """
    batch, count = scores.shape
    flat = boxes.reshape(-1, 4).double()
    image = torch.arange(batch, device=boxes.device)[:, None].expand(-1, count).reshape(-1, 1)
    flat = flat + image * (flat.amax() - flat.amin() + 1)
    corner = flat.amax() + 1 + 2 * torch.arange(SPARE, device=flat.device)[:, None]
    flat = torch.cat([flat, corner + flat.new_tensor([0, 0, 1, 1])])
    ranks = torch.cat([scores.flatten().double(), flat.new_full((SPARE,), torch.finfo(flat.dtype).min)])
    likely = (ranks > -torch.inf).nonzero().flatten()
    kept = likely[box_ops.nms(flat[likely], ranks[likely], max_iou)]
    chosen = torch.zeros_like(ranks, dtype=torch.bool)
    chosen[kept] = True
    return chosen[:-SPARE].view(batch, count)


@torch.library.custom_op("detkit::suppress_each", mutates_args=())
def suppress_each(boxes: Tensor, scores: Tensor, max_iou: float) -> Tensor:
    """A Suppress as one operator, which onnx_graph.py translates: ONNX's own NMS goes through the images."""
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    for i in range(len(scores)):
        likely = (scores[i] > -torch.inf).nonzero().flatten()
        chosen[i, likely[box_ops.nms(boxes[i, likely], scores[i, likely], max_iou)]] = True
    return chosen


@suppress_each.register_fake
def _shape(boxes: Tensor, scores: Tensor, max_iou: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)
