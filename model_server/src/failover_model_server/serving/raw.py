"""Raw contents of tensors: numbers in a row, little-endian; texts each after their length in four bytes.

The binary-data extension of the Open Inference Protocol over HTTP, and `raw_input_contents` over gRPC.
"""

import struct
from collections.abc import Sequence

from failover_model_server.errors import InvalidRequest
from failover_model_server.serving.tensors import few

FIXED = {"BOOL": "?", "INT64": "q", "FP32": "f", "FP64": "d"}
"""Struct codes of the types whose elements have one size."""


def unpack(name: str, datatype: str, raw: bytes) -> list[object]:
    """The elements of raw contents; texts as bytes.

    Raises:
        InvalidRequest: an unknown type, contents that end within an element, or too many of them; names the tensor.
    """
    if datatype == "BYTES":
        return _texts(name, raw)
    if datatype not in FIXED:
        raise InvalidRequest(f"inputs: {name} is of the type {datatype!r}; allowed are BYTES, {', '.join(FIXED)}")
    form = struct.Struct("<" + FIXED[datatype])
    few(name, len(raw) // form.size)
    if len(raw) % form.size:
        raise InvalidRequest(f"raw contents: {name} has {len(raw)} bytes, not a multiple of {form.size}")
    return [cell for (cell,) in form.iter_unpack(raw)]


def _texts(name: str, raw: bytes) -> list[object]:
    found: list[object] = []
    place = 0
    while place < len(raw):
        end = place + 4 + int.from_bytes(raw[place : place + 4], "little")
        if end > len(raw):
            raise InvalidRequest(f"raw contents: {name} ends within an element")
        found.append(raw[place + 4 : end])
        few(name, len(found))
        place = end
    return found


def pack(datatype: str, data: Sequence[object]) -> bytes:
    """Elements as raw contents."""
    if datatype != "BYTES":
        return struct.pack(f"<{len(data)}{FIXED[datatype]}", *data)
    encoded = (cell if isinstance(cell, bytes) else str(cell).encode() for cell in data)
    return b"".join(len(cell).to_bytes(4, "little") + cell for cell in encoded)


def text(name: str, cell: object) -> object:
    """An element, as text where it is bytes.

    Raises:
        InvalidRequest: not UTF-8.
    """
    if not isinstance(cell, bytes):
        return cell
    try:
        return cell.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"inputs: {name} is not UTF-8") from None
