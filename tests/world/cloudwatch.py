"""What KEDA asks CloudWatch, answered: the newest sum of a unit's counter. moto does not speak the protocol that KEDA's SDK speaks there.

Requests and answers are read and written by botocore's own model of CloudWatch and its own codec of that protocol (Smithy RPC v2 CBOR).
"""

from __future__ import annotations

import re
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

_PROTOCOL: Final = "smithy-rpc-v2-cbor"
_HEADERS: Final = {"smithy-protocol": "rpc-v2-cbor"}
_OPERATION: Final = "GetMetricData"
_COUNTED: Final = re.compile(r'SUM\("([^"]+)"\)')


@dataclass(frozen=True, slots=True)
class Refused:
    """How CloudWatch refuses every question: an HTTP status, an error code and its text."""

    status: int
    code: str
    text: str


DENIED: Final = Refused(
    403, "AccessDenied", "User: arn:aws:sts::123456789012:assumed-role/keda is not authorized to perform: cloudwatch:GetMetricData"
)


@dataclass
class Metrics:
    """What CloudWatch has. Change it at any time.

    Attributes:
        values: The sum of the newest period, by metric; a metric that is not here has no data.
        refused: Set while every question is refused.
        asked: Metrics that were asked for.
    """

    values: dict[str, float] = field(default_factory=dict)
    refused: Refused | None = None
    asked: set[str] = field(default_factory=set)


class CloudWatchFront:
    """The endpoint that KEDA is given for CloudWatch. Use it as a context manager.

    Args:
        metrics: What it answers.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        model = ServiceModel(Loader().load_service_model("cloudwatch", "service-2"))
        operation = model.operation_model(_OPERATION)
        self._input, self._parser = operation.input_shape, create_parser(_PROTOCOL)
        # botocore writes requests alone: an operation whose input is this one's output writes the answer.
        self._answer = OperationModel({"name": _OPERATION, "http": {}, "input": {"shape": operation.output_shape.name}}, model)
        self._serializer = create_serializer(_PROTOCOL, include_validation=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="cloudwatch-front", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = front.answer(self.path, body)
                self.send_response(status)
                for name, value in {**_HEADERS, "Content-Type": "application/cbor", "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

        return Handler

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to one call."""
        if not path.endswith(f"/operation/{_OPERATION}"):
            return 400, _failure("UnsupportedOperation", f"not emulated: {path}")
        asked = self._parser.parse({"status_code": 200, "headers": _HEADERS, "body": body}, self._input)
        queries = {one["Id"]: _COUNTED.findall(one.get("Expression", "")) for one in asked["MetricDataQueries"]}
        self._metrics.asked.update(name for names in queries.values() for name in names)
        if (refused := self._metrics.refused) is not None:
            return refused.status, _failure(refused.code, refused.text)
        results = [self._result(identity, names, asked["StartTime"]) for identity, names in queries.items()]
        written = self._serializer.serialize_to_request({"MetricDataResults": results, "Messages": []}, self._answer)
        return 200, bytes(written["body"])

    def _result(self, identity: str, names: list[str], start: object) -> dict[str, Any]:
        values = [self._metrics.values[name] for name in names if name in self._metrics.values]
        return {"Id": identity, "Label": identity, "StatusCode": "Complete", "Values": values, "Timestamps": [start] * len(values)}


def _failure(code: str, text: str) -> bytes:
    """An error as the protocol has it: a map of two texts."""
    return b"\xa2" + b"".join(_cbor(one) for one in ("__type", code, "message", text))


def _cbor(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">BH", 0x79, len(encoded)) + encoded
