"""The experiments of AWS Fault Injection Service: begins one, and ends what drills have left. The tag says what belongs to a drill."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from controller.clients.aws import AwsClients, method_of, translated, why_forbidden
from controller.clock import Clock
from controller.errors import FailoverError, Forbidden, NotFound, Rejected, Unavailable
from controller.foreign import shown
from failover_setup.drill.plan import TAG, Plan

_GOING: Final = frozenset({"pending", "initiating", "running", "stopping"})
_MOST_PAGES: Final = 100
_STOPPED_S: Final = 120.0
"""How long an experiment may take to stop, seconds."""
_POLL_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Left:
    """What there is in AWS: experiments that go on and templates, by their ids."""

    experiments: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join([*(f"experiment {one}" for one in self.experiments), *(f"template {one}" for one in self.templates)]) or "nothing"


class Experiments:
    """FIS in one region.

    Args:
        clients: AWS.
        clock: Time.
    """

    def __init__(self, clients: AwsClients, clock: Clock) -> None:
        self._clients, self._clock = clients, clock
        self._own = Left()  # a list of FIS may lack what it has just made

    def begin(self, plan: Plan) -> str:
        """Makes the template and starts its experiment; returns the id of the experiment.

        Raises:
            RemoteError: FIS refuses it, or does not answer. Then a template, or an experiment, may exist.
        """
        template = self._request("CreateExperimentTemplate", **plan.template())["experimentTemplate"]["id"]
        self._own = Left(templates=(template,))
        begun = self._request("StartExperiment", experimentTemplateId=template, tags=plan.tags)
        self._own = Left((begun["experiment"]["id"],), self._own.templates)
        return self._own.experiments[0]

    def state(self, experiment: str) -> tuple[str, str]:
        """The state of an experiment and its reason.

        Raises:
            RemoteError: It cannot be read.
        """
        state = self._request("GetExperiment", id=experiment)["experiment"]["state"]
        return str(state["status"]), shown(str(state.get("reason", "")))

    def going(self) -> tuple[str, ...]:
        """Every experiment of the account that goes on, of whatever origin, by id.

        Raises:
            RemoteError: It cannot be read.
        """
        return tuple(one["id"] for one in self._going())

    def left(self, application: str) -> Left:
        """What the drills of an application have left.

        Raises:
            RemoteError: It cannot be read.
        """
        templates = self._listed("ListExperimentTemplates", "experimentTemplates")
        experiments, others = (
            tuple(one["id"] for one in of if one.get("tags", {}).get(TAG) == application) for of in (self._going(), templates)
        )
        return Left(experiments, others)

    def _going(self) -> Iterator[dict[str, Any]]:
        return (one for one in self._listed("ListExperiments", "experiments") if one["state"]["status"] in _GOING)

    def end(self, application: str) -> Left:
        """Stops the experiments of an application's drills, deletes their templates, and returns what is left nevertheless.

        Raises:
            RemoteError: It cannot be read, or FIS refuses.
        """
        until, found = self._clock.monotonic() + _STOPPED_S, self._own
        failure: Unavailable | None = None
        while True:
            try:
                self._end(found)
                if (found := self.left(application)) == Left():
                    return found
                failure = None
            except Unavailable as error:  # a lost connection may come back
                failure = error
            if self._clock.monotonic() >= until:
                break
            self._clock.wait(threading.Event(), _POLL_S)
        if failure is not None:
            raise failure
        return found

    def _end(self, found: Left) -> None:
        for one in found.experiments:
            with suppress(NotFound, Rejected):  # it has ended, or stops already
                self._request("StopExperiment", id=one)
        for one in found.templates:
            with suppress(NotFound):
                self._request("DeleteExperimentTemplate", id=one)

    def _listed(self, operation: str, name: str) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = self._request(operation, maxResults=100, **more)
            yield from page[name]
            if not page.get("nextToken"):
                return
            more = {"nextToken": page["nextToken"]}
        raise Unavailable(f"fis {operation}: more than {_MOST_PAGES} pages")

    def _request(self, operation: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - as botocore takes them
        try:
            with translated("fis", operation):
                answer: dict[str, Any] = getattr(self._clients.client("fis"), method_of(operation))(**arguments)
        except Forbidden as error:
            raise FailoverError(f"fis:{operation}: {why_forbidden(error, f'fis:{operation}')}") from error
        return answer
