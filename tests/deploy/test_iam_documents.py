"""IAM accepts the IAM documents, filled in as in docs/install.md, and they grant what they should."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from typing import Any, Final

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.aws import emulated_account
from tools.permissions import ROOT

IAM: Final = ROOT / "deploy" / "iam"
POLICIES: Final = ("policy.json", "keda.json")
TRUSTS: Final = ("trust-irsa.json", "trust-pod-identity.json")
QUEUES: Final = ("refusal-queue.yaml", "refusal-queue.tf")  # tests/deploy/test_refusal_queue.py
VALUES: Final = {
    "ACCOUNT": "123456789012",
    "PARTITION": "aws",
    "CLUSTER": "inference",
    "NAMESPACE": "failover-system",
    "SERVICE_ACCOUNT": "failoverctl",
    "OIDC_PROVIDER": "oidc.eks.us-west-2.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
}


def filled(name: str, **changes: str) -> dict[str, Any]:
    """A template as ``envsubst`` fills it; a placeholder without a value is an error."""
    document: dict[str, Any] = json.loads(string.Template((IAM / name).read_text()).substitute({**VALUES, **changes}))
    return document


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with emulated_account(monkeypatch):
        yield boto3.client("iam", region_name="us-west-2")


def test_every_document_is_tried() -> None:
    """A new document needs a line here."""
    assert {path.name for path in IAM.iterdir()} == {*POLICIES, *TRUSTS, *QUEUES}


@pytest.mark.parametrize("trust", TRUSTS)
@pytest.mark.parametrize("policy", POLICIES)
def test_iam_takes_them(iam: Any, trust: str, policy: str) -> None:
    """A role with the trust document, and the policy in it."""
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(filled(trust)))
    iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps(filled(trust)))  # moto reads it only here
    iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=(IAM / policy).read_text())
    assert iam.get_role_policy(RoleName="r", PolicyName="p")["PolicyDocument"]["Statement"]


def test_iam_would_refuse_a_wrong_one(iam: Any) -> None:
    """The test above can fail: an effect that does not exist."""
    wrong = filled("trust-irsa.json")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(wrong))
    wrong["Statement"][0]["Effect"] = "allow"
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps(wrong))


def test_irsa_trusts_one_service_account_of_one_cluster() -> None:
    """Compared with StringEquals, so that no wildcard matches; and only for tokens with STS as audience."""
    (statement,) = filled("trust-irsa.json")["Statement"]
    provider = VALUES["OIDC_PROVIDER"]
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{provider}"}
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{provider}:aud": "sts.amazonaws.com",
            f"{provider}:sub": "system:serviceaccount:failover-system:failoverctl",
        }
    }


def test_pod_identity_trusts_one_service_account_of_one_cluster() -> None:
    """By the tags that EKS puts on the session, which needs sts:TagSession."""
    (statement,) = filled("trust-pod-identity.json")["Statement"]
    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert statement["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    assert statement["Condition"]["StringEquals"] == {
        "aws:SourceAccount": "123456789012",
        "aws:RequestTag/eks-cluster-name": "inference",
        "aws:RequestTag/kubernetes-namespace": "failover-system",
        "aws:RequestTag/kubernetes-service-account": "failoverctl",
    }


def test_other_partitions_are_spelt_out() -> None:
    """China's and GovCloud's ARNs begin otherwise."""
    (statement,) = filled("trust-irsa.json", PARTITION="aws-us-gov")["Statement"]
    assert statement["Principal"]["Federated"].startswith("arn:aws-us-gov:iam::")
