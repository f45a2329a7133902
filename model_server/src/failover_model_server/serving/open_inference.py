"""What the HTTP and the gRPC form of the Open Inference Protocol share."""

import asyncio
from collections.abc import Sequence

from pydantic import BaseModel

from failover_model_server.errors import InputTooLarge, NoSuchModel
from failover_model_server.serving.service import Service

VERSION = "1"


class TensorMetadata(BaseModel):
    """Name, type and shape; -1 is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The model's inputs and outputs."""

    name: str
    versions: list[str] = [VERSION]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def check_model(service: Service, name: str, number: str = "") -> None:
    """Check that a request names the one model and version that this process serves.

    Raises:
        NoSuchModel: it names another one.
    """
    if name != service.settings.app or number not in {"", VERSION}:
        raise NoSuchModel(f"there is no such model here; there is {service.settings.app}, version {VERSION}")


def metadata(service: Service) -> ModelMetadata:
    """What clients need to know to build a request."""
    task = service.task
    return ModelMetadata(
        name=service.settings.app,
        platform=f"{task.name}-{service.settings.backend}",
        inputs=[TensorMetadata(name=tensor.field, datatype=tensor.datatype, shape=[-1]) for tensor in task.inputs],
        outputs=[TensorMetadata(name=tensor.field, datatype=tensor.datatype, shape=[-1]) for tensor in task.outputs],
    )


async def infer_all(service: Service, bodies: Sequence[BaseModel], seconds: float | None) -> list[BaseModel]:
    """All of them side by side; where one fails, the first error stands for all and the others are given up.

    Raises:
        InputTooLarge: more than the queue ever holds: another try would fail the same way.
    """
    if len(bodies) > service.settings.max_queue:
        raise InputTooLarge(f"inputs: {len(bodies)} elements; at most {service.settings.max_queue}, which is what the queue holds")
    running = [asyncio.ensure_future(service.infer(body, seconds)) for body in bodies]
    try:
        return list(await asyncio.gather(*running))
    finally:
        for task in running:
            task.cancel()
