"""Calls of AWS that count against a budget, their retries included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from controller.clients.aws import ATTEMPTS, method_of, translated
from controller.errors import Unavailable
from controller.signals.budget import CallBudget

_PAGES: Final = 20


class Clients(Protocol):
    """Makes clients of AWS's services, as `controller.clients.aws.AwsClients` does."""

    def client(self, service: str) -> Any:  # noqa: ANN401 - see there
        """The client of one service."""


class AwsCalls:
    """Makes them. The first call of whatever is asked is the caller's to take from the budget.

    Args:
        clients: The AWS client factory.
        budget: What further calls are charged to.
    """

    def __init__(self, clients: Clients, budget: CallBudget) -> None:
        self._clients, self._budget = clients, budget

    def call(self, service: str, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """One call.

        Args:
            service: botocore's name of the service.
            operation: The operation.
            arguments: Its arguments.

        Returns:
            The answer; empty where it is none.

        Raises:
            RemoteError: It failed.
        """
        try:
            with translated(service, operation):
                answer = getattr(self._clients.client(service), method_of(operation))(**arguments)
        except Unavailable:
            self._budget.charge(ATTEMPTS - 1)  # botocore had retried before it gave up
            raise
        return answer if isinstance(answer, dict) else {}

    def pages(self, operation: str, key: str, arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The entries of all pages of an operation of EC2.

        Args:
            operation: The operation.
            key: What the entries are called in its answer.
            arguments: Its arguments.

        Raises:
            RemoteError: A call failed, or the pages do not end.
        """
        token = ""
        for page in range(_PAGES):
            self._budget.charge(1 if page else 0)
            answer = self.call("ec2", operation, {**arguments, **({"NextToken": token} if token else {})})
            entries = answer.get(key)
            yield from (entry for entry in (entries if isinstance(entries, list) else []) if isinstance(entry, dict))
            following = answer.get("NextToken")
            if not following:
                return
            if following == token:
                break
            token = str(following)
        raise Unavailable(f"ec2 {operation}: the pages do not end", code="TooManyPages")
