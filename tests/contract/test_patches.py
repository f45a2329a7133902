"""JSON patch and merge patch."""

from __future__ import annotations

import pytest

from tests.contract.support import (
    CONFIG_MAPS,
    INGRESSES,
    JSON_PATCH,
    MERGE_PATCH,
    SCALED_OBJECTS,
    Client,
    config_map,
    ingress,
    scaled_object,
)

C = f"{CONFIG_MAPS}/c"


def test_merge_patch_removes_with_null(client: Client) -> None:
    """A null in a merge patch removes the field."""
    client.create(CONFIG_MAPS, config_map("c", a="1", b="2"))
    assert client.merge_patch(C, {"data": {"a": None}}).json["data"] == {"b": "2"}


def test_merge_patch_replaces_lists(client: Client) -> None:
    """A merge patch replaces lists as a whole."""
    client.create(INGRESSES, ingress())
    answer = client.merge_patch(f"{INGRESSES}/sd21", {"spec": {"rules": [{"host": "b.example"}]}})
    assert answer.json["spec"]["rules"] == [{"host": "b.example"}]


def test_a_patch_with_a_stale_resource_version_conflicts(client: Client) -> None:
    """Compare-and-swap: a merge patch with a version from before another write is 409."""
    version = client.create(CONFIG_MAPS, config_map("c")).version
    client.merge_patch(C, {"data": {"a": "1"}})
    answer = client.merge_patch(C, {"metadata": {"resourceVersion": version}, "data": {"a": "2"}})
    assert answer.refusal == (409, "Conflict")
    assert "the object has been modified" in answer.message


def test_a_patch_with_the_current_resource_version_is_accepted(client: Client) -> None:
    """Compare-and-swap: a merge patch with the current version is applied."""
    version = client.create(CONFIG_MAPS, config_map("c")).version
    assert client.merge_patch(C, {"metadata": {"resourceVersion": version}, "data": {"a": "2"}}).json["data"] == {"a": "2"}


def test_a_patch_with_another_uid_is_refused(client: Client) -> None:
    """A merge patch with the uid of another incarnation is 422: the uid is immutable."""
    client.create(CONFIG_MAPS, config_map("c"))
    answer = client.merge_patch(C, {"metadata": {"uid": "0"}, "data": {"a": "2"}})
    assert answer.refusal == (422, "Invalid")
    assert "metadata.uid: Invalid value" in answer.message


@pytest.mark.parametrize("content_type", [JSON_PATCH, MERGE_PATCH])
def test_a_patch_of_an_absent_object_is_not_found(client: Client, content_type: str) -> None:
    """A patch of what does not exist is 404 and creates nothing."""
    body: object = [] if content_type == JSON_PATCH else {}
    assert client.send("PATCH", C, body, content_type=content_type).refusal == (404, "NotFound")


def test_json_patch_changes_one_trigger_field(client: Client) -> None:
    """A JSON patch with a passing `test` changes one field in a list of a custom resource."""
    client.create(SCALED_OBJECTS, scaled_object())
    trigger = "/spec/triggers/0"
    answer = client.json_patch(
        f"{SCALED_OBJECTS}/sd21",
        {"op": "test", "path": f"{trigger}/metadata/expression", "value": "SELECT 1"},
        {"op": "replace", "path": f"{trigger}/metadata/targetMetricValue", "value": "61"},
    )
    expected = scaled_object()["spec"]["triggers"]
    expected[0]["metadata"]["targetMetricValue"] = "61"
    assert answer.json["spec"]["triggers"] == expected


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param({"op": "test", "path": "/data/a", "value": "other"}, id="test fails"),
        pytest.param({"op": "test", "path": "/data/none", "value": "x"}, id="test of nothing"),
        pytest.param({"op": "test", "path": "/metadata/resourceVersion", "value": "1"}, id="test of the version"),
        pytest.param({"op": "remove", "path": "/data/none"}, id="remove of nothing"),
        pytest.param({"op": "add", "path": "/none/a", "value": "x"}, id="add to nothing"),
        pytest.param({"op": "replace", "path": "/none/a", "value": "x"}, id="replace in nothing"),
        pytest.param({"op": "frob", "path": "/data/a"}, id="unknown operation"),
    ],
)
def test_a_json_patch_that_does_not_fit_changes_nothing(client: Client, operation: dict[str, str]) -> None:
    """A JSON patch whose `test`, or any operation, fails is 422 Invalid, does not say which, and changes nothing."""
    client.create(CONFIG_MAPS, config_map("c", a="1"))
    answer = client.json_patch(C, {"op": "add", "path": "/data/b", "value": "2"}, operation)
    assert answer.refusal == (422, "Invalid")
    assert answer.message == "the server rejected our request due to an error in our request"
    assert client.get(C).json["data"] == {"a": "1"}


