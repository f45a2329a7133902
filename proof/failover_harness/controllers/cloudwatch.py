"""Answers KEDA's CloudWatch requests: the newest sum of a unit's counter. moto lacks the protocol of KEDA's SDK for CloudWatch.

It decodes requests and encodes answers with botocore's model of CloudWatch and its codec of that protocol (Smithy RPC v2 CBOR).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from failover_harness.controllers.front import Answer, Front
from failover_testbed.aws.server import EmulatedAws

_PROTOCOL: Final = "smithy-rpc-v2-cbor"
_CBOR: Final = "application/cbor"
_OPERATION: Final = "GetMetricData"
_COUNTED: Final = re.compile(r'SUM\("([^"]+)"\)')


@dataclass(frozen=True, slots=True)
class Refused:
    """An error with which CloudWatch answers every request: HTTP status, error code and text."""

    status: int
    code: str
    text: str


DENIED: Final = Refused(
    403, "AccessDenied", "User: arn:aws:sts::123456789012:assumed-role/keda is not authorized to perform: cloudwatch:GetMetricData"
)


@dataclass
class Metrics:
    """The data of CloudWatch; may change at any time.

    Attributes:
        values: The sum of the newest period by metric; other metrics have no data.
        refused: The error of every request, if set.
        asked: The requested metrics.
    """

    values: dict[str, float] = field(default_factory=dict)
    refused: Refused | None = None
    asked: set[str] = field(default_factory=set)


class CloudWatchFront(Front):
    """KEDA's CloudWatch endpoint.

    Args:
        aws: See `Front`.
        metrics: The data of CloudWatch.
    """

    headers = MappingProxyType({"smithy-protocol": "rpc-v2-cbor"})

    def __init__(self, aws: EmulatedAws, metrics: Metrics) -> None:
        super().__init__(aws)
        self._metrics = metrics
        model = ServiceModel(Loader().load_service_model("cloudwatch", "service-2"))
        operation = model.operation_model(_OPERATION)
        self._input, self._parser = operation.input_shape, create_parser(_PROTOCOL)
        # botocore only encodes requests, so an operation whose input is this one's output encodes the answer.
        self._answer = OperationModel({"name": _OPERATION, "http": {}, "input": {"shape": operation.output_shape.name}}, model)
        self._serializer = create_serializer(_PROTOCOL, include_validation=False)

    def own(self, action: str, form: Mapping[str, str]) -> Answer | None:
        """See the base class."""
        return None

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """See the base class."""
        if not path.endswith(f"/operation/{_OPERATION}"):
            return super().answer(path, headers, body)
        asked = self._parser.parse({"status_code": 200, "headers": self.headers, "body": body}, self._input)
        queries = {one["Id"]: _COUNTED.findall(one.get("Expression", "")) for one in asked["MetricDataQueries"]}
        self._metrics.asked.update(name for names in queries.values() for name in names)
        if (refused := self._metrics.refused) is not None:
            return refused.status, _CBOR, _failure(refused.code, refused.text)
        results = [self._result(identity, names, asked["StartTime"]) for identity, names in queries.items()]
        written = self._serializer.serialize_to_request({"MetricDataResults": results, "Messages": []}, self._answer)
        return 200, _CBOR, bytes(written["body"])

    def _result(self, identity: str, names: list[str], start: object) -> dict[str, Any]:
        values = [self._metrics.values[name] for name in names if name in self._metrics.values]
        return {"Id": identity, "Label": identity, "StatusCode": "Complete", "Values": values, "Timestamps": [start] * len(values)}


def _failure(code: str, text: str) -> bytes:
    """Encodes an error: a map of two texts."""
    return b"\xa2" + b"".join(_text(one) for one in ("__type", code, "message", text))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">BH", 0x79, len(encoded)) + encoded
