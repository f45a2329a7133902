"""The kind FailoverApplication: what the controller, kubectl and a GitOps tool do with its objects.

Only the real server has a schema of it: what that refuses is in tests/cluster/test_crd.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from controller.clients.kube import FAILOVER_APPLICATIONS
from failover_harness.control_plane import crds
from tests.contract.servers import Real, Server
from tests.contract.support import Answer, Client, Object, brief
from tests.support.cluster import application_document
from tools.crd import custom_resource_definition

KIND = f"/apis/{FAILOVER_APPLICATIONS.api_version}/namespaces/{{namespace}}/{FAILOVER_APPLICATIONS.plural}"
SD21 = f"{KIND}/sd21"


@pytest.fixture(scope="session")
def definition(request: pytest.FixtureRequest) -> None:
    """The definition on the real server; once a session."""
    session = request.getfixturevalue("api_server").session()
    crds.install(session, [custom_resource_definition()])
    session.close()


@pytest.fixture(autouse=True)
def _served(request: pytest.FixtureRequest, server: Server) -> None:
    if isinstance(server, Real):
        request.getfixturevalue("definition")


def sd21(**policy: Any) -> Object:
    """An application in the namespace of the request."""
    document = application_document(**policy)
    del document["metadata"]["namespace"]
    return document


def status(mode: str = "cost", **weights: int) -> Object:
    """A status in short."""
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": "2026-09-21T14:13:20Z",
        "observedGeneration": 1,
    }
    return {"mode": mode, "weights": {"set": weights}, "conditions": [condition]}


def write_status(client: Client, uid: str, written: Object) -> Answer:
    """Writes the status as the controller does: as a whole, of the object that it judged."""
    test = {"op": "test", "path": "/metadata/uid", "value": uid}
    return client.json_patch(f"{SD21}/status", test, {"op": "add", "path": "/status", "value": written})


def test_a_new_object_has_its_first_generation_and_no_status(client: Client) -> None:
    """The status that a file brings with it is ignored."""
    made = client.create(KIND, sd21() | {"status": status()})
    assert made.metadata["generation"] == 1
    assert "status" not in made.json
    assert made.json["spec"] == sd21()["spec"]


def test_a_create_is_refused(client: Client) -> None:
    """A second object of the name is 409; one of another version is 400; one of another kind, or without a name, is 422."""
    client.create(KIND, sd21())
    assert client.post(KIND, sd21()).refusal == (409, "AlreadyExists")
    other = client.post(KIND, sd21() | {"kind": "Application"})
    assert other.refusal == (422, "Invalid")
    assert other.message == 'Application.failoverctl.dev "sd21" is invalid: kind: Invalid value: "Application": must be FailoverApplication'
    assert client.post(KIND, sd21() | {"apiVersion": "failoverctl.dev/v1"}).refusal == (400, "BadRequest")
    assert client.post(KIND, sd21() | {"metadata": {}}).refusal == (422, "Invalid")


def test_the_controller_writes_the_status_as_a_whole(client: Client) -> None:
    """The weight of a Service that gets none any more is gone, and the generation stays."""
    uid = client.create(KIND, sd21()).metadata["uid"]
    assert write_status(client, uid, status(one=1, two=1)).json["status"] == status(one=1, two=1)
    answer = write_status(client, uid, status("capacity", all=1))
    assert answer.json["status"] == status("capacity", all=1)
    assert answer.metadata["generation"] == 1
    assert client.get(SD21).json["spec"] == sd21()["spec"]


def test_a_status_for_a_predecessor_is_refused(client: Client) -> None:
    """The object was deleted and applied anew since the controller judged it."""
    uid = client.create(KIND, sd21()).metadata["uid"]
    client.delete(SD21)
    client.create(KIND, sd21())
    assert write_status(client, uid, status()).refusal == (422, "Invalid")
    assert "status" not in client.get(SD21).json


def test_a_status_that_is_written_to_the_object_is_ignored(client: Client) -> None:
    """Who may edit an application cannot say by that what became of it."""
    uid = client.create(KIND, sd21()).metadata["uid"]
    write_status(client, uid, status())
    answer = client.merge_patch(SD21, {"status": {"mode": "capacity"}})
    assert (answer.code, answer.json["status"]["mode"], answer.metadata["generation"]) == (200, "cost", 1)
    whole = client.put(SD21, client.get(SD21).json | {"status": status("capacity")})
    assert (whole.code, whole.json["status"]["mode"]) == (200, "cost")


def test_a_watch_tells_an_edit_from_a_status(client: Client) -> None:
    """The generation grows with the spec, and with neither status nor labels."""
    made = client.create(KIND, sd21())
    with client.watch(KIND, f"&resourceVersion={made.version}") as events:
        write_status(client, made.metadata["uid"], status())
        client.merge_patch(SD21, {"metadata": {"labels": {"team": "a"}}})
        client.merge_patch(SD21, {"spec": {"policy": {"patienceSeconds": 5}}})
        client.delete(SD21)
        seen = [next(events) for _ in range(4)]
    assert [brief(one)[0] for one in seen] == ["MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]
    assert [one["object"]["metadata"]["generation"] for one in seen] == [1, 1, 2, 2]
    assert seen[3]["object"]["status"]["mode"] == "cost"


def test_a_merge_patch_changes_one_field_and_replaces_a_list(client: Client) -> None:
    """What `kubectl patch` and `kubectl edit` send."""
    client.create(KIND, sd21(quietSeconds=7))
    spec = client.merge_patch(SD21, {"spec": {"policy": {"patienceSeconds": 5}}}).json["spec"]
    assert spec["policy"] == {"patienceSeconds": 5, "quietSeconds": 7}
    assert len(spec["units"]) == len(sd21()["spec"]["units"])
    units = sd21()["spec"]["units"][:2]
    assert client.merge_patch(SD21, {"spec": {"units": units}}).json["spec"]["units"] == units


def test_two_tools_that_apply_one_field_conflict(client: Client) -> None:
    """`kubectl apply --server-side` beside a GitOps tool: the second one is refused, and may force it."""
    made = client.apply(SD21, sd21(patienceSeconds=1), manager="flux")
    assert (made.code, made.metadata["generation"]) == (201, 1)
    same = client.apply(SD21, sd21(patienceSeconds=1), manager="person")
    assert (same.code, same.metadata["generation"]) == (200, 1)
    other = client.apply(SD21, sd21(patienceSeconds=2), manager="person")
    assert other.refusal == (409, "Conflict")
    forced = client.apply(SD21, sd21(patienceSeconds=2), manager="person", force=True)
    assert (forced.code, forced.metadata["generation"], forced.json["spec"]["policy"]["patienceSeconds"]) == (200, 2, 2)