def test_json_patch_tests_of_a_list_item(client: Client) -> None:
    """A `test` of an item beyond the end of a list, or of another value, is 422."""
    client.create(SCALED_OBJECTS, scaled_object())
    for path, value in (("/spec/triggers/1/type", "aws-cloudwatch"), ("/spec/triggers/0/type", "cron")):
        answer = client.json_patch(f"{SCALED_OBJECTS}/sd21", {"op": "test", "path": path, "value": value})
        assert answer.refusal == (422, "Invalid")


def test_replace_in_a_json_patch_adds_an_absent_key(client: Client) -> None:
    """`replace` of an absent key adds it, against RFC 6902: put a `test` before it."""
    client.create(CONFIG_MAPS, config_map("c", a="1"))
    assert client.json_patch(C, {"op": "replace", "path": "/data/b", "value": "2"}).json["data"] == {"a": "1", "b": "2"}


def test_a_test_for_null_passes_where_nothing_is(client: Client) -> None:
    """A `test` for null passes where the key is absent."""
    client.create(CONFIG_MAPS, config_map("c", a="1"))
    operations = {"op": "test", "path": "/data/b", "value": None}, {"op": "add", "path": "/data/b", "value": "2"}
    assert client.json_patch(C, *operations).json["data"] == {"a": "1", "b": "2"}


def test_json_patch_reads_escaped_keys(client: Client) -> None:
    """`~1` in a JSON pointer stands for a slash in an annotation's name."""
    client.create(INGRESSES, ingress())
    path = "/metadata/annotations/alb.ingress.kubernetes.io~1actions.w"
    answer = client.json_patch(
        f"{INGRESSES}/sd21", {"op": "add", "path": "/metadata/annotations", "value": {}}, {"op": "add", "path": path, "value": "{}"}
    )
    assert answer.metadata["annotations"] == {"alb.ingress.kubernetes.io/actions.w": "{}"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param(JSON_PATCH, b"{", id="json patch that is no JSON"),
        pytest.param(JSON_PATCH, b"{}", id="json patch that is no list"),
        pytest.param(MERGE_PATCH, b"{", id="merge patch that is no JSON"),
        pytest.param(MERGE_PATCH, b"[]", id="merge patch that is no object"),
    ],
)
def test_a_patch_that_cannot_be_read_is_a_bad_request(client: Client, content_type: str, body: bytes) -> None:
    """A patch that cannot be parsed is 400."""
    client.create(CONFIG_MAPS, config_map("c"))
    answer = client.send("PATCH", C, body, content_type=content_type)
    assert answer.refusal == (400, "BadRequest")
    assert answer.message.startswith("error decoding patch: ")


def test_force_belongs_to_apply_only(client: Client) -> None:
    """`force` with a merge patch is 422."""
    client.create(CONFIG_MAPS, config_map("c"))
    answer = client.send("PATCH", f"{C}?force=true", {}, content_type=MERGE_PATCH)
    assert answer.refusal == (422, "Invalid")
    assert "force: Forbidden: may not be specified for non-apply patch" in answer.message
