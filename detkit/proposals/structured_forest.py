"""Structured forest edges (Dollar & Zitnick 2013): trees that look at a patch and answer with its edges.

Reads the model file of OpenCV's ximgproc (model.yml.gz). T trees of K nodes each; a node's feature below its
threshold leads to node child - 1, else to child; child 0 is a leaf, which holds places in the patch that are edge.
"""

import gzip
import re
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled
from detkit.proposals.edge_map import FloatMap, half_turn, thin
from detkit.proposals.forest_features import channels, triangle

Ints = NDArray[np.int32]

ORIENTATION_RADIUS = 4  # px of the triangle before the edge map's second derivatives (published code)
THIN_REACH = 2  # px (published code of EdgeBoxes)


class WrongForest(ValueError):
    """The file holds no structured forest that can be used."""


@dataclass(frozen=True)
class ForestOptions:
    """The model file's `options`, under the names they have there; lengths in px."""

    stride: int
    shrinkNumber: int  # noqa: N815
    patchSize: int  # noqa: N815
    patchInnerSize: int  # noqa: N815
    numberOfGradientOrientations: int  # noqa: N815
    gradientSmoothingRadius: int  # noqa: N815
    regFeatureSmoothingRadius: int  # noqa: N815
    ssFeatureSmoothingRadius: int  # noqa: N815
    gradientNormalizationRadius: int  # noqa: N815
    selfsimilarityGridSize: int  # noqa: N815
    numberOfTrees: int  # noqa: N815
    numberOfTreesToEvaluate: int  # noqa: N815

    @property
    def cells(self) -> int:
        """Cells along a patch's side."""
        return self.patchSize // self.shrinkNumber

    @property
    def channels(self) -> int:
        return 3 + 2 * (1 + self.numberOfGradientOrientations)


@dataclass(frozen=True)
class StructuredForest:
    """An EdgeDetector that was trained; `load` reads one."""

    options: ForestOptions
    child: Ints  # (T K,) within the tree
    feature: Ints  # (T K,)
    threshold: FloatMap  # (T K,)
    first: Ints  # (T K,): a leaf's edges are bins[first:last], places in the inner patch, column by column
    last: Ints  # (T K,)
    bins: Ints
    name: str = "structured forest"

    @classmethod
    def load(cls, path: Path) -> "StructuredForest":
        """The forest in a model.yml.gz or model.yml. WrongForest, a ValueError, says what is amiss with the file."""
        text = _text(path)
        options = ForestOptions(**{field.name: _option(text, field.name, path) for field in fields(ForestOptions)})
        child, feature, bounds, bins = (
            _numbers(text, key, path).astype(np.int32) for key in ("childs", "featureIds", "edgeBoundaries", "edgeBins")
        )
        threshold = _numbers(text, "thresholds", path).astype(np.float32)
        if not len(child) or len(child) != len(feature) or len(child) != len(threshold):
            raise WrongForest(f"{path}: {len(child)} childs, {len(feature)} featureIds, {len(threshold)} thresholds")
        stride = (len(bounds) - 1) // len(child)  # OpenCV's rule: several bounds a node, of which two are read
        if stride < 1:
            raise WrongForest(f"{path}: {len(bounds)} edgeBoundaries for {len(child)} nodes")
        starts = np.arange(len(child)) * stride
        forest = cls(options, child, feature, threshold, bounds[starts], bounds[starts + 1], bins)
        _check(forest, path)
        return forest

    def __call__(self, image: NDArray[np.uint8]) -> tuple[FloatMap, FloatMap]:
        edges = self.edges(image)
        # Across a ridge its second derivative is the least: half a turn from the Hessian's larger eigenvector.
        smooth = triangle(edges, ORIENTATION_RADIUS)
        xx, xy, yy = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((2, 0), (1, 1), (0, 2)))
        orientation = half_turn(np.arctan2(2 * xy, xx - yy) / 2 + np.float32(np.pi / 2))
        return thin(edges, orientation, THIN_REACH), orientation

    def edges(self, image: NDArray[np.uint8]) -> FloatMap:
        """RGB (H, W, 3) -> how likely each pixel is an edge, (H, W) in 0..1; broad, not thin."""
        o = self.options
        pad = (o.patchSize - o.patchInnerSize) // 2
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT).astype(np.float32) / np.float32(255)
        if min(padded.shape[:2]) < max(o.patchSize, 2 * o.shrinkNumber):
            return np.zeros(image.shape[:2], np.float32)
        features = channels(
            padded,
            o.shrinkNumber,
            o.numberOfGradientOrientations,
            o.gradientSmoothingRadius,
            o.gradientNormalizationRadius,
        )
        regular = triangle(features, round(o.regFeatureSmoothingRadius / o.shrinkNumber))
        similar = triangle(features, round(o.ssFeatureSmoothingRadius / o.shrinkNumber))
        layout = (o.stride, o.shrinkNumber, o.patchSize, o.patchInnerSize, o.numberOfTrees, o.numberOfTreesToEvaluate)
        forest = (self.child, self.feature, self.threshold, self.first, self.last, self.bins)
        votes = np.zeros(image.shape[:2], np.float32)
        _predict(votes, regular, similar, _pairs(o), layout, forest)
        votes *= 2 * o.stride**2 / o.patchInnerSize**2 / o.numberOfTreesToEvaluate
        return np.minimum(triangle(votes, 1), 1)


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise WrongForest(f"{path}: not the YAML of a structured forest, or cut short: {error}") from error


