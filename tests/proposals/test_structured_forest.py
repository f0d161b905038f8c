"""Structured forest: a model file written here, OpenCV beside it where it can be had, and files that are amiss."""

import gzip
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from detkit.proposals.edge_boxes import edge_boxes
from detkit.proposals.forest_features import channels, luv, triangle
from detkit.proposals.structured_forest import StructuredForest, WrongForest

OPTIONS = {
    "stride": 2,
    "shrinkNumber": 2,
    "patchSize": 32,
    "patchInnerSize": 16,
    "numberOfGradientOrientations": 4,
    "gradientSmoothingRadius": 0,
    "regFeatureSmoothingRadius": 2,
    "ssFeatureSmoothingRadius": 8,
    "gradientNormalizationRadius": 4,
    "selfsimilarityGridSize": 5,
    "numberOfTrees": 8,
    "numberOfTreesToEvaluate": 4,
}
REGULAR, SIMILAR = 16 * 16 * 13, 300 * 13  # features of each kind: 16 x 16 cells, 25 * 24 / 2 pairs, 13 channels


def yaml(tables: dict[str, list[list[float]]], options: dict[str, int] = OPTIONS) -> str:
    lines = ["%YAML:1.0", "options:", *(f"   {key}: {value}" for key, value in options.items())]
    for key, trees in tables.items():
        lines.append(f"{key}:")
        for tree in trees:
            numbers = [f"{value:.8e}" if isinstance(value, float) else str(value) for value in tree]
            rows = [", ".join(numbers[i : i + 12]) for i in range(0, len(numbers), 12)]
            lines.append("   - [ " + ",\n       ".join(rows) + " ]")
    return "\n".join(lines) + "\n"


def random_tables(depth: int = 3, seed: int = 0) -> dict[str, list[list[float]]]:
    random = np.random.default_rng(seed)
    nodes, splits = 2 ** (depth + 1) - 1, 2**depth - 1
    tables: dict[str, list[list[float]]] = {
        key: [] for key in ("childs", "featureIds", "thresholds", "edgeBoundaries", "edgeBins")
    }
    total = 0
    for _ in range(OPTIONS["numberOfTrees"]):
        features = [int(random.integers(0, REGULAR + SIMILAR)) if k < splits else 0 for k in range(nodes)]
        tables["childs"].append([2 * k + 2 if k < splits else 0 for k in range(nodes)])
        tables["featureIds"].append([*features])
        tables["thresholds"].append([float(random.normal(0.2 if f < REGULAR else 0, 0.05)) for f in features])
        bounds: list[float] = []
        bins: list[float] = []
        for k in range(nodes):
            count = int(random.integers(3, 30)) if k >= splits else 0
            bounds += [total, total + count]
            bins += random.integers(0, 256, count).tolist()
            total += count
        tables["edgeBoundaries"].append(bounds)
        tables["edgeBins"].append(bins)
    tables["edgeBoundaries"][-1].append(total)
    return tables


def bright_center_tables() -> dict[str, list[list[float]]]:
    """Trees of one question, whether the lightness in the patch's middle is at least 0.1; if so, bin 7 is edge."""
    middle = 8 * 16 + 8  # column 8, row 8 of channel 0
    trees = OPTIONS["numberOfTrees"]
    return {
        "childs": [[2, 0, 0]] * trees,
        "featureIds": [[middle, 0, 0]] * trees,
        "thresholds": [[0.1, 0.0, 0.0]] * trees,
        "edgeBoundaries": [[t, t, t, t, t, t + 1] for t in range(trees - 1)] + [[7, 7, 7, 7, 7, 8, 8]],
        "edgeBins": [[7]] * trees,
    }


@pytest.fixture
def forest_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.yml.gz"
    path.write_bytes(gzip.compress(yaml(random_tables()).encode()))
    return path


def noisy_image(height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(1).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def test_one_question_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "model.yml"
    path.write_text(yaml(bright_center_tables()))
    forest = StructuredForest.load(path)
    white, black = np.full((48, 64, 3), 255, np.uint8), np.zeros((48, 64, 3), np.uint8)
    assert forest.edges(black).max() == 0
    edges = forest.edges(white)
    # Bin 7 is row 7, column 0 of the inner patch. Each patch, one in two px both ways, has 4 votes of
    # 2 * 2^2 / 16^2 / 4 there: 1 / 32 on a pixel in four, which the last smoothing, (1 2 1) / 4, spreads evenly.
    assert edges[12:36, 4:44] == pytest.approx(np.full((24, 40), 1 / 128), rel=1e-5)
    assert edges[:6].max() == 0  # rows that no patch's row 7 comes to
    half = white.copy()
    half[:, 32:] = 0
    columns = np.nonzero(forest.edges(half).max(axis=0))[0]
    assert columns.min() <= 1
    # Patches with a bright middle, 8 px right of the inner patch's first column; smoothing adds a cell or so.
    assert 32 - 8 - 4 <= columns.max() <= 32 - 8 + 4


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 83), (40, 301)])
def test_as_opencv(forest_file: Path, height: int, width: int) -> None:
    if not hasattr(cv2, "ximgproc"):
        pytest.skip("needs opencv-contrib-python")
    image = noisy_image(height, width)
    theirs = cv2.ximgproc.createStructuredEdgeDetection(str(forest_file)).detectEdges(image.astype(np.float32) / 255)
    ours = StructuredForest.load(forest_file).edges(image)
    off = np.abs(np.minimum(theirs, 1) - ours)
    # A feature that equals its threshold but for rounding goes the other way in a few patches.
    assert (off > 1e-4).mean() < 0.02
    assert off.max() < 0.05


