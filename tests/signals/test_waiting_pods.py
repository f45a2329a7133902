"""The index of the pods that wait for a node: it leaves out only pods that are no demand of the application."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.policy.model import WorkloadKind
from controller.signals.room import Room
from controller.signals.waiting_pods import WaitingPods
from controller.signals.waiting_pods import waiting_pod as read
from controller.signals.workloads import WorkloadView
from tests.signals.samples import waiting_pod
from tests.signals.test_workloads import NAMESPACE, deployment
from tests.support.applications import application

_NAMES = st.sampled_from(["sd21-inf2", "sd21-trn1", "sd21", "other", ""])
_LABELS = st.dictionaries(st.sampled_from(["app", "model", "pod-template-hash"]), st.sampled_from(["sd21-inf2", "sd21-trn1", "7f", ""]))
_PODS = st.tuples(
    st.sampled_from("pqr"),
    _LABELS,
    st.tuples(_NAMES, st.sampled_from(["", "-7f", "-", "-8a"])).map("".join),
    st.sampled_from([(), ("inf2",), ("trn1",), ("inf2", "trn1")]),
    st.booleans(),
)
_DEPLOYMENTS = st.dictionaries(st.sampled_from(["sd21-inf2", "sd21-trn1", "other"]), _LABELS, max_size=3)


@given(st.lists(_PODS, max_size=8), _DEPLOYMENTS)
def test_the_index_leaves_out_nobody(pods: list[tuple[str, dict[str, str], str, tuple[str, ...], bool]], selectors: dict[str, Any]) -> None:
    """Pods come, change and go; each unit has the same as if all pods were compared with it."""
    view, app = WorkloadView(), application()
    for name, labels in selectors.items():
        view.workload(WorkloadKind.DEPLOYMENT, "ADDED", deployment(name, labels))
    there: dict[str, Any] = {}
    for name, labels, owner, pools, gone in pods:
        obj = waiting_pod(name, labels=labels, owner=owner, pools=pools)
        view.pod("DELETED" if gone else "MODIFIED", obj)
        there = {**{key: one for key, one in there.items() if key != name}, **({} if gone else {name: read(obj)})}
    sharing = {unit.node_pool: 1 for unit in app.units}
    found = view.pending(app, sharing)
    view._candidates = lambda application: list(there.values())  # type: ignore[method-assign]
    assert view.pending(app, sharing) == found
    assert set(view.pods()) == {(NAMESPACE, name) for name in there}


def test_an_application_is_not_compared_with_the_pods_of_others() -> None:
    """A thousand applications of one namespace wait for the same NodePool."""
    waiting = WaitingPods(Room())
    for number in range(1000):
        labels = {"app": f"app-{number}", "model": "sd21", "pod-template-hash": "7f"}
        pod = read(waiting_pod(f"pod-{number}", labels=labels, owner=f"app-{number}-7f", pools=("inf2",)))
        assert pod is not None
        assert waiting.put(pod)
    wanted = (("model", "sd21"), ("app", "app-7"))
    assert [pod.name for pod in waiting.candidates(NAMESPACE, [("app-7", wanted), ("app-8", ())])] == ["pod-7", "pod-8"]
    for number in range(1000):
        assert waiting.remove((NAMESPACE, f"pod-{number}"))
    assert not waiting
    assert waiting._with == {}


def test_a_selector_of_odd_values_selects_nobody() -> None:
    """The API server refuses it; a stranger's server may not."""
    waiting = WaitingPods(Room())
    pod = read(waiting_pod("p", labels={"app": "a"}, owner="a-7f"))
    assert pod is not None
    waiting.put(pod)
    assert waiting.candidates(NAMESPACE, [("b", (("app", ["a"]),))]) == []
