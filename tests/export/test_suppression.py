"""NMS for a batch in its two forms: by hand, and against NMS image by image."""

import pytest
import torch

from detkit.export.batched import Suppress
from detkit.export.suppression import suppress_each, suppress_together
from detkit.ops import boxes as box_ops

NONE = -torch.inf
FORMS = pytest.mark.parametrize("suppress", [suppress_together, suppress_each])


@FORMS
def test_images_do_not_touch_each_other_and_what_is_out_suppresses_nothing(suppress: Suppress) -> None:
    here, near, far = (0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0), (30.0, 30.0, 40.0, 40.0)
    boxes = torch.tensor([[here, near, far], [here, near, far], [here, near, far], [here, near, far]])
    scores = torch.tensor([[0.9, 0.8, 0.7], [0.8, 0.9, 0.1], [NONE, 0.5, NONE], [NONE, NONE, NONE]])
    kept = [[True, False, True], [False, True, True], [False, True, False], [False, False, False]]
    assert suppress(boxes, scores, 0.5).tolist() == kept
    assert suppress(boxes, scores, 0.9).tolist() == [[True, True, True], [True, True, True], *kept[2:]]


@FORMS
def test_a_batch_is_its_images_one_by_one(suppress: Suppress) -> None:
    torch.manual_seed(0)
    corner = torch.rand(5, 200, 2) * 900
    boxes = torch.cat([corner, corner + 20 + torch.rand(5, 200, 2) * 300], dim=2)
    scores = torch.rand(5, 200)
    kept = suppress(boxes, scores, 0.4)
    assert 0 < int(kept.sum()) < kept.numel()
    for i in range(5):
        assert kept[i].nonzero().flatten().tolist() == sorted(box_ops.nms(boxes[i], scores[i], 0.4).tolist())
