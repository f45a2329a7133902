"""Bodies of the Open Inference Protocol over HTTP, with its binary-data extension: JSON first, then the bytes of tensors.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from failover_model_server.errors import InvalidRequest, cut
from failover_model_server.serving.raw import pack, text, unpack
from failover_model_server.serving.tensors import Values, few, refuse_elsewhere

HEADER = "Inference-Header-Content-Length"
"""How many bytes of the body are JSON; without it all are."""
SIZE = "binary_data_size"
"""Parameter of a tensor: the bytes after the JSON that are its."""
OUTPUT = "binary_data"
"""Parameter of a wanted output: answer it in binary."""
ALL_OUTPUTS = "binary_data_output"
"""Parameter of a request: answer those outputs in binary that do not say otherwise."""

MOST_DIGITS = 18
"""Of the header's value. Python reads no number of more than 4,300 digits."""

BodyT = TypeVar("BodyT", bound=BaseModel)


def read(model: type[BodyT], length: str | None, content: bytes) -> tuple[BodyT, list[Values]]:
    """The request and its tensors.

    Args:
        model: of the JSON; has `inputs`.
        length: the header's value.
        content: the whole body.

    Raises:
        InvalidRequest: the header, a size or raw contents are wrong.
        RequestValidationError: the JSON does not match the model.
    """
    head = len(content) if length is None else _number(length)
    if not 0 <= head <= len(content):
        raise InvalidRequest(f"{HEADER}: {cut(length or '', 100)!r} is no part of {len(content)} bytes")
    try:
        body: Any = model.model_validate_json(content[:head])
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False, include_context=False)) from None
    tensors, place = [], head
    for tensor in body.inputs:
        refuse_elsewhere("inputs", tensor.name, tensor.parameters)
        size = tensor.parameters.get(SIZE)
        if size is None:
            data = _flat(tensor.name, tensor.data)
        elif isinstance(size, int) and 0 <= size <= len(content) - place:
            data = unpack(tensor.name, tensor.datatype, content[place : place + size])
            place += size
        else:
            raise InvalidRequest(f"inputs: {tensor.name}: {SIZE} is {size!r}; {len(content) - place} bytes are left")
        tensors.append(Values(tensor.name, tensor.datatype, tuple(tensor.shape), [text(tensor.name, cell) for cell in data]))
    if place != len(content):
        raise InvalidRequest(f"inputs: {len(content) - place} bytes after the JSON belong to no tensor")
    return body, tensors


def _number(text: str) -> int:
    """The value of digits; -1 where it is none, or longer than that of any body."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else -1


def _flat(name: str, data: Sequence[Any] | None) -> list[Any]:
    """The elements of data that may be nested by one level: deeper shapes are refused anyway.

    Raises:
        InvalidRequest: there are too many.
    """
    few(name, sum(len(row) if isinstance(row, list) else 1 for row in data or ()))
    return [cell for row in data or () for cell in (row if isinstance(row, list) else [row])]


def wanted(parameters: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> set[str]:
    """The outputs that the client wants in binary.

    Args:
        parameters: of the request.
        asked: those of each output that it names.
        names: of all outputs.
    """
    usual = bool(parameters.get(ALL_OUTPUTS, False))
    return {name for name in names if asked.get(name, {}).get(OUTPUT, usual)}


def described(model: type[BodyT], values: Values, *, raw: bool) -> BodyT:
    """A tensor of the answer, with its data or with the size of its raw contents."""
    found = {"name": values.name, "shape": list(values.shape), "datatype": values.datatype}
    contents = {"parameters": {SIZE: len(pack(values.datatype, values.data))}} if raw else {"data": list(values.data)}
    return model.model_validate({**found, **contents})


def response(answer: BaseModel, raw: Sequence[Values]) -> Response:
    """The answer, followed by the raw contents of these tensors."""
    head = answer.model_dump_json(exclude_none=True).encode()
    if not raw:
        return Response(head, media_type="application/json")
    content = b"".join([head, *(pack(values.datatype, values.data) for values in raw)])
    return Response(content, media_type="application/octet-stream", headers={HEADER: str(len(head))})
