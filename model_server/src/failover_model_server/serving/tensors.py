"""Requests and responses as tensors of the Open Inference Protocol: one element of each tensor is one request.

Both its HTTP and its gRPC form end here. The specification is at https://github.com/kserve/open-inference-protocol.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from failover_model_server.errors import InvalidRequest
from failover_model_server.tasks.base import Task, Tensor

MOST_ELEMENTS = 64
"""Requests in one call; each takes a place in the queue."""
ELSEWHERE = frozenset({"classification", "shared_memory_region"})
"""Parameters of a tensor that change what a client reads as the answer; others, as the `content_type` of MLServer's clients, do not."""

NO_FIELDS = frozenset({"priority"})
"""Parameters of a request that change no answer: there is one queue, and tritonclient sends them."""


@dataclass(frozen=True, slots=True)
class Values:
    """A tensor with its data, flat."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Sequence[object]


def requests(task: Task[Any, Any], tensors: Sequence[Values], parameters: Mapping[str, object]) -> list[BaseModel]:
    """The requests that the tensors hold; parameters are fields that all of them share.

    Raises:
        InvalidRequest: a tensor is missing, unknown, of another type or shape, or a value is not allowed.
    """
    declared = {tensor.field: tensor for tensor in task.inputs}
    columns: dict[str, Sequence[object]] = {}
    for tensor in tensors:
        if tensor.name not in declared:
            raise InvalidRequest(f"inputs: no input {tensor.name!r}; there are {', '.join(declared)}")
        if tensor.name in columns:
            raise InvalidRequest(f"inputs: {tensor.name} is there twice")
        _check(tensor, declared[tensor.name])
        columns[tensor.name] = tensor.data
    counts = {len(data) for data in columns.values()}
    if len(counts) != 1:
        raise InvalidRequest("inputs: give at least one, and all of the same length")
    count = counts.pop()
    parameters = {name: value for name, value in parameters.items() if name not in NO_FIELDS}
    unknown = set(parameters) - set(task.request.model_fields)
    if unknown:
        raise InvalidRequest(f"parameters: no {', '.join(sorted(unknown))}; there are {', '.join(task.request.model_fields)}")
    rows = [{**parameters, **{name: data[i] for name, data in columns.items()}} for i in range(count)]
    try:
        return [task.request.model_validate(row) for row in rows]
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise InvalidRequest("; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details[:10])) from None


def refuse_elsewhere(where: str, name: str, parameters: Iterable[str]) -> None:
    """Check that a tensor is in the message itself, as it is.

    Args:
        where: "inputs" or "outputs".
        name: of the tensor.
        parameters: names of the tensor's.

    Raises:
        InvalidRequest: Triton's extensions would have it in shared memory, or its best classes instead of it. A client that asks for one
            takes what it finds there for the answer.
    """
    for parameter in sorted(ELSEWHERE.intersection(parameters)):
        raise InvalidRequest(f"{where}: {name}: {parameter} is not supported here")


def few(name: str, count: int) -> None:
    """Check the number of elements of a tensor, before they are read.

    Raises:
        InvalidRequest: there are too many.
    """
    if count > MOST_ELEMENTS:
        raise InvalidRequest(f"inputs: {name} has {count} elements; at most {MOST_ELEMENTS}")


def _check(tensor: Values, declared: Tensor) -> None:
    if tensor.datatype != declared.datatype:
        raise InvalidRequest(f"inputs: {tensor.name} is {declared.datatype}, not {tensor.datatype}")
    shape = tensor.shape
    if not shape or any(size < 1 for size in shape) or any(size != 1 for size in shape[1:]):
        raise InvalidRequest(f"inputs: {tensor.name} has the shape [n] or [n, 1], not {list(shape)}")
    if math.prod(shape) != len(tensor.data):
        raise InvalidRequest(f"inputs: {tensor.name} has {len(tensor.data)} elements, its shape {math.prod(shape)}")
    few(tensor.name, len(tensor.data))


def outputs(task: Task[Any, Any], answers: Sequence[BaseModel], wanted: Sequence[str]) -> list[Values]:
    """The tensors of the answers; those in `wanted`, or all if it is empty.

    Raises:
        InvalidRequest: there is no such output, or one is wanted twice.
    """
    declared = {tensor.field: tensor for tensor in task.outputs}
    unknown = set(wanted) - set(declared)
    if unknown:
        raise InvalidRequest(f"outputs: no {', '.join(sorted(unknown))}; there are {', '.join(declared)}")
    if len(set(wanted)) != len(wanted):  # each would be the whole output again
        raise InvalidRequest("outputs: one of them is there twice")
    chosen = [declared[name] for name in wanted] or list(task.outputs)
    return [Values(tensor.field, tensor.datatype, (len(answers),), [_cell(answer, tensor) for answer in answers]) for tensor in chosen]


def _cell(answer: BaseModel, tensor: Tensor) -> object:
    value = answer.model_dump(mode="json")[tensor.field]
    return json.dumps(value) if tensor.datatype == "BYTES" and not isinstance(value, str) else value
