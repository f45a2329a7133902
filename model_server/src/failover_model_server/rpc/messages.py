"""The messages of the Open Inference Protocol over gRPC, built from a table at import.

No generated code: that would tie the distribution to one release of protobuf, and the images of the accelerators bring different ones.
Field numbers and names are those of the Open Inference Protocol's `open_inference_grpc.proto`.
"""

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "bool": Field.TYPE_BOOL,
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "uint32": Field.TYPE_UINT32,
    "uint64": Field.TYPE_UINT64,
    "float": Field.TYPE_FLOAT,
    "double": Field.TYPE_DOUBLE,
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
}

INFERENCE = "inference"
"""Package of the Open Inference Protocol."""
OPEN_INFERENCE_SERVICE = f"{INFERENCE}.GRPCInferenceService"
CHOICE = "InferParameter"
"""The message with fields of which there is one."""
POOL = descriptor_pool.DescriptorPool()
"""What is known of these services, for those that ask the server for it."""

# name, number, type; "*" for repeated; "parameters" for a map from text to InferParameter; a name with a capital is a message.
_TENSOR = ("name:1 string", "datatype:2 string", "shape:3 *int64")
OPEN_INFERENCE: dict[str, tuple[str, ...]] = {
    CHOICE: (
        "bool_param:1 bool",
        "int64_param:2 int64",
        "string_param:3 string",
        "double_param:4 double",
        "uint64_param:5 uint64",
    ),
    "InferTensorContents": (
        "bool_contents:1 *bool",
        "int_contents:2 *int32",
        "int64_contents:3 *int64",
        "uint_contents:4 *uint32",
        "uint64_contents:5 *uint64",
        "fp32_contents:6 *float",
        "fp64_contents:7 *double",
        "bytes_contents:8 *bytes",
    ),
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("live:1 bool",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("ready:1 bool",),
    "ModelReadyRequest": ("name:1 string", "version:2 string"),
    "ModelReadyResponse": ("ready:1 bool",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("name:1 string", "version:2 string", "extensions:3 *string"),
    "ModelMetadataRequest": ("name:1 string", "version:2 string"),
    "ModelMetadataResponse": (
        "name:1 string",
        "versions:2 *string",
        "platform:3 string",
        "inputs:4 *ModelMetadataResponse.TensorMetadata",
        "outputs:5 *ModelMetadataResponse.TensorMetadata",
    ),
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": (
        "model_name:1 string",
        "model_version:2 string",
        "id:3 string",
        "parameters:4 map",
        "inputs:5 *ModelInferRequest.InferInputTensor",
        "outputs:6 *ModelInferRequest.InferRequestedOutputTensor",
        "raw_input_contents:7 *bytes",
    ),
    "ModelInferRequest.InferInputTensor": (*_TENSOR, "parameters:4 map", "contents:5 InferTensorContents"),
    "ModelInferRequest.InferRequestedOutputTensor": ("name:1 string", "parameters:2 map"),
    "ModelInferResponse": (
        "model_name:1 string",
        "model_version:2 string",
        "id:3 string",
        "parameters:4 map",
        "outputs:5 *ModelInferResponse.InferOutputTensor",
        "raw_output_contents:6 *bytes",
    ),
    "ModelInferResponse.InferOutputTensor": (*_TENSOR, "parameters:4 map", "contents:5 InferTensorContents"),
}


class Method(NamedTuple):
    """A unary method: its request and response classes."""

    request: Any
    response: Any


def _build(methods: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Classes by name of the messages in the table; the service is described by the full names of what its methods take and return."""
    proto = descriptor_pb2.FileDescriptorProto(name="failover_model_server/open_inference.proto", package=INFERENCE, syntax="proto3")
    messages: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in OPEN_INFERENCE.items():
        outer, _, inner = name.partition(".")
        message = messages[outer].nested_type.add(name=inner) if inner else proto.message_type.add(name=outer)
        messages[name] = message
        if name == CHOICE:
            message.oneof_decl.add(name="parameter_choice")
        for field in fields:
            _add(message, name, field)
    described = proto.service.add(name=OPEN_INFERENCE_SERVICE.rpartition(".")[2])
    for name, (request, response) in methods.items():
        described.method.add(name=name, input_type=f".{request}", output_type=f".{response}")
    POOL.Add(proto)
    return {name: message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{INFERENCE}.{name}")) for name in OPEN_INFERENCE}


def _add(message: descriptor_pb2.DescriptorProto, owner: str, field: str) -> None:
    label, kind = field.split(" ")
    name, number = label.split(":")
    repeated = kind.startswith("*") or kind == "map"
    added = message.field.add(name=name, number=int(number), label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL)
    kind = kind.removeprefix("*")
    if owner == CHOICE:
        added.oneof_index = 0
    if kind in SCALARS:
        added.type = SCALARS[kind]
        return
    added.type = Field.TYPE_MESSAGE
    if kind == "map":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
        entry.field.add(name="value", number=2, type=Field.TYPE_MESSAGE, type_name=f".{INFERENCE}.{CHOICE}", label=Field.LABEL_OPTIONAL)
        kind = f"{owner}.ParametersEntry"
    added.type_name = f".{INFERENCE}.{kind}"


_NAMES = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
MESSAGES = _build({name: (f"{INFERENCE}.{name}Request", f"{INFERENCE}.{name}Response") for name in _NAMES})


def message(kind: str, /, **fields: Any) -> Message:
    """A message of the Open Inference Protocol."""
    built: Message = MESSAGES[kind](**fields)
    return built


METHODS = {name: Method(MESSAGES[f"{name}Request"], MESSAGES[f"{name}Response"]) for name in _NAMES}
