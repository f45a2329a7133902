"""The facts' sample objects, and makers of further ones in the same shapes."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from controller.clients.kube import RESOURCES, Resource
from controller.clock import format_rfc3339, parse_rfc3339

KINDS: dict[str, Resource] = {resource.kind: resource for resource in RESOURCES.values()}


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: timestamps are strings."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def _all() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.load((Path(__file__).parent / "samples.yaml").read_text(), _Loader)
    return loaded


def sample(name: str) -> dict[str, Any]:
    """One of E1 to E16, the caller's own copy."""
    return copy.deepcopy(_all()[name])


def moment(text: str) -> float:
    """A timestamp that is one."""
    found = parse_rfc3339(text)
    assert found is not None
    return found


def ice_message(claim: str, detail: str) -> str:
    """The message of a refusal, as an event carries it."""
    return f"NodeClaim {claim} event: creating instance, insufficient capacity, {detail}"


FLEET = "with fleet error(s), "
ICE = FLEET + (
    "InsufficientInstanceCapacity: We currently do not have sufficient inf2.xlarge capacity in the Availability Zone you requested "
    "(us-west-2a). Our system will be working on provisioning additional capacity. You can currently get inf2.xlarge..."
)


def ice_event(claim: str, at: float, *, detail: str = ICE) -> dict[str, Any]:
    """A refusal of one NodeClaim."""
    stamp = format_rfc3339(at)
    return {
        "metadata": {"name": f"{claim}.18a1", "namespace": "default", "creationTimestamp": stamp},
        "involvedObject": {"kind": "NodeClaim", "apiVersion": "karpenter.sh/v1", "name": claim},
        "reason": "InsufficientCapacityError",
        "type": "Warning",
        "message": ice_message(claim, detail),
        "source": {"component": "karpenter"},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


def requirement(key: str, *values: str, operator: str = "In") -> dict[str, Any]:
    """A node selector requirement."""
    return {"key": key, "operator": operator, "values": list(values)}


def node_claim(
    name: str, pool: str, at: float, *, zones: tuple[str, ...] = (), types: tuple[str, ...] = ("inf2.xlarge",), **status: str
) -> dict[str, Any]:
    """A NodeClaim; `status` maps condition types to the timestamps since when they are true."""
    requirements = [requirement("node.kubernetes.io/instance-type", *types)] if types else []
    if zones:
        requirements.append(requirement("topology.kubernetes.io/zone", *zones))
    conditions = [{"type": kind, "status": "True", "reason": kind, "lastTransitionTime": stamp} for kind, stamp in status.items()]
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "creationTimestamp": format_rfc3339(at),
            "labels": {"karpenter.sh/nodepool": pool},
        },
        "spec": {"requirements": requirements},
        "status": {"conditions": conditions},
    }


def waiting_pod(
    name: str,
    *,
    namespace: str = "shop",
    labels: dict[str, str] | None = None,
    owner: str = "",
    pools: tuple[str, ...] = (),
    since: str = "2026-08-25T09:59:58Z",
    **spec: Any,
) -> dict[str, Any]:
    """A pod that the scheduler calls Unschedulable."""
    owners = [{"kind": "ReplicaSet", "name": owner, "controller": True}] if owner else []
    selector = {"nodeSelector": {"karpenter.sh/nodepool": pools[0]}} if len(pools) == 1 else {}
    affinity = {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [requirement("karpenter.sh/nodepool", *pools)]}]
                }
            }
        }
    }
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}, "ownerReferences": owners},
        "spec": {**selector, **(affinity if len(pools) > 1 else {}), **spec},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since}],
        },
    }


ACCOUNT, REGION = "111122223333", "us-west-2"


def fleet_record(
    at: float,
    pool: str,
    *offerings: tuple[str, str],
    code: str = "InsufficientInstanceCapacity",
    lifecycle: str = "on-demand",
    region: str = REGION,
    account: str = ACCOUNT,
) -> dict[str, Any]:
    """What EventBridge makes of CloudTrail's record of a fleet request that EC2 refused these pairs of instance type and zone.

    The members are those of a record that a user of Karpenter published (docs/research/karpenter-ec2.md), and those of E14.
    """
    errors = [
        {
            "errorCode": code,
            "errorMessage": f"We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone}).",
            "lifecycle": lifecycle,
            "launchTemplateAndOverrides": {
                "launchTemplateSpecification": {"launchTemplateId": "lt-0123456789abcdef0", "version": 1},
                "overrides": {"instanceType": kind, "availabilityZone": zone, "subnetId": f"subnet-{zone}", "imageId": "ami-1"},
            },
        }
        for kind, zone in offerings
    ]
    tags = [{"tag": 1, "Key": "eks:eks-cluster-name", "Value": "shop"}, {"tag": 2, "Key": "karpenter.sh/nodepool", "Value": pool}]
    made = sample("E14")
    made |= {"account": account, "region": region, "time": format_rfc3339(at)}
    detail = made["detail"]
    role = {"type": "Role", "arn": f"arn:aws:iam::{account}:role/KarpenterController", "accountId": account}
    detail["userIdentity"] |= {"accountId": account, "sessionContext": {"sessionIssuer": role}}
    detail |= {"awsRegion": region, "recipientAccountId": account, "eventTime": format_rfc3339(at), "eventID": f"{at}-{pool}"}
    detail["requestParameters"]["CreateFleetRequest"]["TagSpecification"] = [
        {"ResourceType": kind, "tag": place, "Tag": tags} for place, kind in enumerate(("instance", "volume", "fleet"), 1)
    ]
    detail["responseElements"]["CreateFleetResponse"]["errorSet"] = {"item": errors[0] if len(errors) == 1 else errors}
    return made
