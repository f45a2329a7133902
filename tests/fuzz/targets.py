"""The parsers, each with what it is given where all is well, and the errors that it may raise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import click

from controller.catalog.loader import Source, parse_applications
from controller.cli.common import seconds
from controller.clock import format_rfc3339, parse_rfc3339
from controller.documents import check, read_documents
from controller.errors import ConfigError, Unavailable
from controller.foreign import decode, decode_page
from controller.notifiers.redact import Redactor
from controller.notifiers.slack_threads import _read
from controller.policy.fleet import SLOTS
from controller.policy.model import Damping, DemandHistory, FloorMemory, Memory, Mode, ModeChange, NotedDemand, Outcome, ScalerWrite
from controller.policy.reasons import Reason
from controller.recording.lines import LineError, Recorded, decided, definition, encode
from controller.recording.stored import CodecError
from controller.recording.stored import decode as decode_memory
from controller.recording.stored import encode as encode_memory
from controller.routing.conclusion import conclude
from controller.routing.conditions import conditions_of, json_of, merged
from controller.routing.ingress.action import format_action, parse_action
from controller.routing.ingress.read import observe as observe_ingress
from controller.service.application_status import json_object
from controller.service.http import Answer, _Request
from controller.service.known_alerts import stored_alerts
from controller.settings import Settings
from controller.signals.classify import classify_refusal, limited_pools, unavailable_pools
from controller.signals.fleet_answers import read_answer
from controller.signals.karpenter_metrics import GAUGE, NoGaugeError, UnusableError
from controller.signals.karpenter_metrics import parse as parse_metrics
from controller.signals.load_balancer.rules import rules_by_conditions
from controller.signals.price_list import hourly_price
from failover_analysis.replay.decoder import Decoder
from failover_setup.breaking_point.accelerator import _parsed
from tests.policy.support import proven
from tests.signals.hostile import APP, World, objects
from tests.signals.samples import ACCOUNT, ICE, REGION, fleet_record, ice_message
from tests.support.applications import COST_TARGETS, NOW, memory, snapshot
from tools.fuzzing import Target


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _of(*kinds: str) -> list[bytes]:
    return [json.dumps(obj).encode() for kind, obj in objects() if kind in kinds]


def _delivered(*kinds: str) -> Callable[[bytes], object]:
    """Decodes an object and delivers it as each of some kinds to a view, and takes a snapshot of it."""

    def run(raw: bytes) -> None:
        obj = decode(raw)
        if isinstance(obj, dict):
            world = World()
            for kind in kinds:
                world.give(kind, obj)
            conclude(Memory(), world.snapshot())

    return run


def _page(raw: bytes) -> None:
    """A page that passes is decoded in both ways to the same."""
    found: list[object] = []
    page = decode_page(raw, found.append)
    whole = decode(raw)
    if isinstance(page, dict) and isinstance(whole.get("items"), list):
        assert found == whole["items"]


def _page_of(*kinds: str) -> bytes:
    return json.dumps({"kind": "List", "items": [obj for kind, obj in objects() if kind in kinds], "metadata": {}}).encode()


def _ingress(raw: bytes) -> None:
    obj = decode(raw)
    observe_ingress(APP, obj if isinstance(obj, dict) else None)


def _recorded(raw: bytes) -> None:
    decoder = Decoder()
    decoder.decode(_DEFINITION)
    decoder.decode(raw)


def _settings(raw: bytes) -> None:
    for document in read_documents(raw, "settings.yaml"):
        check(Settings, document, together=False)


def _conditions(raw: bytes) -> None:
    value = json_of(_text(raw))
    merged(conditions_of(value))
    rules_by_conditions([{"Conditions": value}])


def _time(raw: bytes) -> None:
    moment = parse_rfc3339(_text(raw))
    if moment is not None:
        assert abs((parse_rfc3339(format_rfc3339(moment)) or 0.0) - moment) <= 1.0


def _request(raw: bytes) -> None:
    routes: Mapping[str, Callable[[Mapping[str, str]], Answer]] = {"/healthz": lambda _query: Answer(b"ok", code=HTTPStatus.OK)}
    _Request(raw, routes).answer()


def _redacted(raw: bytes) -> None:
    Redactor(["https://hooks.slack.com/services/T0/B0/abcdefgh"]).document(_text(raw))


def _refusal(raw: bytes) -> None:
    classify_refusal(_text(raw))
    limited_pools(_text(raw))
    unavailable_pools(_text(raw))


def _recording() -> tuple[bytes, bytes]:
    seen = snapshot()
    made = definition(seen.application, NOW)
    return made.line, encode(Recorded(memory(), seen, decided(conclude(memory(), seen).plan), NOW), made.ref)


_DEFINITION, _LINE = _recording()
_MEMORY: Final = memory(
    mode_changes=(ModeChange(NOW, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "because"),),
    units=proven(),
    floors={"inf2-hpa": FloorMemory(2, 1, due=True, floor=ScalerWrite(NOW, "1", "3", 2), target=ScalerWrite(NOW, "5", "7", 0))},
    demand_history=DemandHistory(
        (NotedDemand(NOW, 100.0, 120.0),), (Outcome(100.0, 110.0),), (None, 5.0) * (SLOTS // 2), Damping(-0.5, 2.0)
    ),
)
_ACTION: Final = format_action(COST_TARGETS, 200).encode()
_CONDITIONS: Final = (
    b'[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"a","values":["b"]}},{"field":"path-pattern","values":["/*"]}]'
)
_METRICS: Final = f'# TYPE {GAUGE} gauge\n{GAUGE}{{instance_type="inf2.xlarge",zone="us-west-2a",capacity_type="on-demand"}} 0\n'.encode()
_DCGM: Final = b'# TYPE DCGM_FI_DEV_GPU_UTIL gauge\nDCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1",pod="a-0"} 97\n'
_DIMENSION: Final = {"unit": "Hrs", "pricePerUnit": {"USD": "0.7582000000"}}
_PRODUCT: Final = json.dumps({"terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": _DIMENSION}}}}}).encode()
_RECORDS: Final = [
    json.dumps(fleet_record(NOW, "inf2", *(("inf2.xlarge", f"us-west-2{zone}") for zone in zones))).encode() for zones in ("a", "abc")
]
_CONFIG: Final = Path(__file__).parents[2] / "config"
_FILES: Final = [path.read_bytes() for path in sorted(_CONFIG.glob("*.yaml"))]
_JSON: Final = (ValueError, RecursionError)

TARGETS: Final[Mapping[str, Target]] = {
    "answer of the API server": Target(decode, _of("Ingress", "Pod", "NodePool", "ScaledObject"), _JSON),
    "page of a list": Target(_page, [_page_of("Pod", "NodePool", "ScaledObject")], _JSON),
    "Ingress": Target(_ingress, _of("Ingress"), _JSON),
    "routing action": Target(lambda raw: parse_action(_text(raw)), [_ACTION]),
    "conditions of a rule": Target(_conditions, [_CONDITIONS]),
    "NodeClaim and NodePool": Target(_delivered("NodeClaim", "NodePool"), _of("NodeClaim", "NodePool"), _JSON),
    "Event": Target(_delivered("Event"), _of("Event"), _JSON),
    "text of a refusal": Target(
        _refusal, [ice_message("inf2-abcde", ICE).encode(), *(json.dumps(o).encode() for k, o in objects() if k == "Event")]
    ),
    "Pod and Deployment": Target(_delivered("Pod", "Deployment"), _of("Pod", "Deployment"), _JSON),
    "EndpointSlice and Service": Target(
        _delivered("EndpointSlice", "Service", "TargetGroupBinding"), _of("EndpointSlice", "Service"), _JSON
    ),
    "ScaledObject": Target(_delivered("ScaledObject"), _of("ScaledObject"), _JSON),
    "stored memory": Target(lambda raw: decode_memory(_text(raw)), [encode_memory(_MEMORY).encode()], (CodecError,)),
    "line of a recording": Target(_recorded, [_LINE], (LineError,)),
    "application file": Target(lambda raw: parse_applications([Source("a.yaml", raw)]), _FILES, (ConfigError,)),
    "settings file": Target(_settings, [b"log:\n  level: info\nhttp:\n  port: 8080\npolls:\n  tick_interval_s: 15\n"], (ConfigError,)),
    "Karpenter's metrics": Target(lambda raw: parse_metrics(_text(raw)), [_METRICS], (NoGaugeError, UnusableError)),
    "metrics of an accelerator": Target(lambda raw: list(_parsed(_text(raw))), [_DCGM], (Unavailable,)),
    "record of a fleet request": Target(lambda raw: read_answer(_text(raw), ACCOUNT, REGION), _RECORDS, _JSON),
    "product of the price list": Target(lambda raw: hourly_price([_text(raw)]), [_PRODUCT]),
    "answer of Slack": Target(lambda raw: _read("chat.postMessage", _text(raw)), [b'{"ok":true,"ts":"1.2"}', b'{"ok":false,"error":"a"}']),
    "stored status": Target(lambda raw: json_object(_text(raw)), [b'{"mode":"cost","units":{"a":{"ready":2}}}']),
    "stored alerts": Target(lambda raw: stored_alerts(_text(raw)), [b'{"max/a":{"severity":"warning","text":"b","reason":"Dwell"}}']),
    "time": Target(_time, [b"2026-08-25T10:00:03Z", b"2026-08-25T09:59:58.123456+02:00"]),
    "duration": Target(lambda raw: seconds(_text(raw), "--for"), [b"1h30m", b"90s", b"2d"], (click.BadParameter,)),
    "HTTP request": Target(_request, [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD /status?x=1 HTTP/1.0\r\n\r\n"]),
    "document with secrets": Target(_redacted, [_LINE, b'{"authorization":"Bearer abcdefgh12345","url":"https://a:b@c/"}'], _JSON),
}
