"""Deep images: values of more than 8 bits a channel, and the range of them that becomes 0..255.

Thermal cameras, X-ray and microscopes write files of 16 bits whose values use 10 to 14 of them; scaled by the 16, they
are nearly black. So a range is stated, or found from the values: low..high become 0..255 linearly, what is beyond is
clipped. NaN ("no data") becomes 0.
"""

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

DeepRange = tuple[float, float]  # low < high, in the values of the files
# What an image is read by: numbers; None: a range of its own, of which a warning tells; "own": the same without one.
AskedRange = DeepRange | Literal["own"] | None

QUANTILES = (0.001, 0.999)  # what is beyond is glare and dead pixels
SAMPLED = 1 << 14  # values of an image, at most, that a range is found from
_AT_ONCE = 1 << 22  # values scaled at once: some 100 MB
_OWN_RANGE = (
    "images of more than 8 bits a channel are met and no range is known for them: each is scaled by the 0.1% and 99.9% "
    "of its own values, which training and detecting may not share; state one with data.deep_range=[LOW, HIGH]"
)

Values = NDArray[np.float64]  # (K,) finite
Stored = NDArray[Any]  # (H, W, 1 or 3) of integers or floats, as the file has them


def scaled(stored: Stored, asked: AskedRange) -> NDArray[np.uint8]:
    """The image (H, W, 1 or 3) with the range, or its own, as 0..255."""
    if asked is None:
        warnings.warn(_OWN_RANGE, stacklevel=2)  # Python shows it once
    low, high = range_of(sampled(stored)) if asked is None or asked == "own" else asked
    if stored.dtype.itemsize == 2:  # all values there are: a table is exact and needs no more memory
        every = np.arange(1 << 16, dtype=np.uint16)
        table = _scaled(every.view(stored.dtype.newbyteorder("=")), low, high)
        return table[stored.view(np.uint16)]
    result = np.empty(stored.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, stored[0].size))
    for start in range(0, len(stored), rows):
        result[start : start + rows] = _scaled(stored[start : start + rows], low, high)
    return result


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    part = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
    return np.rint(255 * np.nan_to_num(part, nan=0.0)).astype(np.uint8)


def sampled(stored: Stored, limit: int = SAMPLED) -> Values:
    """Its finite values (K,), in an even grid of at most about `limit` values where there are more."""
    step = max(1, int(np.ceil(np.sqrt(stored.size / limit))))
    values = stored[::step, ::step].astype(np.float64).ravel()
    return values[np.isfinite(values)]


def extremes(stored: Stored) -> tuple[float, float]:
    """The least and most of its finite values; 0 where it has none."""
    if not np.issubdtype(stored.dtype, np.integer):
        stored = stored[np.isfinite(stored)]
    return (float(stored.min()), float(stored.max())) if stored.size else (0.0, 0.0)


def range_of(values: Values) -> DeepRange:
    """QUANTILES of the values (K,); of those that are nearly all equal the least and most, and (v, more) of equal."""
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(values, QUANTILES, method="nearest").tolist()
    if low == high:
        low, high = float(values.min()), float(values.max())
    return as_range(low, high)


def as_range(low: float, high: float) -> DeepRange:
    """In six digits, as a config states it, and with low < high."""
    low, high = (float(f"{value:.6g}") for value in (low, high))
    return low, high if low < high else low + max(1.0, abs(low))
