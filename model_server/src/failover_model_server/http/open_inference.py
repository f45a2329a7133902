"""The Open Inference Protocol v2 over HTTP."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from failover_model_server.http import binary
from failover_model_server.http.probes import probe
from failover_model_server.http.requests import timeout, unless_gone
from failover_model_server.lifecycle import ALIVE, State
from failover_model_server.serving.open_inference import VERSION, ModelMetadata, check_model, infer_all, metadata
from failover_model_server.serving.service import Service
from failover_model_server.serving.tensors import outputs, refuse_elsewhere, requests
from failover_model_server.tasks.base import MOST_FIELDS

MODELS = "/v2/models/"
"""What the paths of models begin with."""
Parameters = Annotated[dict[str, str | int | float | bool], Field(max_length=MOST_FIELDS)]
MOST_TENSORS: Final = 100
"""Inputs, outputs and dimensions of a request. No task has as many."""


class InputTensor(BaseModel):
    """A tensor of a request; its data flat or nested as its shape says."""

    name: str
    shape: Annotated[list[int], Field(fail_fast=True, max_length=MOST_TENSORS)]
    datatype: str
    parameters: Parameters = {}
    data: list[Any] | None = None
    """Left out where `parameters.binary_data_size` says how many bytes after the JSON are the tensor's."""


class OutputWanted(BaseModel):
    """An output that the client asks for."""

    name: str
    parameters: Parameters = {}


class InferenceRequest(BaseModel):
    """One element of each tensor is one inference; `parameters` are fields that all share."""

    id: str | None = None
    parameters: Parameters = {}
    inputs: Annotated[list[InputTensor], Field(fail_fast=True, min_length=1, max_length=MOST_TENSORS)]
    outputs: Annotated[list[OutputWanted], Field(fail_fast=True, max_length=MOST_TENSORS)] = []


class OutputTensor(BaseModel):
    """A tensor of a response."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    """The result, in the order of the request."""

    model_name: str
    model_version: str = VERSION
    id: str | None = None
    outputs: list[OutputTensor]


class ServerMetadata(BaseModel):
    """The server."""

    name: str = "failover-model-server"
    version: str
    extensions: list[str] = ["binary_tensor_data"]


class ProtocolError(BaseModel):
    """The protocol's form of an error."""

    error: str


ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProtocolError, "description": text}
    for code, text in {
        400: "An input is missing or wrong.",
        404: "There is no such model or version.",
        413: "Too large.",
        415: "Of an unknown Content-Encoding.",
        422: "The body does not match the schema.",
        429: "The queue is full; see Retry-After.",
        500: "The model failed.",
        503: "Not ready; see Retry-After.",
        504: "No result before the deadline.",
    }.items()
}


BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": InferenceRequest.model_json_schema()}}}
}
"""The request for the OpenAPI document: the route reads it itself."""


def routes(service: Service) -> APIRouter:
    """Everything under `/v2`."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])
    _server_routes(service, router)
    _model_routes(service, router)
    return router


def _server_routes(service: Service, router: APIRouter) -> None:
    @router.get("")
    async def server() -> ServerMetadata:
        """The server's metadata."""
        return ServerMetadata(version=version("failover-model-server"))

    @probe(router, "/health/live", responses={503: {"description": "Not alive."}})
    async def live() -> JSONResponse:
        """Alive, as `/health` has it."""
        alive = service.lifecycle.state in ALIVE
        return JSONResponse({"live": alive}, 200 if alive else 503)

    @probe(router, "/health/ready", responses={503: {"description": "Not ready."}})
    async def ready() -> JSONResponse:
        """Ready, as `/readiness` has it."""
        is_ready = service.lifecycle.state is State.READY
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


def _model_routes(service: Service, router: APIRouter) -> None:
    """The protocol's paths of a model, each with and without a version."""

    def check(name: str, number: str) -> None:
        check_model(service, name, number)

    def check_name(name: str) -> None:
        check_model(service, name)

    async def model() -> ModelMetadata:
        """Names, types and shapes of inputs and outputs."""
        return metadata(service)

    async def ready(name: str) -> JSONResponse:
        """Whether the model is ready."""
        is_ready = service.lifecycle.state is State.READY
        return JSONResponse({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    async def infer(request: Request) -> Response:
        """Run the model on every element of the inputs; JSON of any or no Content-Type, with the binary-data extension."""
        return await _infer(service, request)

    forms: dict[str, Callable[..., None]] = {"/models/{name}": check_name, "/models/{name}/versions/{number}": check}
    for prefix, known in forms.items():
        one = APIRouter(prefix=prefix, dependencies=[Depends(known)])
        one.get("", responses={404: ERRORS[404]})(model)
        one.get("/ready", responses={404: ERRORS[404], 503: {"description": "Not ready."}})(ready)
        one.post("/infer", responses={**ERRORS, 200: {"model": InferenceResponse}}, openapi_extra=BODY)(infer)
        router.include_router(one)


async def _infer(service: Service, request: Request) -> Response:
    body, tensors = binary.read(InferenceRequest, request.headers.get(binary.HEADER), await request.body())
    for one in body.outputs:
        refuse_elsewhere("outputs", one.name, one.parameters)
    wanted = [one.name for one in body.outputs]
    outputs(service.task, [], wanted)  # refuse an unknown output before the model runs
    shared = {name: value for name, value in body.parameters.items() if name != binary.ALL_OUTPUTS}
    rows = requests(service.task, tensors, shared)
    answers = await unless_gone(request, infer_all(service, rows, timeout(request.headers)))
    found = outputs(service.task, answers, wanted)
    packed = binary.wanted(body.parameters, {one.name: one.parameters for one in body.outputs}, [values.name for values in found])
    answer = InferenceResponse(
        model_name=service.settings.app,
        id=body.id,
        outputs=[binary.described(OutputTensor, values, raw=values.name in packed) for values in found],
    )
    return binary.response(answer, [values for values in found if values.name in packed])
