"""The ELBv2 calls of one verification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.clients.aws import ATTEMPTS, AwsClients, method_of, translated
from controller.objects import entries, integer, text
from controller.signals.load_balancer.request import CannotTellError

_SERVICE: Final = "elbv2"
_PAGES: Final = 20  # of one listing
_PAGE_SIZE: Final = 400


class Calls:
    """Makes ELBv2 calls and counts them.

    Attributes:
        made: Number of calls so far, including botocore's retries.
        operation: The last operation.
    """

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients
        self.made = 0
        self.operation = "DescribeLoadBalancers"

    def call(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        """Makes one call.

        Raises:
            RemoteError: The call failed.
            CannotTellError: The answer is not an object.
        """
        self.operation = operation
        self.made += 1
        with translated(_SERVICE, operation):
            client = self._clients.client(_SERVICE)
            answer = getattr(client, method_of(operation))(**arguments)
        if not isinstance(answer, dict):
            raise CannotTellError(f"the answer of {operation} cannot be read")
        # botocore's own retries are calls too, as AWS counts them.
        retries = integer(answer, "ResponseMetadata", "RetryAttempts") or 0
        self.made += retries if 0 < retries < ATTEMPTS else 0
        return answer

    def listing(self, operation: str, key: str, **arguments: object) -> list[dict[str, Any]]:
        """Reads all pages of one listing.

        Raises:
            RemoteError: A call failed.
            CannotTellError: There are more pages than a load balancer can have, or a page cannot be read.
        """
        found: list[dict[str, Any]] = []
        marker = ""
        for _ in range(_PAGES):
            answer = self.call(operation, PageSize=_PAGE_SIZE, **arguments, **({"Marker": marker} if marker else {}))
            found.extend(_listed(answer, operation, key))
            following = text(answer, "NextMarker")
            if not following:
                return found
            if following == marker:
                raise CannotTellError(f"the pages of {operation} repeat")
            marker = following
        raise CannotTellError(f"{operation} has more than {_PAGES} pages")

    def target_health(self, group: str) -> list[dict[str, Any]]:
        """The targets of one target group.

        Raises:
            RemoteError: The call failed.
            CannotTellError: The answer does not list them: that is not the same as none.
        """
        operation = "DescribeTargetHealth"
        return _listed(self.call(operation, TargetGroupArn=group), operation, "TargetHealthDescriptions")


def _listed(answer: Mapping[str, Any], operation: str, key: str) -> list[dict[str, Any]]:
    """The objects that an answer lists.

    Raises:
        CannotTellError: It has no list.
    """
    if not isinstance(answer.get(key), list):
        raise CannotTellError(f"the answer of {operation} cannot be read: no {key}")
    return entries(answer, key)
