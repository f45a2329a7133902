"""The text of a refused launch: every code of the facts, every wording of a limit, and texts that nobody has seen yet."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.foreign import decode
from controller.policy.model import Cause
from controller.signals.classify import (
    CODE_CAUSES,
    CREATE_ERROR_CAUSES,
    Explained,
    RefusalMessage,
    classify_create_error,
    classify_refusal,
    explained_pools,
    limited_pools,
    unavailable_pools,
)
from tests.signals.samples import FLEET, ice_message, sample

# Facts §3.1 and §D.1, written down again on purpose: the table under test must not be its own judge.
CODES = {
    "InsufficientInstanceCapacity": Cause.CAPACITY,
    "UnfulfillableCapacity": Cause.CAPACITY,
    "ReservationCapacityExceeded": Cause.CAPACITY,
    "InsufficientHostCapacity": Cause.CAPACITY,
    "InsufficientReservedInstanceCapacity": Cause.CAPACITY,
    "InsufficientCapacity": Cause.CAPACITY,
    "SpotMaxPriceTooLow": Cause.CAPACITY,
    "VcpuLimitExceeded": Cause.QUOTA,
    "MaxSpotInstanceCountExceeded": Cause.QUOTA,
    "MaxFleetCountExceeded": Cause.QUOTA,
    "InstanceLimitExceeded": Cause.QUOTA,
    "PendingVerification": Cause.QUOTA,
    "InsufficientFreeAddressesInSubnet": Cause.NETWORK,
    "Unsupported": Cause.CONFIG,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": Cause.CONFIG,
}

# Facts §2.3; None: passing trouble.
CREATE_ERRORS = {
    "VCPULimitExceeded": Cause.QUOTA,
    "SpotQuotaExceeded": Cause.QUOTA,
    "FleetQuotaExceeded": Cause.QUOTA,
    "AccountPendingVerification": Cause.QUOTA,
    "InsufficientFreeAddressesInSubnet": Cause.NETWORK,
    "RequestLimitExceeded": None,
    "InternalError": None,
    "LaunchFailed": Cause.UNKNOWN,
    "SpotSLRCreationFailed": Cause.CONFIG,
    "Unauthorized": Cause.CONFIG,
    "AMIAuthorizationFailure": Cause.CONFIG,
    "SecurityGroupSubnetVPCMismatch": Cause.CONFIG,
    "InstanceProfileNameInvalid": Cause.CONFIG,
    "LaunchTemplateNotFound": Cause.CONFIG,
    "UserDataSizeLimitExceeded": Cause.CONFIG,
    "InvalidAMIID": Cause.CONFIG,
    "AMINotFound": Cause.CONFIG,
    "FreeTierIneligible": Cause.CONFIG,
    "SubnetResolutionFailed": Cause.CONFIG,
    "NodeClassReadinessUnknown": Cause.CONFIG,
    "InstanceTypeResolutionFailed": Cause.CONFIG,
}


def refusal(detail: str) -> RefusalMessage:
    return classify_refusal(ice_message("inf2-7xk2p", detail))


@pytest.mark.parametrize(("code", "cause"), CODES.items())
def test_each_code_has_its_class(code: str, cause: Cause) -> None:
    """Every EC2 code of the facts, alone in a message, gives its class and itself."""
    found = refusal(f"{FLEET}{code}: something went wrong.")
    assert (found.cause, found.codes, found.truncated, found.parsed) == (cause, (code,), False, True)


def test_the_table_has_no_further_codes() -> None:
    """A code that the facts do not know is UNKNOWN, which trips: nothing may be added to the table by accident."""
    assert CODE_CAUSES == CODES


@pytest.mark.parametrize(("reason", "cause"), CREATE_ERRORS.items())
def test_each_create_error_has_its_class(reason: str, cause: Cause | None) -> None:
    """Every reason of `Launched=Unknown` that the facts know; passing trouble says nothing."""
    found = classify_create_error(reason)
    assert (found.cause if found else None) == cause


def test_the_create_error_table_has_no_further_reasons() -> None:
    """See `test_the_table_has_no_further_codes`."""
    assert CREATE_ERROR_CAUSES == CREATE_ERRORS


def test_a_create_error_nobody_knows_counts_as_unknown() -> None:
    """A reason of a later Karpenter is evidence, of unknown kind."""
    assert classify_create_error("QuantumFluctuation") == RefusalMessage(Cause.UNKNOWN, ("QuantumFluctuation",), parsed=False)


@pytest.mark.parametrize("reason", ["", "AwaitingReconciliation", "ReconcilingDependents", "Launched"])
def test_a_launch_that_is_still_tried_is_no_failure(reason: str) -> None:
    """Karpenter's own waiting reasons are not errors."""
    assert classify_create_error(reason) is None