def test_an_edge_detector(forest_file: Path) -> None:
    forest, image = StructuredForest.load(forest_file), noisy_image(70, 90)
    edges, orientation = forest(image)
    assert edges.shape == orientation.shape == (70, 90)
    assert edges.dtype == orientation.dtype == np.float32
    assert 0 < edges.max() <= 1 and edges.min() == 0
    assert orientation.min() >= 0 and orientation.max() < np.float32(math.pi)
    boxes, scores = edge_boxes(image, forest)
    assert boxes.shape == (len(scores), 4)
    assert np.array_equal(edges, forest(image)[0])


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (16, 16), (17, 33)])
def test_small_images(forest_file: Path, shape: tuple[int, int]) -> None:
    edges, orientation = StructuredForest.load(forest_file)(np.full((*shape, 3), 99, np.uint8))
    assert edges.shape == orientation.shape == shape


@pytest.mark.parametrize(
    ("key", "node", "value", "message"),
    [
        ("childs", 0, 99, "childs"),  # beyond the tree
        ("childs", 2, 2, "childs"),  # to itself: a tree without end
        ("featureIds", 0, REGULAR + SIMILAR, "featureIds"),
        ("edgeBoundaries", -1, 10**6, "edgeBoundaries"),
        ("edgeBins", 0, -1, "edgeBins"),
    ],
)
def test_tables_that_lead_astray(tmp_path: Path, key: str, node: int, value: int, message: str) -> None:
    tables = bright_center_tables()
    if node == -1:
        tables[key][-1][5] = value
    else:
        tables[key][0] = [value if k == node else old for k, old in enumerate(tables[key][0])]
    if (key, node) == ("childs", 2):
        tables[key][0] = [2, 0, 2]
    path = tmp_path / "model.yml"
    path.write_text(yaml(tables))
    with pytest.raises(WrongForest, match=message):
        StructuredForest.load(path)


def test_files_that_are_no_forest(tmp_path: Path) -> None:
    good = yaml(bright_center_tables())
    wrong = {
        "options has no whole number stride": good.replace("   stride: 2\n", ""),
        "0 featureIds": good.replace("featureIds:", "ids:"),
        "numberOfTrees": good.replace("numberOfTreesToEvaluate: 4", "numberOfTreesToEvaluate: 9"),
        "is no list of numbers": good.replace("edgeBins:\n   - [ 7 ]", "edgeBins:\n   - [ seven ]"),
    }
    for message, text in wrong.items():
        assert text != good
        path = tmp_path / "model.yml"
        path.write_text(text)
        with pytest.raises(WrongForest, match=message):
            StructuredForest.load(path)
    for data in (gzip.compress(good.encode())[:60], b"\xff\xd8\xff\xe0"):
        path.write_bytes(data)
        with pytest.raises(WrongForest, match="not the YAML"):
            StructuredForest.load(path)


def test_triangle() -> None:
    impulse = np.zeros((9, 9), np.float32)
    impulse[4, 4] = 1
    assert triangle(impulse, 0) is impulse
    assert triangle(impulse, 1)[4].tolist() == pytest.approx([0, 0, 0, 1 / 8, 1 / 4, 1 / 8, 0, 0, 0])
    row = np.array([0, 0, 1, 2, 3, 2, 1, 0, 0]) / 9
    assert triangle(impulse, 2) == pytest.approx(np.outer(row, row))


def test_luv_and_the_channels() -> None:
    white = luv(np.ones((1, 1, 3), np.float32))[0, 0]
    assert white.tolist() == pytest.approx([100 / 270, 88 / 270, 134 / 270], abs=2e-3)  # L 100, u and v 0
    black = luv(np.zeros((1, 1, 3), np.float32))[0, 0]
    assert black.tolist() == pytest.approx([0, 88 / 270, 134 / 270])
    found = channels(np.ones((20, 30, 3), np.float32), shrink=2, orientations=4, smoothing=0, normalization=4)
    assert found.shape == (10, 15, 13)
    assert np.abs(found[..., 3:]).max() == 0  # no gradient
