"""What a release is made of: version, notes, chart, images and wheels. ``python -m tools.release`` (docs/releasing.md).

The workflow (`.github/workflows/release.yaml`) and the rehearsal (`tests/cluster/test_release.py`) run the same commands.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).parents[1]
CHART: Final = Path("deploy") / "chart"
PROJECTS: Final = ("pyproject.toml", "setup/pyproject.toml", "proof/pyproject.toml", "model_server/pyproject.toml")
"""The distributions. The first has the version of the release; the others, the chart and its image's tag must have the same."""

_SECTION: Final = re.compile(r"^## \[([^]]+)\].*$", re.MULTILINE)
_REPOSITORY: Final = "  repository: failoverctl\n"
_LINK: Final = re.compile(r"(!?)(\[[^]]*\]\()(?![a-z]+:|#)([^)\s]+)\)")
"""A link or image of Markdown that is relative to its file."""


class NotReleasable(Exception):
    """The files contradict each other; the message names the file and the fix."""


def version(root: Path = ROOT) -> str:
    """The version of the release."""
    return str(tomllib.loads((root / PROJECTS[0]).read_text())["project"]["version"])


def check(tag: str, root: Path = ROOT) -> str:
    """The version that a tag names.

    Args:
        tag: The tag in Git: a ``v`` and the version. Images and chart have the version without the ``v``, as the chart pulls them.
        root: A checkout.

    Raises:
        NotReleasable: The tag, a distribution, the chart or the changelog names another version.
    """
    wanted = version(root)
    if tag != f"v{wanted}":
        raise NotReleasable(f"the tag is {tag}, and {PROJECTS[0]} has version {wanted}: tag v{wanted}, or change the version")
    chart = yaml.safe_load((root / CHART / "Chart.yaml").read_text())
    found = {name: tomllib.loads((root / name).read_text())["project"]["version"] for name in PROJECTS}
    found |= {f"{CHART}/Chart.yaml, {key}": chart[key] for key in ("version", "appVersion")}
    for place, other in found.items():
        if other != wanted:
            raise NotReleasable(f"{place}: {other}; write {wanted}")
    heading = _sections((root / "CHANGELOG.md").read_text())[0][0]
    if heading != wanted:
        raise NotReleasable(f"CHANGELOG.md: the first section with entries is [{heading}]; name it [{wanted}], with the date")
    return wanted


def notes(changelog: str) -> str:
    """The release notes: the entries of the changelog's first section that has any."""
    return _sections(changelog)[0][1]


def _sections(changelog: str) -> list[tuple[str, str]]:
    """The sections with entries, the newest first: heading and body."""
    found = list(_SECTION.finditer(changelog))
    ends = [one.start() for one in found[1:]] + [len(changelog)]
    bodies = [(one[1], changelog[one.end() : end].strip() + "\n") for one, end in zip(found, ends, strict=True)]
    return [(heading, body) for heading, body in bodies if body.strip()]


def chart(registry: str, out: Path, root: Path = ROOT) -> None:
    """Writes the chart as it is published: it pulls the images from where they were pushed, so an installation need not name them.

    Args:
        registry: The registry and the path in it, such as ``ghcr.io/your-organisation``.
        out: The folder to write.
        root: A checkout.

    Raises:
        NotReleasable: values.yaml has no ``repository: failoverctl``.
    """
    text = (root / CHART / "values.yaml").read_text()
    if text.count(_REPOSITORY) != 1:
        raise NotReleasable(f"{CHART}/values.yaml: write image.repository as {_REPOSITORY.strip()}, once")
    shutil.copytree(root / CHART, out)
    with (out / "Chart.yaml").open("a") as about:  # its annotations come last
        about.write(f"  artifacthub.io/images: |\n    - name: failoverctl\n      image: {registry}/failoverctl:{version(root)}\n")
    (out / "values.yaml").write_text(text.replace(_REPOSITORY, f"  repository: {registry}/failoverctl\n"))


def distributions(address: str, root: Path = ROOT) -> None:
    """Prepares a checkout for `make build`: a package index shows the README alone, so its links must lead to the repository.

    Each distribution also gets the repository's address and its licence's text.

    Args:
        address: Where the repository is, such as ``https://github.com/your-organisation/failoverctl``.
        root: The checkout, which is changed.
    """
    tag = f"v{version(root)}"
    urls = {
        "Repository": address,
        "Documentation": f"{address}/blob/{tag}/docs/README.md",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
    }
    for name in PROJECTS:
        project = root / name
        with project.open("a") as file:
            file.write("\n[project.urls]\n" + "".join(f'{label} = "{url}"\n' for label, url in urls.items()))
        if project.parent != root:
            shutil.copy(root / "LICENSE", project.parent / "LICENSE")
        readme = project.parent / "README.md"
        if readme.exists():
            readme.write_text(absolute(readme.read_text(), address, tag, project.parent.relative_to(root)))


def absolute(markdown: str, address: str, tag: str, folder: Path = Path()) -> str:
    """A text of Markdown whose relative links and images lead to a tag of the repository.

    Args:
        markdown: The text.
        address: Where the repository is.
        tag: The tag.
        folder: The file's folder in the repository.
    """

    def led(found: re.Match[str]) -> str:
        image, start, target = found.groups()
        return f"{image}{start}{address}/{'raw' if image else 'blob'}/{tag}/{posixpath.normpath(folder / target)})"

    return _LINK.sub(led, markdown)


def main(arguments: list[str]) -> str:
    """Runs a command and returns what it prints."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description="Parts of a release.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="the version that a tag names; refuses files that name another").add_argument("tag")
    commands.add_parser("notes", help="the release notes, from the changelog")
    published = commands.add_parser("chart", help="the chart as it is published")
    published.add_argument("registry")
    published.add_argument("out", type=Path)
    wheels = commands.add_parser("distributions", help="prepares a checkout for building what a package index shows")
    wheels.add_argument("address")
    given = parser.parse_args(arguments)
    if given.command == "check":
        return check(given.tag)
    if given.command == "notes":
        return notes((ROOT / "CHANGELOG.md").read_text())
    if given.command == "distributions":
        distributions(given.address)
        return f"{', '.join(PROJECTS)} name {given.address}"
    chart(given.registry, given.out)
    return str(given.out)


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]).rstrip())
    except NotReleasable as problem:
        sys.exit(f"not releasable: {problem}")
