"""Where on the image the cells of a feature map lie, read off the layers that an image runs through.

A layer of kernel k, stride s and padding p puts the centre of its first cell (k - 1) / 2 - p cells into its input. Over
a network these shifts add up; networks without padding (AlexNet, GoogLeNet, Inception) come out a cell or more inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


@dataclass(frozen=True)
class Grid:
    """A feature map over the image, the same for both axes."""

    stride: int  # px between the cells' centres
    first: float  # px, centre of what the first cell sees

    @property
    def offset(self) -> float:
        """px where the first cell begins if cells lie side by side, as Backbone.offset wants it; never negative.

        Odd kernels with full padding (ResNet, ZF) centre the first cell on px 0.5, up to half a cell before its square
        [0, stride). The papers take such a grid for one that begins at 0, and so do we; only what lies further in than
        that, for lack of padding, counts.
        """
        return max(0.0, self.first - self.stride / 2)

    def after(self, kernel: int, stride: int, padding: int) -> "Grid":
        """The grid of a layer that reads this one."""
        return Grid(self.stride * stride, self.first + self.stride * ((kernel - 1) / 2 - padding))


PIXELS = Grid(stride=1, first=0.5)


class GridTracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that sees every tensor operation and notes on which grid its result lies, to begin with `image`."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {id(image): (image, PIXELS)}  # the tensor is kept so that no other gets its id

    def grid_of(self, tensor: Tensor) -> Grid:
        return self._known[id(tensor)][1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [t for t in tree_leaves(args) if isinstance(t, Tensor) and id(t) in self._known]
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        if read and made:
            # Of several, such as a feature map and the gates of its channels, the one as large as the result.
            source = next((t for t in read if t.shape[2:] == made[0].shape[2:]), read[0])
            grid = _after(func.overloadpacket, args, self.grid_of(source))
            self._known.update({id(t): (t, grid) for t in made})
        return result


def trace(modules: Sequence[nn.Module], image: Tensor) -> list[Grid]:
    """The grid of what each of a chain of modules makes of `image` (1, 3, H, W)."""
    grids = []
    tracer = GridTracer(image)
    with torch.no_grad(), tracer:
        for module in modules:
            image = module(image)
            grids.append(tracer.grid_of(image))
    return grids


def frozen_modules(grids: Sequence[Grid], frozen_stages: int) -> int:
    """How many of a chain's modules are in its first stages, a stage ending where the stride doubles.

    Stage n works at stride 2^n; what comes before, at full resolution, is in stage 1.
    """
    return sum(grid.stride <= 2**frozen_stages for grid in grids) if frozen_stages else 0


def _after(operation: Any, args: tuple[Any, ...], grid: Grid) -> Grid:
    """The grid after one ATen operation on its first argument; read along the height."""
    if operation is aten.convolution:
        _, weight, _, stride, padding, dilation = args[:6]
        return grid.after((weight.shape[2] - 1) * dilation[0] + 1, stride[0], padding[0])
    if operation in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        kernel = args[1]
        stride = args[2] if len(args) > 2 and args[2] else kernel
        padding = args[3] if len(args) > 3 else [0]
        return grid.after(kernel[0], stride[0], padding[0])
    if operation is aten.constant_pad_nd and len(args[1]) == 4:
        return grid.after(kernel=1, stride=1, padding=args[1][2])  # left, right, top, bottom
    return grid
