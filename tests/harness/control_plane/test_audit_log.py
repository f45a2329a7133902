"""Reading the API server's audit log, with rare entries of a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from failover_harness.control_plane.audit import UNKNOWN, Entry, read


def _event(number: int, **changes: Any) -> dict[str, Any]:
    usual = {
        "auditID": str(number),
        "requestURI": "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/sd21?force=true",
        "verb": "patch",
        "user": {"username": "controller"},
        "objectRef": {"resource": "ingresses", "namespace": "shop", "name": "sd21", "apiGroup": "networking.k8s.io"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-26T08:26:00.000001Z",
        "stageTimestamp": "2026-11-26T08:26:00.010001Z",
    }
    return usual | changes


def _read(folder: Path, *events: dict[str, Any], rest: str = "") -> list[Entry]:
    path = folder / "audit.log"
    path.write_text("".join(json.dumps(one) + "\n" for one in events) + rest)
    return read(path)


def test_a_request_that_was_aborted_has_no_known_end(tmp_path: Path) -> None:
    """The log contains 200 for it, whatever its result."""
    status = {"code": 200, "message": "Connection closed early"}
    assert [one.code for one in _read(tmp_path, _event(1), _event(2, responseStatus=status))] == [200, UNKNOWN]


def test_a_request_that_ended_before_its_user_was_known_is_nobodys(tmp_path: Path) -> None:
    """For example if the token could not be looked up: the user field is empty."""
    assert [one.user for one in _read(tmp_path, _event(1, user={}), _event(2))] == ["", "controller"]


def test_a_watch_counts_once_and_a_line_that_is_being_written_not_yet(tmp_path: Path) -> None:
    """The log contains its beginning and its end."""
    assert len(_read(tmp_path, _event(1, verb="watch"), _event(1, verb="watch"), rest='{"auditID": "2", "user')) == 1
