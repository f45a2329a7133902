"""The parts of a release: one version everywhere, notes from the changelog, a chart that pulls what was pushed."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from tools import release
from tools.release import CHART, PROJECTS, ROOT, NotReleasable

VERSION = release.version()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that name the version, as a maintainer leaves them before the tag."""
    for name in (*PROJECTS, f"{CHART}/Chart.yaml", f"{CHART}/values.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-12-01\n\n- First.\n\n## [0.0.9]\n\n- Old.\n"
    )
    return tmp_path


def test_a_tag_names_the_version_of_everything(tree: Path) -> None:
    assert release.check(f"v{VERSION}", tree) == VERSION


@pytest.mark.parametrize("tag", [VERSION, "v9.9.9", ""])
def test_another_tag_is_refused(tag: str, tree: Path) -> None:
    """Also one without the `v`, for which the workflow does not run."""
    with pytest.raises(NotReleasable, match=re.escape(f"tag v{VERSION}")):
        release.check(tag, tree)


@pytest.mark.parametrize("name", [*PROJECTS[1:], f"{CHART}/Chart.yaml"])
def test_a_file_with_another_version_is_named(name: str, tree: Path) -> None:
    path = tree / name
    path.write_text(re.sub(rf"^(version.*){re.escape(VERSION)}", r"\g<1>9.9.9", path.read_text(), count=1, flags=re.MULTILINE))
    with pytest.raises(NotReleasable, match=re.escape(f"{name}") + ".*9.9.9.*write"):
        release.check(f"v{VERSION}", tree)


def test_a_changelog_without_the_version_is_refused(tree: Path) -> None:
    """Entries under "Unreleased" would be published under no version."""
    path = tree / "CHANGELOG.md"
    path.write_text(path.read_text().replace("[Unreleased]\n", "[Unreleased]\n\n- New.\n"))
    with pytest.raises(NotReleasable, match=re.escape("[Unreleased]; name it")):
        release.check(f"v{VERSION}", tree)


def test_notes_are_the_first_section_with_entries(tree: Path) -> None:
    assert release.notes((tree / "CHANGELOG.md").read_text()) == "- First.\n"


def test_the_published_chart_pulls_from_where_the_images_are(tree: Path, tmp_path: Path) -> None:
    """No other value differs."""
    release.chart("ghcr.io/somebody", tmp_path / "out", tree)
    before, after = (yaml.safe_load((folder / "values.yaml").read_text()) for folder in (tree / CHART, tmp_path / "out"))
    assert after.pop("image") == before.pop("image") | {"repository": "ghcr.io/somebody/failoverctl"}
    assert after == before
    notes = yaml.safe_load((tmp_path / "out" / "Chart.yaml").read_text())["annotations"]
    (image,) = yaml.safe_load(notes["artifacthub.io/images"])
    assert image["image"] == f"ghcr.io/somebody/failoverctl:{VERSION}"


def test_a_chart_that_names_its_image_otherwise_is_refused(tree: Path, tmp_path: Path) -> None:
    """Else it would be published with an image that nobody has."""
    values = tree / CHART / "values.yaml"
    values.write_text(values.read_text().replace("repository: failoverctl", "repository: other"))
    with pytest.raises(NotReleasable, match=r"image\.repository"):
        release.chart("ghcr.io/somebody", tmp_path / "out", tree)


def test_a_package_index_gets_links_that_lead_somewhere(tree: Path) -> None:
    """It shows the README alone: nothing in it may be relative to the repository; each distribution has addresses and the licence."""
    for name in ("README.md", "model_server/README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    release.distributions("https://github.com/somebody/failoverctl", tree)
    blob = f"https://github.com/somebody/failoverctl/blob/v{VERSION}"
    for name in PROJECTS:
        assert tomllib.loads((tree / name).read_text())["project"]["urls"]["Changelog"] == f"{blob}/CHANGELOG.md"
        assert (tree / name).with_name("LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    for name in ("README.md", "model_server/README.md"):
        tokens = [one for block in MarkdownIt().parse((tree / name).read_text()) for one in block.children or ()]
        targets = [str(one.attrs.get("href") or one.attrs.get("src")) for one in tokens if one.type in {"link_open", "image"}]
        assert targets
        assert [one for one in targets if not one.startswith("https://")] == []
    assert f"]({blob}/docs/install.md)" in (tree / "README.md").read_text()
    assert f"]({blob}/docs/model-server.md)" in (tree / "model_server/README.md").read_text()


@pytest.mark.parametrize("name", PROJECTS)
def test_a_distribution_describes_itself(name: str) -> None:
    """What a package index asks for: description, text, licence and its status."""
    project = tomllib.loads((ROOT / name).read_text())["project"]
    assert project["description"]
    assert project["readme"]
    assert project["license"] == "Apache-2.0"
    assert "Development Status :: 3 - Alpha" in project["classifiers"]
