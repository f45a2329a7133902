"""The Open Inference Protocol v2 over gRPC: the same requests, results and errors as over HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.message import Message

from failover_model_server.errors import InvalidRequest
from failover_model_server.lifecycle import ALIVE, State
from failover_model_server.rpc.messages import METHODS, OPEN_INFERENCE_SERVICE, message
from failover_model_server.serving.open_inference import VERSION, check_model, infer_all, metadata
from failover_model_server.serving.raw import pack, text, unpack
from failover_model_server.serving.service import Service
from failover_model_server.serving.tensors import Values, few, outputs, refuse_elsewhere, requests

CONTENTS = {
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
Answer = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]


def handler(service: Service) -> grpc.GenericRpcHandler:
    """The service `inference.GRPCInferenceService`."""
    answers = _Answers(service)
    methods: Mapping[str, Answer] = {
        "ServerLive": answers.server_live,
        "ServerReady": answers.server_ready,
        "ModelReady": answers.model_ready,
        "ServerMetadata": answers.server_metadata,
        "ModelMetadata": answers.model_metadata,
        "ModelInfer": answers.model_infer,
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=METHODS[name].request.FromString,
            response_serializer=METHODS[name].response.SerializeToString,
        )
        for name, answer in methods.items()
    }
    return grpc.method_handlers_generic_handler(OPEN_INFERENCE_SERVICE, handlers)


class _Answers:
    """One method for each of the protocol's."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def server_live(self, _: Message, __: object) -> Message:
        return message("ServerLiveResponse", live=self._service.lifecycle.state in ALIVE)

    async def server_ready(self, _: Message, __: object) -> Message:
        return message("ServerReadyResponse", ready=self._ready)

    async def model_ready(self, request: Any, _: object) -> Message:
        check_model(self._service, request.name, request.version)
        return message("ModelReadyResponse", ready=self._ready)

    async def server_metadata(self, _: Message, __: object) -> Message:
        return message("ServerMetadataResponse", name="failover-model-server", version=version("failover-model-server"))

    async def model_metadata(self, request: Any, _: object) -> Message:
        check_model(self._service, request.name, request.version)
        return message("ModelMetadataResponse", **metadata(self._service).model_dump())

    async def model_infer(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        check_model(self._service, request.model_name, request.model_version)
        task = self._service.task
        for one in request.outputs:
            refuse_elsewhere("outputs", one.name, one.parameters)
        wanted = [one.name for one in request.outputs]
        outputs(task, [], wanted)  # refuse an unknown output before the model runs
        shared = {
            name: getattr(value, value.WhichOneof("parameter_choice") or "string_param") for name, value in request.parameters.items()
        }
        rows = requests(task, _tensors(request), shared)
        answers = await infer_all(self._service, rows, context.time_remaining())
        found = outputs(task, answers, wanted)
        raw = bool(request.raw_input_contents)  # who sends raw contents reads them
        return message(
            "ModelInferResponse",
            model_name=self._service.settings.app,
            model_version=VERSION,
            id=request.id,
            outputs=[_message(values, raw=raw) for values in found],
            raw_output_contents=[pack(values.datatype, values.data) for values in found] if raw else [],
        )

    @property
    def _ready(self) -> bool:
        return self._service.lifecycle.state is State.READY


def _tensors(request: Any) -> list[Values]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequest(f"raw_input_contents: {len(raw)} for {len(request.inputs)} inputs")
    found = []
    for number, tensor in enumerate(request.inputs):
        refuse_elsewhere("inputs", tensor.name, tensor.parameters)
        if tensor.datatype not in CONTENTS:
            raise InvalidRequest(f"inputs: {tensor.name} is of the type {tensor.datatype!r}; allowed are {', '.join(CONTENTS)}")
        name, datatype = tensor.name, tensor.datatype
        if not raw:
            few(name, len(getattr(tensor.contents, CONTENTS[datatype])))
        data = unpack(name, datatype, raw[number]) if raw else list(getattr(tensor.contents, CONTENTS[datatype]))
        found.append(Values(name, datatype, tuple(tensor.shape), [text(name, cell) for cell in data]))
    return found


def _message(values: Values, *, raw: bool) -> Message:
    """A tensor of the answer; without its contents where those are raw."""
    described = {"name": values.name, "datatype": values.datatype, "shape": values.shape}
    if raw:
        return message("ModelInferResponse.InferOutputTensor", **described)
    data = [cell.encode() if isinstance(cell, str) else cell for cell in values.data]
    contents = message("InferTensorContents", **{CONTENTS[values.datatype]: data})
    return message("ModelInferResponse.InferOutputTensor", **described, contents=contents)
