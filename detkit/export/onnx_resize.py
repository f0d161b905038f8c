"""The resize of detkit as a graph of ONNX's operators, to the last bit that of OpenCV.

cv2.resize interpolates 8-bit images in whole numbers: a px's weights are 2048ths, and sums are cut to fewer bits on
the way. The graph does the same, for all images of a batch at once, each with a scale of its own.

Shapes: B images padded to H x W px, resized to H' x W' px with padding; P proposals an image.
"""

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from detkit.data.pipeline.prepare import LEAST_SIDE, Resize

IMAGES, SIZES, PROPOSALS = "images", "sizes", "proposals"  # the inputs
BITS = 2048  # parts of a px that weights are counted in


def resize_graph(
    resize: Resize, with_proposals: bool, outputs: tuple[str, ...], opset: int, ir_version: int
) -> ModelProto:
    """From stored images to what BatchedDetector takes (export/batched.py), which are `outputs` in its order.

    Inputs: images (B, 3, H, W) uint8, stored images with padding on the right and at the bottom, sizes (B, 2) int64
    without padding, and proposals (B, P, 4) px of the stored images if there are to be any. Outputs: the resized
    images (B, 3, H', W') uint8, padded with zeros; their sizes; the sizes given; the proposals in px of the resized.
    `ir_version`: of ONNX's file format.
    """
    graph = _Graph()
    new_sizes = _new_sizes(graph, resize)
    resized, *rest = outputs
    _resized(graph, new_sizes, resized)
    made = [new_sizes, SIZES]
    if with_proposals:
        made.append(_moved_proposals(graph, new_sizes))
    for name, value in zip(rest, made, strict=True):
        graph.add("Identity", value, name=name)
    given = [("batch", 3, "height", "width"), ("batch", 2), ("batch", "proposals", 4)]
    types = [TensorProto.UINT8, TensorProto.INT64, TensorProto.FLOAT]
    inputs = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip((IMAGES, SIZES, PROPOSALS)[: 2 + with_proposals], types, given)
    ]
    out_types = [TensorProto.UINT8, TensorProto.INT64, TensorProto.INT64, TensorProto.FLOAT]
    out_shapes = [("batch", 3, None, None), ("batch", 2), ("batch", 2), ("batch", "proposals", 4)]
    results = [helper.make_tensor_value_info(*one) for one in zip(outputs, out_types, out_shapes)]
    body = helper.make_graph(graph.nodes, "resize", inputs, results, graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    checker.check_model(model)
    return model


class _Graph:
    """Nodes that are added one by one, each named by a number unless it is given a name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        name = name or f"resize_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any) -> str:
        name = f"resize_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def cast(self, value: str, to: int) -> str:
        return self.add("Cast", value, to=to)

    def along(self, value: str, *axes: int) -> str:
        """With new axes of length 1."""
        return self.add("Unsqueeze", value, self.constant(axes, np.int64))


def _new_sizes(graph: _Graph, resize: Resize) -> str:
    """(B, 2) int64 as Resize has them: sides times the scale, rounded half to even, at least 1."""
    if resize.short_side is None:
        return graph.add("Identity", SIZES)
    axis = graph.constant([1], np.int64)
    shorter = graph.cast(graph.add("ReduceMin", SIZES, axis), TensorProto.DOUBLE)
    longer = graph.cast(graph.add("ReduceMax", SIZES, axis), TensorProto.DOUBLE)
    scale = graph.add(
        "Min",
        graph.add("Div", graph.constant(resize.short_side, np.float64), shorter),
        graph.add("Div", graph.constant(resize.long_side, np.float64), longer),
    )
    sides = graph.add("Round", graph.add("Mul", graph.cast(SIZES, TensorProto.DOUBLE), scale))
    return graph.cast(graph.add("Max", sides, graph.constant(1, np.float64)), TensorProto.INT64)


def _resized(graph: _Graph, new_sizes: str, name: str) -> None:
    rows, columns = _Axis(graph, 0, new_sizes), _Axis(graph, 1, new_sizes)
    by_column = graph.add("Transpose", IMAGES, perm=[0, 3, 1, 2])  # (B, W, 3, H)
    one, other = (graph.cast(columns.gather(by_column, index), TensorProto.INT32) for index in columns.sources)
    parts = (columns.weighted(part, weight) for part, weight in zip((one, other), columns.weights, strict=True))
    sums = graph.add("Add", *parts)  # (B, W', 3, H)
    sums = graph.add("Div", sums, graph.constant(16, np.int32))
    by_row = graph.add("Transpose", sums, perm=[0, 3, 2, 1])  # (B, H, 3, W')
    one, other = (rows.gather(by_row, index) for index in rows.sources)
    parts = (rows.weighted(part, weight) for part, weight in zip((one, other), rows.weights, strict=True))
    one, other = (graph.add("Div", part, graph.constant(1 << 16, np.int32)) for part in parts)
    total = graph.add("Add", graph.add("Add", one, other), graph.constant(2, np.int32))
    whole = graph.add("Div", total, graph.constant(4, np.int32))  # (B, H', 3, W')
    whole = graph.add("Transpose", whole, perm=[0, 2, 1, 3])
    inside = graph.add("Mul", graph.along(rows.inside, 1, 3), graph.along(columns.inside, 1, 2))  # (B, 1, H', W')
    whole = graph.add("Mul", whole, inside)  # padding is 0
    graph.add("Cast", whole, to=TensorProto.UINT8, name=name)


class _Axis:
    """For each place along one side of the resized images the two source px (B, N) and their weights (B, N)."""

    def __init__(self, graph: _Graph, axis: int, new_sizes: str) -> None:
        """`axis`: 0 for rows, 1 for columns."""
        self.graph = graph
        index = graph.constant([axis], np.int64)
        old, new = (graph.add("Gather", sizes, index, axis=1) for sizes in (SIZES, new_sizes))  # (B, 1)
        count = graph.add("Max", graph.add("ReduceMax", new, keepdims=0), graph.constant(LEAST_SIDE, np.int64))
        places = graph.add("Range", graph.constant(0, np.int64), count, graph.constant(1, np.int64))  # (N,)
        self.inside = graph.cast(graph.add("Less", places, new), TensorProto.INT32)
        position, last = self._positions(places, old, new), graph.cast(old, TensorProto.FLOAT)
        last = graph.add("Sub", last, graph.constant(1, np.float32))
        first = graph.add("Floor", position)
        part = graph.add("Sub", position, first)  # of the second px
        zero, one = graph.constant(0, np.float32), graph.constant(1, np.float32)
        if axis == 1:  # OpenCV gives the whole weight to one px at the left and right border, not above and below
            beyond = graph.add("Or", graph.add("Less", first, zero), graph.add("GreaterOrEqual", first, last))
            part = graph.add("Where", beyond, zero, part)
        self.weights = (self._weight(graph.add("Sub", one, part)), self._weight(part))
        second = graph.add("Add", first, one)
        self.sources = tuple(
            graph.cast(graph.add("Max", graph.add("Min", px, last), zero), TensorProto.INT64) for px in (first, second)
        )

    def gather(self, values: str, sources: str) -> str:
        """Of values (B, M, ., .) those at sources (B, N)."""
        return self.graph.add("GatherND", values, self.graph.along(sources, 2), batch_dims=1)

    def weighted(self, values: str, weights: str) -> str:
        """Values (B, N, ., .) times weights (B, N)."""
        return self.graph.add("Mul", values, self.graph.along(weights, 2, 3))

    def _positions(self, places: str, old: str, new: str) -> str:
        """Where the places' middles lie in the stored image, in px from the middle of its first (B, N)."""
        graph, half = self.graph, self.graph.constant(0.5, np.float64)
        old, new, places = (graph.cast(value, TensorProto.DOUBLE) for value in (old, new, places))
        step = graph.add("Div", graph.constant(1, np.float64), graph.add("Div", new, old))
        middles = graph.add("Mul", graph.add("Add", places, half), step)
        return graph.cast(graph.add("Sub", middles, half), TensorProto.FLOAT)

    def _weight(self, part: str) -> str:
        scaled = self.graph.add("Mul", part, self.graph.constant(BITS, np.float32))
        return self.graph.cast(self.graph.add("Round", scaled), TensorProto.INT32)


def _moved_proposals(graph: _Graph, new_sizes: str) -> str:
    """Proposals times width and height after the resize by those before it."""
    new, old = (graph.cast(sizes, TensorProto.DOUBLE) for sizes in (new_sizes, SIZES))
    ratio = graph.cast(graph.add("Div", new, old), TensorProto.FLOAT)  # (B, 2): y, x
    ratio = graph.add("Gather", ratio, graph.constant([1, 0, 1, 0], np.int64), axis=1)
    return graph.add("Mul", PROPOSALS, graph.along(ratio, 1))
