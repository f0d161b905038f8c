"""Edge maps for EdgeBoxes: thin edges and their orientation, from colour gradients at two scales.

Shapes: H, W the image. An orientation is the direction across the edge, an angle in [0, pi): 0 is a vertical contour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

FloatMap = NDArray[np.float32]

ROUNDING = 1e-6  # of an interpolated edge


class EdgeDetector(Protocol):
    @property
    def name(self) -> str: ...

    def __call__(self, image: NDArray[np.uint8]) -> tuple[FloatMap, FloatMap]:
        """RGB (H, W, 3) -> thin edges (H, W) in 0..1 and the direction across them (H, W), an angle in [0, pi)."""
        ...


@dataclass(frozen=True)
class GradientEdges:
    """Edges where Lab colour changes most, without a trained part.

    The defaults are those with the best recall on 40 photos of COCO train2017 (docs/results/proposals/README.md).
    """

    name: str = "gradient"
    sigmas: Sequence[float] = (1.0, 2.0)  # px, of the Gaussians before the gradient; each scale counts alike
    smoothing: float = 1.0  # px, of the Gaussian over the structure tensor, which steadies the orientation
    full_percentile: float = 99.0  # the gradient at this percentile of the image ...
    full_edge: float = 0.7  # ... becomes an edge of this magnitude, and all beyond 1 is 1
    least_contrast: float = (
        0.02  # of the Lab range: where that percentile is less (photos have 0.2 to 0.4), this stands
    )

    def __call__(self, image: NDArray[np.uint8]) -> tuple[FloatMap, FloatMap]:
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
        xx, yy, xy = np.zeros((3, *image.shape[:2]), np.float32)
        for sigma in self.sigmas:
            smooth = cv2.GaussianBlur(lab, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
            # Gradients shrink as the scale grows; times sigma, a step is as strong at every scale (Lindeberg 1998).
            dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=sigma / 8, borderType=cv2.BORDER_REFLECT)
            dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=sigma / 8, borderType=cv2.BORDER_REFLECT)
            xx, yy, xy = xx + (dx * dx).sum(-1), yy + (dy * dy).sum(-1), xy + (dx * dy).sum(-1)
        xx, yy, xy = (cv2.GaussianBlur(part, (0, 0), self.smoothing) for part in (xx, yy, xy))
        # The structure tensor's larger eigenvalue and its direction (Di Zenzo 1986).
        magnitude = np.sqrt((xx + yy + np.sqrt((xx - yy) ** 2 + 4 * xy * xy)) / 2)
        orientation = half_turn(np.arctan2(2 * xy, xx - yy) / 2)
        full = max(float(np.percentile(magnitude, self.full_percentile)), self.least_contrast)
        return thin(np.minimum(magnitude * (self.full_edge / full), 1), orientation), orientation


def half_turn(angle: FloatMap) -> FloatMap:
    """The same direction as an angle in [0, pi)."""
    turned = np.mod(angle, np.float32(np.pi)).astype(np.float32)
    turned[turned >= np.float32(np.pi)] = 0  # a tiny negative angle comes out as pi itself
    return turned


def thin(edges: FloatMap, orientation: FloatMap, reach: int = 1) -> FloatMap:
    """`edges` (H, W), 0 where a larger value lies within `reach` px across the edge."""
    height, width = edges.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across_x, across_y = np.cos(orientation), np.sin(orientation)
    top = np.ones(edges.shape, bool)
    for distance in (d for step in range(1, reach + 1) for d in (-step, step)):
        beside = cv2.remap(
            edges, x + distance * across_x, y + distance * across_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        top &= edges >= beside - ROUNDING
    return np.where(top, edges, 0).astype(np.float32)
