"""docs/install.md works: its commands and files exist, and its versions are those that `doctor` names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Final

import pytest
import yaml
from botocore import xform_name
from botocore.session import get_session

from controller import __version__
from failover_setup.doctor.cluster import components
from failover_setup.doctor.cluster.components import Component
from tools.permissions import ROOT

GUIDE: Final = ROOT / "docs" / "install.md"
TEXT: Final = GUIDE.read_text()
CLUSTER: Final = ROOT / "deploy" / "cluster"
COMPONENTS: Final = [one for one in vars(components).values() if isinstance(one, Component)]

_GLOBAL: Final = {"query", "output", "region"}
_CUSTOM: Final = {  # commands of the AWS CLI that are no operation of an API, and their options
    ("cloudformation", "deploy"): {"stack-name", "template-file", "capabilities", "parameter-overrides"},
    ("ecr", "get-login-password"): {"region"},
    ("eks", "update-kubeconfig"): {"name"},
}


def commands() -> Iterator[list[str]]:
    """Every command of the guide's shell blocks, those within ``$( )`` too, as words."""
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL):
        text = re.sub(r"\s#.*$", "", block, flags=re.MULTILINE)
        for line in text.splitlines():
            inner = re.findall(r"\$\(([^()]*)\)", line)
            for one in (*inner, re.sub(r"\$\([^()]*\)", "X", line)):
                words = shlex.split(re.split(r" \| (?=[a-z])", one)[0])
                while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] in {"export", "do", "done"}):
                    words = words[1:]
                if words:
                    yield words


def of(program: str) -> list[list[str]]:
    """The commands of one program."""
    return [words for words in commands() if words[0] == program]


@cache
def _options(service: str, command: str) -> set[str]:
    """The options of a command of the AWS CLI, from the API that it calls."""
    model = get_session().get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(operations[command]).input_shape
    return {xform_name(member, "-") for member in (shape.members if shape is not None else ())}


def test_the_guide_has_commands_of_every_program() -> None:
    """So that no test below passes on an empty list."""
    assert {len(of(program)) > 3 for program in ("aws", "helm", "kubectl", "role", "failoverctl")} >= {True}
    assert len(of("aws")) >= 20


@pytest.mark.parametrize("words", of("aws"), ids=lambda words: " ".join(words[:3]))
def test_the_aws_cli_knows_every_command_and_option(words: list[str]) -> None:
    """From botocore's models, of which the AWS CLI's commands are made."""
    service, command = words[1], words[2]
    given = {word[2:].partition("=")[0] for word in words[3:] if word.startswith("--")}
    known = _CUSTOM.get((service, command)) or _options(service, command)
    assert given - _GLOBAL <= known


@pytest.mark.parametrize("words", of("helm"), ids=lambda words: " ".join(words[:4]))
def test_helm_gets_existing_files_and_pinned_versions(words: list[str]) -> None:
    """A foreign chart is pinned to the version that `doctor` names."""
    for flag, value in pairwise(words):
        if flag == "-f":
            assert (ROOT / value).is_file(), value
    charts = [word for word in words if word.startswith(("oci://", "eks/", "kedacore/", "nvdp/"))]
    if words[1] == "push":
        assert words[2].endswith(f"/failoverctl-{__version__}.tgz")
    elif words[1] == "upgrade" and "oci://$REGISTRY/charts/failoverctl" in charts:
        assert words[words.index("--version") + 1] == __version__
    elif words[1] == "upgrade" and charts:
        assert words[words.index("--version") + 1] in {one.pinned for one in COMPONENTS if one.pinned}


def test_the_image_is_built_from_this_folder_and_has_this_version() -> None:
    """The chart's default tag is its appVersion."""
    (build,) = [words for words in of("docker") if words[1] == "buildx"]
    assert build[-1] == "."
    assert (ROOT / "Dockerfile").is_file()
    assert build[build.index("--tag") + 1] == f"$REGISTRY/failoverctl:{__version__}"


def test_every_component_has_its_section_with_its_version() -> None:
    """Where `doctor` sends people."""
    sections = {match[1]: match[2] for match in re.finditer(r"^## \d\. (.+?)\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE)}
    for component in COMPONENTS:
        assert component.install in sections
        assert component.pinned in sections[component.install]


@pytest.mark.parametrize("words", of("kubectl"), ids=lambda words: " ".join(words[:5]))
def test_kubectl_gets_existing_files(words: list[str]) -> None:
    """Of this repository, written by a command of the guide, or the reader's application."""
    written = {value for words_ in of("failoverctl") for flag, value in pairwise(words_) if flag in {"--out", "render"}}
    for flag, value in pairwise(words):
        if flag in {"-f", "-k"} and value not in written:
            assert (ROOT / value).exists(), value


def test_every_document_of_iam_is_used() -> None:
    """And the values files."""
    for path in (*(ROOT / "deploy" / "iam").iterdir(), *CLUSTER.iterdir()):
        assert str(path.relative_to(ROOT)) in TEXT or path.name in TEXT, path


def test_roles_are_for_the_accounts_that_the_charts_make() -> None:
    """`role NAME NAMESPACE SERVICE_ACCOUNT`: the names that the values files give, or the charts' own."""
    made = {words[1]: tuple(words[2:]) for words in of("role")}
    lbc = yaml.safe_load((CLUSTER / "aws-load-balancer-controller.yaml").read_text())["serviceAccount"]["name"]
    keda = yaml.safe_load((CLUSTER / "keda.yaml").read_text())["serviceAccount"]["operator"]["name"]
    own = yaml.safe_load((ROOT / "deploy" / "kustomize" / "base" / "service-account.yaml").read_text())["metadata"]
    assert made == {
        "karpenter": ("kube-system", "karpenter"),
        "lbc": ("kube-system", lbc),
        "keda": ("keda", keda),
        "failoverctl": (own["namespace"], own["name"]),
    }


def test_links_have_targets() -> None:
    """Files, and headings of this page."""
    headings = {re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-") for line in TEXT.splitlines() if line.startswith("## ")}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings, target
        else:
            assert (GUIDE.parent / target.partition("#")[0]).exists(), target
