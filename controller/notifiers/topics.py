"""Amazon SNS and EventBridge: the same JSON as the webhook, published under the controller's IAM role."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from controller.clients.aws import AwsClients, translated
from controller.errors import Unavailable
from controller.notifiers.document import message_document
from controller.notifiers.render import cut_bytes, one_line, plain, view
from controller.ports import Message

SOURCE: Final = "failoverctl"
"""The ``source`` of every event, for rules of EventBridge."""
DETAIL_TYPE: Final = "Failover Controller Message"
_MAX_SUBJECT: Final = 100  # SNS: ASCII, less than 100 characters, no line breaks
_FIFO: Final = ".fifo"  # how the names of FIFO topics end
_MAX_BODY: Final = 200_000  # bytes; SNS and EventBridge allow 256 KiB with attributes


class SnsNotifier:
    """Publishes messages to one topic, as text for e-mail and chat; EventBridge and the webhook have the document for machines.

    Args:
        clients: Makes the client.
        topic_arn: The topic.
    """

    name = "sns"
    takes_digests = True

    def __init__(self, clients: AwsClients, topic_arn: str) -> None:
        self._clients, self._topic = clients, topic_arn

    def send(self, message: Message) -> None:
        """Publishes one message, with attributes to filter by. In a FIFO topic, the messages about one incident keep their order.

        Raises:
            RemoteError: See `controller.errors`.
        """
        document = message_document(message)
        shown = view(message)
        facts = "\n".join(f"{label}: {value}" for label, value in shown.facts)
        body = f"{plain(shown)}\n\n{facts}"
        subject = one_line(shown.headline.encode("ascii", "ignore").decode())[: _MAX_SUBJECT - 1]
        attributes = {
            name: document[name] for name in ("kind", "severity", "status", "incident", "application", "cluster") if document[name]
        }
        client = self._clients.client("sns")
        order = {"MessageGroupId": _group(document["incident"]), "MessageDeduplicationId": document["id"]}
        with translated("sns", "Publish"):
            client.publish(
                TopicArn=self._topic,
                Subject=subject or "failoverctl",
                Message=cut_bytes(body, _MAX_BODY),
                MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
                **(order if self._topic.endswith(_FIFO) else {}),
            )


def _group(incident: str) -> str:
    """The incident as a group's name, which may have 128 characters and no others than ASCII's letters, digits and punctuation."""
    return hashlib.sha256(incident.encode()).hexdigest()


class EventBridgeNotifier:
    """Puts messages on one event bus.

    Args:
        clients: Makes the client.
        bus: Name or ARN of the bus.
    """

    name = "eventbridge"
    takes_digests = False

    def __init__(self, clients: AwsClients, bus: str) -> None:
        self._clients, self._bus = clients, bus

    def send(self, message: Message) -> None:
        """Puts one event; its detail is the JSON document.

        Raises:
            RemoteError: See `controller.errors`. An entry that the bus did not take counts as `Unavailable`.
        """
        document = message_document(message)
        entry = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(document, sort_keys=True), "EventBusName": self._bus}
        client = self._clients.client("events")
        with translated("events", "PutEvents"):
            answer = client.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            code = str((answer.get("Entries") or [{}])[0].get("ErrorCode", "unknown"))
            raise Unavailable(f"events: PutEvents: the bus did not take the event: {code}", code=code)
