"""Whether a URL leads to production."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.clients.kube import connect
from controller.clock import SystemClock
from controller.policy.model import Mode
from failover_setup.breaking_point.exposure import Exposure, Live, exposure, observe, resolve
from failover_testbed.cluster import routes
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.support.applications import application

APP = application(namespace="shop")
UNIT = APP.units[0].backend.service
BALANCER = "k8s-shop.us-west-2.elb.amazonaws.com"
LIVE = Live(("sd21.example.com", "*.img.example.com", ""), (BALANCER,), {"10.0.1.7": UNIT})
ADDRESSES = {
    "k8s-shop.us-west-2.elb.amazonaws.com": {"203.0.113.7", "203.0.113.8"},
    "alias.example.com": {"203.0.113.8"},
    "sd21.example.com": {"198.51.100.1"},
    "a.img.example.com": {"198.51.100.1"},
    "a.b.img.example.com": {"198.51.100.2"},
    "img.example.com": {"198.51.100.4"},
    "staging.example.com": {"198.51.100.3"},
    "10.0.1.7": {"10.0.1.7"},
    "10.0.1.8": {"10.0.1.8"},
    "localhost": {"127.0.0.1", "::1"},
}


def addresses(name: str) -> frozenset[str]:
    """A resolver that knows a few names."""
    if name not in ADDRESSES:
        raise OSError(name)
    return frozenset(ADDRESSES[name])


@pytest.mark.parametrize(
    ("host", "expected", "why"),
    [
        pytest.param(UNIT, Exposure.PRODUCTION, "Service", id="a unit's Service"),
        pytest.param(f"{UNIT}.shop.svc.cluster.local", Exposure.PRODUCTION, "Service", id="its whole name"),
        pytest.param(f"{UNIT}.shop", Exposure.PRODUCTION, "Service", id="its short name"),
        pytest.param(f"{APP.capacity.service}.shop.svc", Exposure.PRODUCTION, "Service", id="the capacity Service"),
        pytest.param(f"{UNIT}.lab.svc", Exposure.ELSEWHERE, "does not forward", id="a namesake elsewhere"),
        pytest.param("sd21-copy.shop.svc", Exposure.ELSEWHERE, "does not forward", id="a copy's Service"),
        pytest.param("10.0.1.7", Exposure.PRODUCTION, "pod behind", id="a pod behind a Service"),
        pytest.param("10.0.1.8", Exposure.ELSEWHERE, "does not lead", id="another pod"),
        pytest.param("SD21.example.com.", Exposure.PRODUCTION, "rule for its host", id="a rule's host"),
        pytest.param("a.img.example.com", Exposure.PRODUCTION, "rule for its host", id="a wildcard"),
        pytest.param("a.b.img.example.com", Exposure.PRODUCTION, "rule for its host", id="a wildcard is any number of labels on an ALB"),
        pytest.param("img.example.com", Exposure.ELSEWHERE, "does not lead", id="a wildcard is one label at least"),
        pytest.param("k8s-shop.us-west-2.elb.amazonaws.com", Exposure.PRODUCTION, "load balancer", id="the load balancer"),
        pytest.param("alias.example.com", Exposure.PRODUCTION, "load balancer", id="an alias of it"),
        pytest.param("staging.example.com", Exposure.ELSEWHERE, "does not lead", id="another host"),
        pytest.param("localhost", Exposure.ELSEWHERE, "this machine", id="this machine"),
        pytest.param("unheard.example.com", Exposure.UNKNOWN, "cannot be resolved", id="no such name"),
    ],
)
def test_hosts_are_classified(host: str, expected: Exposure, why: str) -> None:
    """By Services, pods, rules and the load balancer's addresses."""
    verdict = exposure(host, APP, LIVE, addresses)
    assert verdict.exposure is expected
    assert why in verdict.why


def test_without_the_cluster_only_its_own_names_and_this_machine_are_known() -> None:
    """Anything else is unknown, not harmless."""
    assert exposure(f"{UNIT}.shop.svc", APP, None, addresses).exposure is Exposure.PRODUCTION
    assert exposure("localhost", APP, None, addresses).exposure is Exposure.ELSEWHERE
    assert exposure("staging.example.com", APP, None, addresses).exposure is Exposure.UNKNOWN
    assert exposure("10.0.1.8", APP, None, addresses).exposure is Exposure.UNKNOWN


@pytest.mark.parametrize("kind", ["Ingress", "HTTPRoute"])
def test_the_cluster_shows_hosts_and_load_balancer_of_any_kind(kind: routes.Routing, tmp_path: Path) -> None:
    """Else a load that breaks production would be taken for one of a copy."""
    app = routes.routed_by(APP, kind)
    *others, obj = routes.objects(app, Mode.COST, {})
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        for one in others:
            api.store.create(one["kind"], one)
        if kind == "Ingress":
            obj["spec"]["rules"].append({"host": "sd21.example.com"})
            api.store.create(kind, obj)
            api.store.update_status(kind, "sd21", {"loadBalancer": {"ingress": [{"hostname": BALANCER}]}}, namespace="shop")
        else:
            obj["spec"]["hostnames"] = ["sd21.example.com"]
            api.store.create(kind, obj)
            api.store.update_status("Gateway", "sd21", {"addresses": [{"value": BALANCER}]}, namespace="shop")
        live = observe(connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), app)
    assert exposure("sd21.example.com", app, live, addresses).exposure is Exposure.PRODUCTION
    assert exposure("alias.example.com", app, live, addresses).why == f"it is the load balancer of {kind} shop/sd21"
    assert exposure("staging.example.com", app, live, addresses).exposure is Exposure.ELSEWHERE


def test_addresses_resolve_to_themselves() -> None:
    """The real resolver, without a network."""
    assert resolve("127.0.0.1") == {"127.0.0.1"}
    assert resolve("::1") == {"::1"}


def test_an_invalid_name_has_no_address() -> None:
    """A label of more than 63 characters is not even looked up."""
    with pytest.raises(OSError, match="label"):
        resolve(f"{'a' * 64}.example.com")
