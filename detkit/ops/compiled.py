"""The one place where functions are handed to numba: compiled once, kept on disk, free of the interpreter's lock."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """`function` as machine code; without fastmath, so that every run gives the same bits.

    numba keeps the code beside the source or in the user's cache folder. Where it may write in neither, it refuses
    to cache with a RuntimeError; the function is then compiled anew in each process.
    """
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True)(function))
