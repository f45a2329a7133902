"""`python -m deploy.images`: write the Dockerfiles, resolve digests, refuse a release without them."""

import shutil
import subprocess
import sys
from pathlib import Path

import click

from deploy.images.catalog import FILE, UNRESOLVED, load, parse
from deploy.images.dockerfiles import ROOT, dockerfiles

TIMEOUT = 60.0
"""Seconds for a registry to answer."""


@click.group()
def main() -> None:
    """The images' bases and Dockerfiles."""


@main.command()
def write() -> None:
    """Write all Dockerfiles from images.yaml."""
    for path, content in dockerfiles(load()).items():
        (ROOT / path).write_text(content, encoding="utf-8")
        click.echo(path)


@main.command()
@click.option("--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=FILE, help="Another images.yaml.")
def resolve(path: Path) -> None:
    """Ask the registries for the digests that are missing, and write them into images.yaml.

    Needs `crane` (github.com/google/go-containerregistry). A tag with a digest keeps it. To take a newer image, set it to unresolved.
    """
    missing = load(path).unresolved()
    crane = shutil.which("crane")
    if missing and crane is None:
        commands = "\n".join(f"  crane digest {base.tagged}" for base in missing.values())
        raise click.ClickException(f"crane is not installed; with it, this would run:\n{commands}")
    text = path.read_text(encoding="utf-8")
    for name, base in missing.items():
        asked = subprocess.run(  # noqa: S603 - an argument list
            [str(crane), "digest", base.tagged], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        if asked.returncode != 0:
            raise click.ClickException(f"{name}: crane digest {base.tagged}: {asked.stderr.strip()}")
        digest = asked.stdout.strip()
        before = f"image: {base.image}\n    tag: {base.tag}\n    digest: {UNRESOLVED}"
        if before not in text:
            raise click.ClickException(f"{path}: write bases.{name} as image, tag and digest in this order, a line each")
        text = text.replace(before, before.replace(UNRESOLVED, digest), 1)
        click.echo(f"{name}: {digest}")
    parse(text)
    path.write_text(text, encoding="utf-8")
    if missing:
        click.echo("now run: make images, and check the diff")


@main.command()
def release() -> None:
    """Fail if any image would be built or run from a tag that can move: the first step of a release."""
    missing = load().unresolved()
    for name, base in missing.items():
        click.echo(f"{name}: {base.tagged} has no digest; crane digest {base.tagged}", err=True)
    if missing:
        sys.exit(1)
    click.echo("every image is named by its digest")


if __name__ == "__main__":
    main()