@pytest.mark.parametrize("end", ["..", "...", "…"])
def test_a_message_that_is_cut_says_so_in_any_way(end: str) -> None:
    """In the field messages end with two dots as well as with three. One that is whole ends with the full stop of its sentence."""
    whole = ice_message("inf2-abcde", "InsufficientInstanceCapacity: We currently do not have sufficient inf2.xlarge capacity.")
    assert not classify_refusal(whole).truncated
    assert classify_refusal(whole.removesuffix(".") + end).truncated


def test_e1_truncated_capacity() -> None:
    """E1: the code, the type and the zone of the first pair survive the cut, and the cut is known."""
    assert classify_refusal(sample("E1")["message"]) == RefusalMessage(
        Cause.CAPACITY,
        ("InsufficientInstanceCapacity",),
        truncated=True,
        instance_type="inf2.xlarge",
        zone="us-west-2a",
        offerings=(("inf2.xlarge", "us-west-2a"),),
    )


def test_e2_everything_was_in_the_cache() -> None:
    """E2: no call was made; capacity, with our own name for it, without type and zone."""
    assert classify_refusal(sample("E2")["message"]) == RefusalMessage(Cause.CAPACITY, ("AllOfferingsUnavailable",))


def test_e3_quota_behind_an_ice_event() -> None:
    """E3: the event's reason says capacity, the code says quota, and the cut says there may be more."""
    assert classify_refusal(sample("E3")["message"]) == RefusalMessage(Cause.QUOTA, ("VcpuLimitExceeded",), truncated=True)


def test_e13_a_log_line_shows_both_codes() -> None:
    """E13: the log's error text is the same grammar untruncated; the headline is capacity and both codes are kept in order."""
    assert classify_refusal(sample("E13")["error"]) == RefusalMessage(
        Cause.CAPACITY,
        ("InsufficientInstanceCapacity", "InsufficientFreeAddressesInSubnet"),
        instance_type="inf2.xlarge",
        zone="us-west-2a",
        offerings=(("inf2.xlarge", "us-west-2a"),),
    )


@pytest.mark.parametrize(
    ("detail", "code"),
    [
        ("truncating instance types based on the passed-in requirements, minValues requirement is not met", "MinValuesUnmet"),
        ("resolving nodeclass, nodeclass not found", "NodeClassUnresolved"),
    ],
)
def test_misconfiguration_that_comes_as_a_capacity_error(detail: str, code: str) -> None:
    """Facts §3.2: minValues and a missing node class are called insufficient capacity and are not."""
    assert refusal(detail) == RefusalMessage(Cause.CONFIG, (code,))


def test_a_full_placement_group_is_configuration() -> None:
    """The capacity code with the placement group's text is a limit of the placement group, not of AWS."""
    found = refusal(FLEET + "InsufficientInstanceCapacity: You have reached the limit of instances in this spread placement group.")
    assert found.cause is Cause.CONFIG


