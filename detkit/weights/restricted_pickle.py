"""Pickles of NumPy arrays in plain containers, read by a small machine of our own: nothing in the file is ever called.

A pickle is a program. Python's unpickler runs it, and even with a list of allowed classes it will allocate what the
file claims (a memo of 2^31 entries, a byte array of any length). This machine knows only the opcodes that such data
needs (Python's pickletools describes them, protocols 2 to 5), takes every byte from the file, and answers the few names
that arrays are written with by functions of its own below. All else is refused by name.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # before NumPy 2, and since
NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
PLAIN_TYPE = re.compile(r"[<>|=]?([fiu][1248]|b1)")  # no objects, no texts, no fields
MAX_DIMENSIONS = 32
MAX_STEPS = 3_000_000  # a pickle of a thousand arrays has some 20,000
MARK = object()


class PickleError(ValueError):
    """What is wrong with a pickle; the message has no path."""


def read_pickle(path: Path) -> Any:
    """The dicts, lists, tuples, texts, numbers and arrays in a pickle; texts of Python 2 are read as Latin-1.

    Raises PickleError for anything else; OSError where the file cannot be read.
    """
    try:
        return _Machine(path.read_bytes()).run()
    except PickleError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, StopIteration, struct.error) as error:
        raise PickleError(f"it is damaged or no pickle of arrays ({type(error).__name__})") from error


@dataclass(frozen=True)
class _Name:
    """A class or function that the file asks for: only ever looked up in CALLS."""

    module: str
    name: str


@dataclass
class _Unbuilt:
    """An array or type of numbers that was begun, until BUILD says what it is."""

    kind: str  # "array" or "type"
    code: str = ""  # of a type
    value: Any = None


@dataclass
class _Machine:
    data: bytes
    at: int = 0
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    steps: int = 0
    encoded: int = 0  # bytes made out of texts: without a bound one text could be turned into bytes again and again

    def run(self) -> Any:
        while (code := self.take(1)) != b".":
            step = STEPS.get(code)
            if step is None:
                raise PickleError(f"it has the pickle operation {code!r}, which no weight file needs")
            step(self)
            self.steps += 1
            if self.steps > MAX_STEPS or self.encoded > len(self.data):
                raise PickleError("it asks for more memory than its own size, as no weight file does")
        return _built(self.stack.pop())

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.at:
            raise PickleError(f"it ends early: {count} bytes wanted at {self.at}, it has {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
        text = self.take(end - self.at).decode("utf-8")
        self.at += 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        last = next(i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is MARK)
        values = [_built(value) for value in self.stack[last + 1 :]]
        del self.stack[last:]
        return values

    def pop(self, count: int) -> list[Any]:
        values = [_built(value) for value in self.stack[len(self.stack) - count :]]
        if len(values) != count or any(value is MARK for value in values):
            raise PickleError("it is damaged: its stack runs empty")
        del self.stack[len(self.stack) - count :]
        return values

    def top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise PickleError(f"it fills a {type(self.stack[-1]).__name__} as if it were a {kind.__name__}")
        return self.stack[-1]


def _built(value: Any) -> Any:
    return value.value if isinstance(value, _Unbuilt) and value.value is not None else value


def _set(machine: _Machine, pairs: list[Any]) -> None:
    names = pairs[::2]
    if not all(isinstance(name, str | int | bytes) for name in names):  # Python's hash of a deep tuple would crash
        raise PickleError("it has a dict whose keys are no names")
    machine.top(dict).update(zip(names, pairs[1::2], strict=True))


def _ask(machine: _Machine, module: Any, name: Any) -> None:
    asked = _Name(str(module), str(name))
    if asked not in CALLS and asked not in VALUES:
        raise PickleError(f"it asks for {asked.module}.{asked.name}, which no weight file needs; nothing was run")
    machine.push(VALUES.get(asked, asked))


def _call(machine: _Machine) -> None:
    name, arguments = machine.pop(2)
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise PickleError("it calls what is no function")
    result = CALLS[name](*arguments)
    machine.encoded += len(result) if isinstance(result, bytes) else 0
    machine.push(result)


def _build(machine: _Machine) -> None:
    """Give what was begun its state; attributes of an OrderedDict (torch's _metadata) are left out."""
    begun, state = machine.stack[-2], machine.pop(1)[0]
    match begun:
        case _Unbuilt(kind="array"):
            _, shape, kind, is_fortran, content = state
            begun.value = _array(content, kind, shape, "F" if is_fortran else "C")
        case _Unbuilt(kind="type"):
            order, (subtype, names, fields) = state[1], state[2:5]
            if order not in ("<", ">", "|", "=") or (subtype, names, fields) != (None, None, None):
                raise PickleError("it has an array of something else than numbers")
            begun.value = np.dtype(begun.code).newbyteorder(order)
        case dict():
            return
        case _:
            raise PickleError(f"it sets the state of a {type(begun).__name__}")


# What the names stand for


def _begin_array(kind: Any, *_: Any) -> _Unbuilt:
    if kind is not np.ndarray:
        raise PickleError("it has an array of a class of its own")
    return _Unbuilt("array")


def _begin_type(code: Any, *_: Any) -> _Unbuilt:
    if not isinstance(code, str) or PLAIN_TYPE.fullmatch(code) is None:
        raise PickleError(f"it has an array of {str(code)[:30]!r}, which are no numbers")
    return _Unbuilt("type", code)


def _array(content: Any, kind: Any, shape: Any, order: Any = "C") -> Any:
    """An array on the bytes in the file, never more than those."""
    kind = _type(kind)
    content = content.encode("latin1") if isinstance(content, str) else content  # a short text of Python 2
    is_shape = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not is_shape or len(shape) > MAX_DIMENSIONS or not isinstance(content, bytes):
        raise PickleError("it has an array of something else than numbers")
    numbers = 1
    for side in shape:
        numbers *= side
    if numbers * kind.itemsize != len(content):
        raise PickleError(f"it has an array of shape {shape} with {len(content)} bytes of content")
    return np.frombuffer(content, kind).reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: Any, content: Any) -> Any:
    return _array(content, kind, ())[()]


