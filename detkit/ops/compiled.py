"""The one place where functions are handed to numba: compiled once, kept on disk, free of the interpreter's lock.

numba takes a second to import, so a function is handed over when it is called for the first time.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """`function` as machine code; without fastmath, so that every run gives the same bits.

    numba keeps the code beside the source or in the user's cache folder. Where it may write in neither, it refuses
    to cache with a RuntimeError; the function is then compiled anew in each process.
    """
    return cast(F, _Compiled(function))


class _Compiled:
    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *arguments: object) -> object:
        return self._machine_code(*arguments)

    @cached_property
    def _machine_code(self) -> Any:
        import numba

        # numba looks up by name what the function calls, and knows its own functions only.
        names = self._function.__globals__
        for name in self._function.__code__.co_names:
            if isinstance(names.get(name), _Compiled):
                names[name] = names[name]._machine_code
        try:
            return numba.njit(cache=True, nogil=True)(self._function)
        except RuntimeError:
            return numba.njit(nogil=True)(self._function)
