"""A replica in its own process, reduced to leadership: the production elector and store, and endless work.

``python -m failover_harness.election.elector KUBECONFIG NAMESPACE IDENTITY``: while it leads, it writes the state record several times a
second. After each it writes the ConfigMap ``routing``, which stands for the Ingress: a patch under its resourceVersion, without an epoch
that the server could compare.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from typing import Final

import structlog

from controller.clients.kube import CONFIG_MAPS, MERGE_PATCH, KubeSession, connect
from controller.clock import SystemClock
from controller.errors import RemoteError, StateError
from controller.policy.model import Memory
from controller.service.election import EFFECT_S, Timing
from controller.service.leadership import LeaseLeadership
from controller.service.store import ConfigMapStore
from controller.service.terms import TermRecord

APPLICATION: Final = "shop/elected"
ROUTING: Final = "routing"
_PAUSE_S: Final = 0.2


class Worker:
    """Acts like a pass of the service: loads once per term, confirms before each effect, compares and swaps."""

    def __init__(self, session: KubeSession, namespace: str, identity: str) -> None:
        self._session, self._namespace, self._identity = session, namespace, identity
        self.leadership = LeaseLeadership(session, namespace, Timing(), SystemClock(), lambda: None, identity)
        self._term = TermRecord(ConfigMapStore(session, namespace), self.leadership, APPLICATION)
        self._count = 0
        self._unsure = True

    def step(self) -> None:
        """Does one round of work if this replica leads."""
        if not self.leadership.leads():
            return
        if self._unsure or not self._term.current():
            self._term.load()
        self._unsure, self._count = True, self._count + 1
        self._term.save(Memory(hold_level=self._count % 2))
        self._unsure = False
        self._route(self._term.epoch)

    def _route(self, epoch: int) -> None:
        version = self._session.get(CONFIG_MAPS, self._namespace, ROUTING)["metadata"]["resourceVersion"]
        if self.leadership.confirm(epoch, EFFECT_S):
            change = {"metadata": {"resourceVersion": version}, "data": {"by": self._identity, "count": str(self._count)}}
            path = CONFIG_MAPS.path(self._namespace, ROUTING)
            self._session.request("PATCH", path, body=json.dumps(change), content_type=MERGE_PATCH, deadline_s=EFFECT_S)


def main(kubeconfig: str, namespace: str, identity: str) -> None:
    """Works until SIGTERM."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = Worker(connect(kubeconfig=kubeconfig), namespace, identity)
    worker.leadership.start()
    threading.Thread(target=_report_when_up, args=(worker.leadership,), daemon=True).start()
    while not stop.wait(_PAUSE_S):
        try:
            worker.step()
        except (RemoteError, StateError) as error:
            sys.stderr.write(f"{type(error).__name__}\n")
    worker.leadership.stop()


def _report_when_up(leadership: LeaseLeadership) -> None:
    """Prints a line once this replica has seen the Lease and so stands by."""
    while not leadership.holder():
        time.sleep(0.05)
    sys.stdout.write("up\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4])
