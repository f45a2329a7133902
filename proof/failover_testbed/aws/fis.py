"""AWS Fault Injection Service, which moto lacks: templates and experiments that make EC2 refuse instances in some zones.

It knows one action, and refuses all requests or none: a percentage below 100 is not emulated. An experiment runs from when it is started to
the end of its duration, or until a person or an alarm stops it, and never fails. As in AWS, EC2 refuses only requests that ask in one zone
(`Ec2.create_fleet`).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.clock import Clock

ACTION: Final = "aws:ec2:api-insufficient-instance-capacity-error"
_DURATION: Final = re.compile(r"PT(\d{1,3})M")
_LARGEST: Final = 1 << 20  # bytes of a request


class _RefusedError(Exception):
    """An answer other than 200: its status, and the name of the error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(slots=True)
class _Experiment:
    document: dict[str, Any]
    zones: tuple[str, ...]
    until: float  # monotonic
    alarms: frozenset[str]
    stopped: bool = False


@dataclass(slots=True)
class EmulatedFis:
    """FIS of the account.

    Args:
        clock: Time of the experiments.
    """

    clock: Clock
    _templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    _experiments: dict[str, _Experiment] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def zones(self) -> tuple[str, ...]:
        """The zones in which EC2 refuses now."""
        with self._lock:
            going = (one.zones for one in self._experiments.values() if self._status(one) == "running")
            return tuple(sorted({zone for zones in going for zone in zones}))

    def fire(self, alarm: str) -> None:
        """An alarm of CloudWatch goes off: the experiments that it is a stop condition of are stopped.

        Args:
            alarm: Its ARN.
        """
        with self._lock:
            for one in self._experiments.values():
                one.stopped = one.stopped or (alarm in one.alarms and self._status(one) == "running")

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request, as a WSGI application."""
        length = min(int(environ.get("CONTENT_LENGTH") or 0), _LARGEST)
        headers = [("Content-Type", "application/json")]
        try:
            body = json.loads(environ["wsgi.input"].read(length) or b"{}")
            with self._lock:
                answer, status = self._answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body), 200
        except _RefusedError as error:
            answer, status = {"message": str(error)}, error.status
            headers.append(("x-amzn-ErrorType", error.code))
        start_response(f"{status} answered", headers)
        return [json.dumps(answer).encode()]

    def _answer(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        _, kind, *rest = path.split("/")
        match method, kind, rest:
            case "POST", "experimentTemplates", []:
                return {"experimentTemplate": self._create(body)}
            case "GET", "experimentTemplates", []:
                return {"experimentTemplates": list(self._templates.values())}
            case "DELETE", "experimentTemplates", [name]:
                return {"experimentTemplate": _found(self._templates, name) and self._templates.pop(name)}
            case "POST", "experiments", []:
                return {"experiment": self._start(body)}
            case "GET", "experiments", []:
                return {"experiments": list(self._shown())}
            case "GET", "experiments", [name]:
                return {"experiment": self._document(_found(self._experiments, name))}
            case "DELETE", "experiments", [name]:
                return {"experiment": self._stop(_found(self._experiments, name))}
        raise _RefusedError(400, "ValidationException", f"not emulated: {method} {path}")

    def _create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        for action in body["actions"].values():
            given = action["parameters"]
            known = action["actionId"] == ACTION and given["percentage"] == "100" and _DURATION.fullmatch(given["duration"])
            if not known or set(action["targets"]) != {"Roles"}:
                raise _RefusedError(400, "ValidationException", f"not emulated: {action}")
        name = f"EXT{len(self._templates) + len(self._experiments) + 1}"
        self._templates[name] = {"id": name, **{key: value for key, value in body.items() if key != "clientToken"}}
        return self._templates[name]

    def _start(self, body: Mapping[str, Any]) -> dict[str, Any]:
        template = _found(self._templates, body["experimentTemplateId"])
        (action,) = template["actions"].values()
        zones = tuple(action["parameters"]["availabilityZoneIdentifiers"].split(","))
        minutes = _DURATION.fullmatch(action["parameters"]["duration"])
        name = f"EXP{len(self._experiments) + 1}"
        document = {"id": name, "experimentTemplateId": template["id"], "tags": body.get("tags", {})}
        until = self.clock.monotonic() + 60 * int(minutes[1] if minutes else 0)
        alarms = frozenset(one.get("value", "") for one in template["stopConditions"])
        self._experiments[name] = _Experiment(document, zones, until, alarms)
        return self._document(self._experiments[name])

    def _stop(self, experiment: _Experiment) -> dict[str, Any]:
        if self._status(experiment) != "running":
            raise _RefusedError(400, "ValidationException", "the experiment has ended")
        experiment.stopped = True
        return self._document(experiment)

    def _shown(self) -> Iterator[dict[str, Any]]:
        yield from map(self._document, self._experiments.values())

    def _document(self, experiment: _Experiment) -> dict[str, Any]:
        return {**experiment.document, "state": {"status": self._status(experiment)}}

    def _status(self, experiment: _Experiment) -> str:
        if experiment.stopped:
            return "stopped"
        return "running" if self.clock.monotonic() < experiment.until else "completed"


def _found(known: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - a template or an experiment
    if name not in known:
        raise _RefusedError(404, "ResourceNotFoundException", f"there is no {name}")
    return known[name]
