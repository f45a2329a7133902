"""What a code host and Artifact Hub read of the project: issue forms, governance, and the chart's annotations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
FORMS: Final = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one(path: Path) -> None:
    """GitHub shows none that has no name, description or field, or two fields of one id."""
    form: dict[str, Any] = yaml.safe_load(path.read_text())
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_the_project_says_how_people_behave_decide_and_report() -> None:
    """And README leads to governance and security."""
    readme = (ROOT / "README.md").read_text()
    for name in (".github/GOVERNANCE.md", "SECURITY.md", "CONTRIBUTING.md"):
        assert f"({name})" in readme
    assert (ROOT / ".github" / "CODE_OF_CONDUCT.md").is_file()
    assert len(FORMS) >= 2


def test_artifact_hub_can_read_the_chart() -> None:
    """Licence, category and links; the value of each annotation is a text, and links are a list in YAML."""
    annotations = yaml.safe_load((ROOT / "deploy" / "chart" / "Chart.yaml").read_text())["annotations"]
    assert annotations["artifacthub.io/license"] in (ROOT / "pyproject.toml").read_text()
    assert annotations["artifacthub.io/prerelease"] in {"true", "false"}
    assert re.fullmatch("[a-z-]+", annotations["artifacthub.io/category"])
    assert all({"name", "url"} == link.keys() for link in yaml.safe_load(annotations["artifacthub.io/links"]))