def _type(kind: Any) -> Any:
    if isinstance(kind, _Unbuilt) and kind.kind == "type":
        return np.dtype(kind.code)  # one byte wide, of which the order need not be said
    if not isinstance(kind, np.dtype):
        raise PickleError("it has an array of something else than numbers")
    return kind


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes as Python 3 writes them for protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleError(f"it asks for the encoding {str(encoding)[:30]!r}, which no weight file needs")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _ordered() -> dict[Any, Any]:
    return {}


VALUES: dict[_Name, Any] = {_Name("numpy", "ndarray"): np.ndarray}  # compared with, never called
CALLS: dict[_Name, Callable[..., Any]] = {
    **{_Name(module, "_reconstruct"): _begin_array for module in MULTIARRAY},
    **{_Name(module, "scalar"): _scalar for module in MULTIARRAY},
    **{_Name(module, "_frombuffer"): _array for module in NUMERIC},  # protocol 5
    _Name("numpy", "dtype"): _begin_type,
    _Name("collections", "OrderedDict"): _ordered,
    _Name("_codecs", "encode"): _encode,
    _Name("__builtin__", "bytes"): _no_bytes,
    _Name("builtins", "bytes"): _no_bytes,
}


# The operations


def _text(machine: _Machine, length: str) -> None:
    machine.push(machine.take(machine.number(length)).decode("utf-8", "surrogatepass"))


def _fetch(machine: _Machine, index: int) -> None:
    machine.push(_built(machine.memo[index]))


def _keep(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _list_add(machine: _Machine, values: list[Any]) -> None:
    machine.top(list).extend(values)


STEPS: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.take(1),  # PROTO
    b"\x95": lambda m: m.take(8),  # FRAME: how much to read ahead
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"J": lambda m: m.push(m.number("<i")),
    b"\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),  # LONG1
    b"G": lambda m: m.push(m.number(">d")),
    b"U": lambda m: m.push(m.take(m.number("<B")).decode("latin1")),  # str of Python 2, a name or a small array
    b"T": lambda m: m.push(m.take(m.number("<i"))),  # longer than 255: never a name, so it stays bytes
    b"\x8c": lambda m: _text(m, "<B"),
    b"X": lambda m: _text(m, "<I"),
    b"\x8d": lambda m: _text(m, "<Q"),
    b"C": lambda m: m.push(m.take(m.number("<B"))),
    b"B": lambda m: m.push(m.take(m.number("<I"))),
    b"\x8e": lambda m: m.push(m.take(m.number("<Q"))),
    b"\x96": lambda m: m.push(m.take(m.number("<Q"))),  # BYTEARRAY8
    b"(": lambda m: m.push(MARK),
    b"0": lambda m: m.stack.pop(),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.push(tuple(m.pop(1))),
    b"\x86": lambda m: m.push(tuple(m.pop(2))),
    b"\x87": lambda m: m.push(tuple(m.pop(3))),
    b"]": lambda m: m.push([]),
    b"a": lambda m: _list_add(m, m.pop(1)),
    b"e": lambda m: _list_add(m, m.pop_to_mark()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: _set(m, m.pop(2)),
    b"u": lambda m: _set(m, m.pop_to_mark()),
    b"q": lambda m: _keep(m, m.number("<B")),
    b"r": lambda m: _keep(m, m.number("<I")),
    b"\x94": lambda m: _keep(m, len(m.memo)),
    b"h": lambda m: _fetch(m, m.number("<B")),
    b"j": lambda m: _fetch(m, m.number("<I")),
    b"c": lambda m: _ask(m, m.line(), m.line()),
    b"\x93": lambda m: _ask(m, *m.pop(2)),
    b"R": _call,
    b"b": _build,
}