def _option(text: str, key: str, path: Path) -> int:
    found = re.search(rf"^\s+{key}:\s*(\d+)\.?\s*$", text, re.MULTILINE)
    if found is None:
        raise WrongForest(f"{path}: options has no whole number {key}")
    return int(found[1])


def _numbers(text: str, key: str, path: Path) -> NDArray[np.float64]:
    """All numbers of a list of lists, one after another: the trees follow each other."""
    found = re.search(rf"^{key}:(.*?)(?=^\w|\Z|^\.\.\.)", text, re.MULTILINE | re.DOTALL)
    lists = re.findall(r"\[([^\[\]]*)\]", found[1]) if found else []
    try:
        return np.array([value for one in lists for value in one.split(",") if value.strip()], np.float64)
    except ValueError as error:
        raise WrongForest(f"{path}: {key} is no list of numbers: {error}") from error


def _check(forest: StructuredForest, path: Path) -> None:
    """Everything that reading beyond a table's end, or a tree without end, could come from."""
    o = forest.options
    nodes = np.arange(len(forest.child)) % max(len(forest.child) // max(o.numberOfTrees, 1), 1)
    num_features = o.channels * (o.cells**2 + _num_pairs(o))
    split = forest.child > 0
    wrong = {
        "options of 0": min(o.stride, o.shrinkNumber, o.patchInnerSize, o.numberOfGradientOrientations) < 1,
        "no cell in a patch": o.cells < 1 or o.patchSize < o.patchInnerSize or o.selfsimilarityGridSize < 1,
        "numberOfTrees": not 1 <= o.numberOfTreesToEvaluate <= o.numberOfTrees,
        "trees of unlike length": len(forest.child) % max(o.numberOfTrees, 1) > 0,
        "childs": bool((forest.child[split] <= nodes[split] + 1).any() or (forest.child > nodes.max()).any()),
        "featureIds": bool((forest.feature[split] < 0).any() or (forest.feature[split] >= num_features).any()),
        "edgeBoundaries": bool((forest.first < 0).any() or (forest.last > len(forest.bins)).any()),
        "edgeBins": bool((forest.bins < 0).any()),
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise WrongForest(f"{path}: {what}: no structured forest that can be evaluated ({o})")


def _num_pairs(o: ForestOptions) -> int:
    """Pairs of self-similarity cells of one channel."""
    cells = o.selfsimilarityGridSize**2
    return cells * (cells - 1) // 2


def _pairs(o: ForestOptions) -> Ints:
    """The self-similarity features (F, 5): channel, row and column of the one cell, row and column of the other."""
    grid, half = o.selfsimilarityGridSize, round(o.cells / (2 * o.selfsimilarityGridSize))
    place = [int((i + 1) * (o.cells + 2 * half - 1) / (grid + 1) - half + 0.5) for i in range(grid)]
    rows = [
        (channel, place[one % grid], place[one // grid], place[other % grid], place[other // grid])
        for channel in range(o.channels)
        for one in range(grid**2)
        for other in range(one + 1, grid**2)
    ]
    return np.array(rows, np.int32).reshape(-1, 5)


@compiled
def _predict(
    votes: FloatMap,
    regular: FloatMap,
    similar: FloatMap,
    pairs: Ints,
    layout: tuple[int, int, int, int, int, int],
    forest: tuple[Ints, Ints, FloatMap, Ints, Ints, Ints],
) -> None:
    """Adds to `votes` (H, W) one vote for each place that a tree's leaf takes for an edge."""
    stride, shrink, patch, inner, num_trees, num_evaluated = layout
    child, feature, threshold, first, last, bins = forest
    cells, nodes = patch // shrink, len(child) // num_trees
    num_regular = cells * cells * regular.shape[2]
    last_top = min(regular.shape[0] * shrink - patch - 1, votes.shape[0] - inner)
    last_left = min(regular.shape[1] * shrink - patch - 1, votes.shape[1] - inner)
    for i in range(last_top // stride + 1):
        for j in range(last_left // stride + 1):
            top, left = i * stride // shrink, j * stride // shrink
            for k in range(num_evaluated):
                # Patches side by side ask different trees (section 3.2).
                root = ((i + j) % (2 * num_evaluated) + k) % num_trees * nodes
                node = root
                while child[node] != 0:
                    f = feature[node]
                    if f < num_regular:
                        place = f % (cells * cells)
                        value = regular[top + place % cells, left + place // cells, f // (cells * cells)]
                    else:
                        channel, row, column, other_row, other_column = pairs[f - num_regular]
                        value = similar[top + row, left + column, channel]
                        value -= similar[top + other_row, left + other_column, channel]
                    node = root + child[node] - (1 if value < threshold[node] else 0)
                for b in range(first[node], last[node]):
                    place = bins[b] % (inner * inner)
                    votes[i * stride + place % inner, j * stride + place // inner] += 1
