"""`notify test`: every sink gets a marked message, and each answer is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_overrides import _run, cluster  # noqa: F401 - a fixture
from tests.notifiers.support import Answer, Receiver
from tests.support.cluster import NAMESPACE, Cluster

SETTINGS = """
aws: {{region: us-west-2}}
cloudwatch: {{enabled: false}}
notifications: {{cluster: prod}}
webhook: {{url_file: {folder}/url}}
"""


@pytest.mark.parametrize(
    ("answer", "code", "line"), [(Answer(200), 0, "✔ webhook      accepted"), (Answer(403), 1, "✖ webhook      webhook: 403")]
)
def test_each_sink_says_what_it_answered(
    cluster: Cluster,  # noqa: F811 - the fixture
    tmp_path: Path,
    answer: Answer,
    code: int,
    line: str,
) -> None:
    """The Event is on the Ingress, the webhook has the JSON, and what is not configured is listed."""
    receiver = Receiver(answer)
    try:
        (tmp_path / "url").write_text(receiver.url)
        (tmp_path / "settings.yaml").write_text(SETTINGS.format(folder=tmp_path))
        result = _run(cluster, tmp_path, "notify", "test", "--settings", str(tmp_path / "settings.yaml"))
    finally:
        receiver.close()
    assert result.exit_code == code, result.output
    assert line in result.output
    assert "✔ events       accepted" in result.output
    assert "· slack        not configured" in result.output
    (request,) = receiver.requests
    document = json.loads(request.body)
    assert (document["kind"], document["cluster"], document["application"]) == ("test", "prod", "shop/sd21")
    (event,) = [one for one in cluster.store.list("Event", namespace=NAMESPACE) if one["reason"] == "Test"]
    assert "test message, nothing has happened" in event["message"]