@pytest.mark.parametrize(
    ("codes", "cause"),
    [
        (("Unsupported", "InsufficientFreeAddressesInSubnet"), Cause.NETWORK),
        (("InsufficientFreeAddressesInSubnet", "VcpuLimitExceeded"), Cause.QUOTA),
        (("VcpuLimitExceeded", "BrandNewCode"), Cause.UNKNOWN),
        (("BrandNewCode", "UnfulfillableCapacity"), Cause.CAPACITY),
        (("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "Unsupported"), Cause.CONFIG),
    ],
)
def test_precedence_does_not_depend_on_order(codes: tuple[str, str], cause: Cause) -> None:
    """Karpenter joins the codes in random order (a Go map): the headline must not depend on it."""
    for first, second in (codes, codes[::-1]):
        found = refusal(f"{FLEET}{first}: one.; {second}: two.")
        assert (found.cause, found.codes) == (cause, (first, second))


def test_the_constant_code_in_the_parenthesis_is_ignored() -> None:
    """`aws-error-code=UnfulfillableCapacity` is in every message since v1.5, whatever went wrong."""
    found = refusal(FLEET + "VcpuLimitExceeded: too many. (aws-error-code=UnfulfillableCapacity, aws-operation-name=CreateFleet)")
    assert found.codes == ("VcpuLimitExceeded",)


def test_lower_case_text_after_a_semicolon_is_no_code() -> None:
    """Only a capital letter after the separator begins a code: messages may hold semicolons themselves."""
    found = refusal(FLEET + "UnfulfillableCapacity: nothing; details: none; See: the docs.")
    assert found.codes == ("UnfulfillableCapacity", "See")
    assert found.cause is Cause.CAPACITY


@pytest.mark.parametrize(
    "prefix",
    ["", "creating nodeclaim, ", "(combined from similar events): ", "NodeClaim a event: launching nodeclaim, creating instance, "],
)
def test_what_precedes_the_anchor_does_not_matter(prefix: str) -> None:
    """Auto Mode, older builds and the event correlator each put something in front."""
    assert classify_refusal(f"{prefix}insufficient capacity, {FLEET}VcpuLimitExceeded: x").codes == ("VcpuLimitExceeded",)


@pytest.mark.parametrize(
    "zone",
    ["us-west-2a", "us-gov-west-1b", "us-west-2-lax-1a", "ap-southeast-4c", "eu-isoe-west-1a", "eusc-de-east-1a"],
)
def test_zones_of_every_shape(zone: str) -> None:
    """Commercial, GovCloud, isolated and Local Zones."""
    found = refusal(
        f"{FLEET}InsufficientInstanceCapacity: We currently do not have sufficient trn1n.32xlarge capacity in the Availability Zone "
        f"you requested ({zone})."
    )
    assert (found.instance_type, found.zone) == ("trn1n.32xlarge", zone)


@pytest.mark.parametrize("kind", ["u-6tb1.56xlarge", "g5.xlarge", "p4de.24xlarge", "inf2.8xlarge", "c7i.metal-24xl"])
def test_types_of_every_shape(kind: str) -> None:
    """Hyphens on either side of the dot."""
    text = f"{FLEET}InsufficientInstanceCapacity: We currently do not have sufficient {kind} capacity in"
    assert refusal(text).instance_type == kind


@pytest.mark.parametrize(
    "message",
    [
        "",
        "insufficient capacity",
        "Insufficient Capacity, with fleet error(s), UnfulfillableCapacity: x",
        "NodeClaim x event: creating instance, insufficient capacity, with fleet error(s), Insuf...",
        "NodeClaim x event: creating instance, insufficient capacity, ...",
        "NodeClaim x event: creating instance, insufficient capacity, something entirely new",
    ],
)
def test_a_text_that_is_not_understood_counts_as_unknown_capacity(message: str) -> None:
    """The event's reason already says that it is about capacity; the text only fails to say why. It is counted as not parsed."""
    found = classify_refusal(message)
    assert (found.cause, found.codes, found.parsed) == (Cause.UNKNOWN, ("Unparsed",), False)


def test_a_huge_message_is_cut_and_called_so() -> None:
    """Log lines of Karpenter can be enormous: only the first 4 KiB are read, and what lies behind may be more codes."""
    found = refusal(FLEET + "VcpuLimitExceeded: " + "x" * 10_000 + "; InsufficientInstanceCapacity: y")
    assert (found.codes, found.truncated) == (("VcpuLimitExceeded",), True)


@given(st.text(max_size=5000))
def test_any_text_gives_an_answer(tail: str) -> None:
    """Whatever the text, there is a class and at least one code, and classifying it twice gives the same."""
    for message in (tail, f"insufficient capacity, {tail}", f"insufficient capacity, {FLEET}{tail}"):
        found = classify_refusal(message)
        assert found.codes
        assert found == classify_refusal(message)
        limited_pools(message)
        unavailable_pools(message)


@pytest.mark.parametrize(
    "text",
    [
        "all available instance types exceed limits for nodepool (NodePool=a)",  # v1.5+
        'all available instance types exceed limits for nodepool "a"',  # v1.3, v1.4
        'all available instance types exceed limits for nodepool: "a"',  # v1.0 to v1.2
        "node limits have been exhausted for nodepool (NodePool=a)",  # v1.11+
        'incompatible with nodepool "b", daemonset overhead={"cpu":"1"}, all available instance types exceed limits for nodepool: "a"',
    ],
)
def test_every_wording_of_a_limit(text: str) -> None:
    """Facts §1.4: the wording changed in v1.3, v1.5 and v1.11; the pool's name is read from all of them."""
    assert limited_pools(f"Failed to schedule pod, {text}") == ("a",)
    assert limited_pools(f"Failed to schedule pod, no instance type met all requirements; {text}; {text}") == ("a",)


def test_several_limited_pools_in_one_text() -> None:
    """One fragment per NodePool."""
    text = "; ".join(f"all available instance types exceed limits for nodepool (NodePool={name})" for name in ("a", "b-x", "c"))
    assert limited_pools(text) == ("a", "b-x", "c")


@pytest.mark.parametrize("others", [0, 30, 200])
def test_the_names_behind_many_other_node_pools(others: int) -> None:
    """The text has an entry for each NodePool of the cluster, and the pod's own may be the last: it is read as the API server sends it."""
    pool = "karpenter.sh/nodepool"
    entries = [f"incompatible requirements, key {pool}, {pool} In [nvidia] not in {pool} In [team-{n}-general]" for n in range(others)]
    asked = f"requirements=karpenter.k8s.aws/instance-family In [g5], {pool} In [nvidia], resources={{}}"
    lacking = f"no instance type has the required offering, {asked}"
    text = "; ".join((*entries, lacking, "node limits have been exhausted for nodepool (NodePool=cpu)"))
    message = decode(json.dumps({"kind": "Event", "message": f"Failed to schedule pod, {text}"}).encode())["message"]
    assert (unavailable_pools(message), limited_pools(message)) == (("nvidia",), ("cpu",))


def test_each_entry_has_a_node_pool_of_its_own() -> None:
    """What one entry lacks says nothing of the NodePool that the next one names."""
    assert unavailable_pools("no instance type has the required offering; requirements=karpenter.sh/nodepool In [cpu]") == ()
    assert unavailable_pools("requirements=karpenter.sh/nodepool In [cpu], no instance type has the required offering") == ()


FILTERED = (
    "no instance type met the scheduling requirements or had enough resources or had a required offering",
    "no instance type met the scheduling requirements or had enough resources",
    "no instance type met the scheduling requirements or had a required offering",
    "no instance type had enough resources or had a required offering",
    "no instance type met all requirements",
    "no instance type has enough resources",
    "no instance type has the required offering",
    "no instance type which met the scheduling requirements and had enough resources, had a required offering",
    "no instance type which had enough resources and the required offering met the scheduling requirements",
    "no instance type which met the scheduling requirements and the required offering had the required resources",
    "no instance type met the requirements/resources/offering tuple",
    "minValues requirement is not met for label(s) (label(s)=[node.kubernetes.io/instance-type])",
)
"""Every sentence in which Karpenter filters the types of a NodePool for a pod."""
OTHER = "incompatible requirements, key karpenter.sh/nodepool, karpenter.sh/nodepool In [nvidia] not in karpenter.sh/nodepool In [cpu]"


@pytest.mark.parametrize("why", FILTERED)
def test_nothing_that_is_available_suits_the_pod(why: str) -> None:
    """Which need is named depends on the types that are left: with the only large size refused, it is that of the resources."""
    asked = "karpenter.sh/capacity-type In [on-demand spot], karpenter.sh/nodepool In [nvidia]"
    since_1_5 = f'{why}, requirements={asked}, resources={{"nvidia.com/gpu":"4"}}'
    before = 'incompatible with nodepool "nvidia", daemonset overhead={"cpu":"1"}, no instance type satisfied resources {"cpu":"4"}'
    before += f" and requirements {asked} ({why})"
    for entry in (since_1_5, before):
        assert unavailable_pools(f"Failed to schedule pod, {OTHER}; {entry}") == ("nvidia",)
        assert unavailable_pools(f"Failed to schedule pod, {entry}; {OTHER}") == ("nvidia",)


@pytest.mark.parametrize(
    "text",
    [
        OTHER,
        "nodepool requirements filtered out all available instance types",
        "did not tolerate taint (taint=k=v:NoSchedule)",
        "unsatisfiable topology constraint for pod anti-affinity, key=kubernetes.io/hostname, karpenter.sh/nodepool In [nvidia]",
        "all available instance types exceed limits for nodepool (NodePool=nvidia)",
    ],
)
def test_what_says_nothing_of_what_is_available(text: str) -> None:
    """Taints, topology, limits and pins are about the pod or the NodePool, not about EC2."""
    assert unavailable_pools(f"Failed to schedule pod, {text}") == ()


@pytest.mark.parametrize(
    "text",
    [
        "nodepool requirements filtered out all available instance types",
        "no instance type has the required offering",
        "no instance type which met the scheduling requirements and had enough resources, had a required offering, requirements=x",
        "no instance type met the scheduling requirements or had a required offering",
        "no instance type had enough resources or had a required offering",
        "no instance type met the scheduling requirements or had enough resources or had a required offering",
        "no instance type which had enough resources and the required offering met the scheduling requirements",
        "no instance type which met the scheduling requirements and the required offering had the required resources",
        "no instance type met the requirements/resources/offering tuple",
        "no instance type met all requirements",
        "no instance type has enough resources (CPU request >= 1 Million, m vs M typo?)",
        "incompatible requirements, key karpenter.sh/nodepool, karpenter.sh/nodepool In [a] not in karpenter.sh/nodepool In [b]",
        "did not tolerate taint (taint=k=v:NoSchedule)",
        'incompatible requirements, label "x" does not have known values',
        "unsatisfiable topology constraint for pod anti-affinity, key=kubernetes.io/hostname",
    ],
)
def test_no_other_text_is_a_limit(text: str) -> None:
    """Capacity-like, mixed and configuration fragments name no limited pool."""
    assert limited_pools(f"Failed to schedule pod, {text}") == ()


OWN, OTHER = "amd-neuron-inf2", "amd-nvidia-l4"
FOREIGN = (
    f"incompatible requirements, key karpenter.sh/nodepool, karpenter.sh/nodepool In [{OWN}] not in karpenter.sh/nodepool In [{OTHER}]"
)
TWO_KEYS = (
    "incompatible requirements, key node.kubernetes.io/instance-type, node.kubernetes.io/instance-type In [g6.xlarge] not in "
    "node.kubernetes.io/instance-type In [trn1.2xlarge]; key karpenter.sh/nodepool, karpenter.sh/nodepool In [nvidia] not in "
    "karpenter.sh/nodepool In [trn1]"
)
LACKS = 'no instance type has the required offering, requirements=pool In [x], karpenter.sh/nodepool In [nvidia], resources={"pods":"1"}'
LIMITED = "all available instance types exceed limits for nodepool (NodePool=full)"
TAINTED = "did not tolerate taint (taint=nvidia.com/gpu=true:NoSchedule)"


@pytest.mark.parametrize(
    ("entries", "explained"),
    [
        pytest.param([FOREIGN], Explained((OTHER,)), id="another NodePool, by what it requires"),
        pytest.param([TWO_KEYS, FOREIGN], Explained(("trn1", OTHER)), id="another that requires two things"),
        pytest.param([LACKS, LIMITED], Explained(("nvidia", "full")), id="what it lacks, and what its limit forbids"),
        pytest.param([FOREIGN, TAINTED], Explained((OTHER,), ("nvidia.com/gpu",)), id="a taint, of whichever NodePool"),
        pytest.param(
            [f'incompatible with nodepool "{OTHER}", daemonset overhead={{}}, no instance type met all requirements, resources={{}}'],
            Explained((OTHER,)),
            id="before version 1.5",
        ),
        pytest.param(["nodepool requirements filtered out all available instance types"], Explained(), id="nothing at all is available"),
        pytest.param([FOREIGN, 'incompatible requirements, label "x" does not have known values'], None, id="what any may require"),
        pytest.param([FOREIGN, "unsatisfiable topology constraint for zone (a)"], None, id="topology"),
        pytest.param([f"{FOREIGN}; incompatible requirements, key karpenter.sh/nodep"], None, id="cut within a name"),
        pytest.param([f"{FOREIGN}; incompatible requirements, key karpenter.sh/nodepool, karpenter.sh/nodepool In [a]"], None, id="cut"),
        pytest.param([f"{FOREIGN[:-1]}..."], None, id="cut, as it says"),
        pytest.param([LACKS[:-1]], None, id="cut within what the pod asks for"),
        pytest.param([FOREIGN] * 40, None, id="longer than what is read"),
        pytest.param([""], None, id="nothing is said"),
    ],
)
def test_of_which_nodepools_a_text_says_why_a_pod_has_no_place(entries: list[str], explained: Explained | None) -> None:
    """What is said of a NodePool that is not named may be said of any: then nobody knows which is missing."""
    assert explained_pools("Failed to schedule pod, " + "; ".join(entries)) == explained
    assert explained_pools("; ".join(entries)) is None
