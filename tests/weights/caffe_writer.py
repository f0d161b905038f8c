"""Writes .caffemodel files: protocol buffers by hand, as caffe.proto numbers the fields."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Layers = Mapping[str, Sequence[NDArray[np.float32]]]
TYPES = {"Convolution": 4, "InnerProduct": 14}  # of V1LayerParameter


def varint(value: int) -> bytes:
    out = b""
    value &= 2**64 - 1
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def floats(values: NDArray[np.float32], packed: bool = True, double: bool = False) -> bytes:
    field, kind, wire = (8, "<d", 1) if double else (5, "<f", 5)
    parts = [struct.pack(kind, value) for value in values.ravel()] if not packed else []
    if not packed:
        return b"".join(varint(field << 3 | wire) + part for part in parts)
    return chunk(field, values.astype(kind).tobytes())


def blob(values: NDArray[np.float32], packed: bool = True, double: bool = False) -> bytes:
    return chunk(7, chunk(1, b"".join(varint(d) for d in values.shape))) + floats(values, packed, double)


def old_blob(values: NDArray[np.float32]) -> bytes:
    axes = (1,) * (4 - values.ndim) + values.shape
    return b"".join(number(i, axis) for i, axis in enumerate(axes, start=1)) + floats(values)


def kind_of(blobs: Sequence[NDArray[np.float32]]) -> str:
    return {4: "Convolution", 2: "InnerProduct"}.get(blobs[0].ndim, "BatchNorm") if blobs else "ReLU"


def layer(name: str, blobs: Sequence[NDArray[np.float32]]) -> bytes:
    head = chunk(1, name.encode()) + chunk(2, kind_of(blobs).encode()) + chunk(3, b"bottom")
    return chunk(100, head + b"".join(chunk(7, blob(values)) for values in blobs))


def old_layer(name: str, blobs: Sequence[NDArray[np.float32]]) -> bytes:
    head = chunk(2, b"bottom") + chunk(4, name.encode()) + number(5, TYPES.get(kind_of(blobs), 18))
    return chunk(2, head + b"".join(chunk(6, old_blob(values)) for values in blobs))


def caffemodel(layers: Layers, old: bool = False) -> bytes:
    write = old_layer if old else layer
    relu = write("relu", [])
    return chunk(1, b"net") + relu + b"".join(write(name, blobs) for name, blobs in layers.items()) + relu


def write_caffemodel(path: Path, layers: Layers, old: bool = False) -> Path:
    path.write_bytes(caffemodel(layers, old))
    return path
