"""Reads the weights in a .caffemodel without Caffe: a protocol-buffer message NetParameter (caffe.proto).

Only what holds weights is read: the layers, old (V1, `layers`) and new (`layer`), with name, type and blobs. A message
is a row of fields, each a tag (field number and wire type) and a value; everything else in it is skipped unread. The
levels net, layer, blob and shape are gone through one by one, so no nesting in a file can be too deep.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 are groups, which caffe.proto does not use
MAX_VARINT = 10  # bytes of 64 bits, 7 each
MAX_AXES = 32  # Caffe: kMaxBlobAxes
MAX_NAME = 500  # bytes of the name of a net, a layer or a type
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}  # of V1LayerParameter.LayerType

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CaffeModel:
    """The net's name and, by name, the type and the blobs of each layer that has any."""

    name: str
    layers: dict[str, tuple[str, list[Floats]]]


def read_caffemodel(path: Path) -> CaffeModel:
    """All weights in `path`. Raises ValueError, naming the file and the byte, for what is no whole .caffemodel."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty, expected a .caffemodel")
    data = np.memmap(path, dtype=np.uint8, mode="r").data
    try:
        return _net(_Message(data, 0, "the net"))
    except _Damage as damage:
        raise ValueError(f"{path}: not a whole .caffemodel: {damage}") from None


class _Damage(Exception):
    """What is wrong in the file, and where."""


@dataclass(frozen=True)
class _Field:
    number: int
    wire: int
    at: int  # where its value begins in the message
    value: memoryview  # of a number: the bytes it is written in
    end: int  # where the next field begins


@dataclass(frozen=True)
class _Message:
    data: memoryview
    start: int  # of the message in the file, for errors
    what: str

    def damage(self, problem: str, position: int) -> _Damage:
        return _Damage(f"{self.what}: {problem} at byte {self.start + position}")

    def fields(self) -> Iterator[_Field]:
        position = 0
        while position < len(self.data):
            field = self.field(position)
            yield field
            position = field.end

    def field(self, position: int) -> _Field:
        tag, at = self.varint(position)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise self.damage("a field with number 0", position)
        match wire:
            case 0:  # VARINT
                end = self.varint(at)[1]
            case 1 | 5:  # FIXED64, FIXED32
                end = at + (8 if wire == FIXED64 else 4)
            case 2:  # BYTES
                length, at = self.varint(at)
                end = at + length
            case _:
                raise self.damage(f"wire type {wire}, which Caffe does not use,", position)
        if end > len(self.data):
            raise self.damage(f"field {number} ends {end - len(self.data)} bytes behind what is there", position)
        return _Field(number, wire, at, self.data[at:end], end)

    def varint(self, position: int) -> tuple[int, int]:
        """An unsigned number and the position behind it."""
        value = 0
        for i, byte in enumerate(self.data[position : position + MAX_VARINT]):
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value & (2**64 - 1), position + i + 1
        raise self.damage("a number that does not end", position)

    def text(self, field: _Field) -> str:
        try:
            text = bytes(field.value[: MAX_NAME + 1]).decode()
        except UnicodeDecodeError:
            raise self.damage("a name that is no text", field.at) from None
        if len(field.value) > MAX_NAME or not text.isprintable():
            raise self.damage(f"a name of {len(field.value)} bytes or that cannot be printed", field.at)
        return text

    def part(self, field: _Field, what: str) -> "_Message":
        return _Message(field.value, self.start + field.at, what)


def _net(message: _Message) -> CaffeModel:
    name = ""
    layers: dict[str, tuple[str, list[Floats]]] = {}
    for field in message.fields():
        if (field.number, field.wire) == (1, BYTES):
            name = message.text(field)
        elif field.number in (2, 100) and field.wire == BYTES:
            layer, kind, blobs = _layer(message.part(field, "a layer"), is_old=field.number == 2)
            if blobs and layer in layers:
                raise message.damage(f"a second layer {layer!r} with weights", field.at)
            if blobs:
                layers[layer] = (kind, blobs)
    if not layers:
        raise _Damage("there are no layers with weights in it")
    return CaffeModel(name, layers)


def _layer(message: _Message, is_old: bool) -> tuple[str, str, list[Floats]]:
    """Name, type and blobs; V1LayerParameter numbers its fields otherwise, and its types."""
    name_field, type_field, blob_field = (4, 5, 6) if is_old else (1, 2, 7)
    name, kind = "", ""
    found: list[_Field] = []
    for field in message.fields():
        if field.number == name_field and field.wire == BYTES:
            name = message.text(field)
        elif field.number == type_field and field.wire == BYTES and not is_old:
            kind = message.text(field)
        elif field.number == type_field and field.wire == VARINT and is_old:
            code = message.varint(field.at)[0]
            kind = V1_TYPES.get(code, f"V1 type {code}")
        elif field.number == blob_field and field.wire == BYTES:
            found.append(field)
    if found and not name:
        raise message.damage("weights of a layer without a name", 0)
    return name, kind, [_blob(message.part(f, f"blob {i} of {name}"), kind, i) for i, f in enumerate(found)]


def _blob(message: _Message, kind: str, index: int) -> Floats:
    values: list[Floats] = []
    shape: tuple[int, ...] | None = None
    old_shape: dict[int, int] = {}  # num, channels, height, width are fields 1 to 4
    position = 0
    while position < len(message.data):
        run, position = _unpacked(message, position)
        if len(run):
            values.append(run)
            continue
        field = message.field(position)
        match field.number, field.wire:
            case ((5 | 8), 2):
                values.append(_packed(message, field))
            case 7, 2:
                shape = _dims(message.part(field, message.what))
            case ((1 | 2 | 3 | 4), 0):
                old_shape[field.number] = message.varint(field.at)[0]
        position = field.end
    numbers = np.concatenate(values) if len(values) != 1 else values[0]
    shape = shape if shape is not None else _four_axes(old_shape, kind, index)
    if math.prod(shape) != len(numbers):
        raise message.damage(f"{len(numbers)} numbers for a shape of {list(shape)}", 0)
    return numbers.reshape(shape)


def _packed(message: _Message, field: _Field) -> Floats:
    width = 4 if field.number == 5 else 8  # data, double_data
    if len(field.value) % width:
        raise message.damage(f"{len(field.value)} bytes of numbers of {width} bytes each", field.at)
    return np.frombuffer(field.value, f"<f{width}").astype(np.float32)


def _unpacked(message: _Message, position: int) -> tuple[Floats, int]:
    """The numbers from `position` on that are written as a field each, and the position behind them."""
    for tag, width in ((5 << 3 | FIXED32, 4), (8 << 3 | FIXED64, 8)):
        rows = (len(message.data) - position) // (1 + width)
        if message.data[position] != tag or not rows:
            continue
        table = np.frombuffer(message.data[position : position + rows * (1 + width)], np.uint8).reshape(rows, -1)
        others = np.flatnonzero(table[:, 0] != tag)
        count = int(others[0]) if len(others) else rows
        numbers = np.ascontiguousarray(table[:count, 1:]).view(f"<f{width}").ravel()
        return numbers.astype(np.float32), position + count * (1 + width)
    return np.zeros(0, np.float32), position


def _dims(message: _Message) -> tuple[int, ...]:
    """BlobShape: dim, packed or not."""
    dims: list[int] = []
    for field in message.fields():
        position = field.at
        while field.number == 1 and field.wire in (VARINT, BYTES) and position < field.end:
            dim, position = message.varint(position)
            dims.append(dim)
            if len(dims) > MAX_AXES:
                raise message.damage(f"a shape of more than {MAX_AXES} axes", position)
    return tuple(dims)


def _four_axes(sizes: dict[int, int], kind: str, index: int) -> tuple[int, ...]:
    """The shape of an old file's blob: always four axes, of which a bias uses the last and fc weights the last two."""
    axes = tuple(sizes.get(i, 1) for i in range(1, 5))
    wanted = 1 if index else (2 if kind == "InnerProduct" else 4)
    spare = axes[: 4 - wanted]
    return axes[len(spare) :] if all(axis == 1 for axis in spare) else axes
