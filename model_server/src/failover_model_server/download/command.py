"""`failover-model-server download`: fetch a model without serving it (an init container, a staging job), or show what would be fetched."""

import json
from collections import defaultdict
from pathlib import Path

import click

from failover_model_server import download
from failover_model_server.download import local
from failover_model_server.download.files import Algorithm, Checksum, Listing, RemoteFile
from failover_model_server.download.plan import MODEL_INDEX, Plan, make_plan, read_model_index
from failover_model_server.download.source import Transient
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

STEP = 0.05
"""Share of the bytes between two lines of progress."""


@click.command("download")
@click.argument("model", required=False)
@click.option("--revision", help="Commit of a hub model; digest of an S3 prefix.")
@click.option("--variant", help="Precision to prefer; empty for the default one.  [default: fp16]")
@click.option("--compiled", is_flag=True, help="MODEL is compiled artifacts for Neuron.")
@click.option("--to", "root", type=click.Path(path_type=Path, file_okay=False), help="Where models are kept: MODEL_SERVER_CACHE_DIR.")
@click.option(
    "--link", type=click.Path(path_type=Path), help="Make this a link to the directory: a name that another program can be given."
)
@click.option("--plan", "only_plan", is_flag=True, help="Show which files would be fetched, and fetch none.")
@click.option(
    "--listing", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="With --plan: read the list of files from this file."
)
def command(
    model: str | None,
    revision: str | None,
    variant: str | None,
    *,
    compiled: bool,
    root: Path | None,
    link: Path | None,
    only_plan: bool,
    listing: Path | None,
) -> None:
    """Fetch MODEL (or the one of the settings), verify it, and print its directory.

    MODEL is hf://ORG/REPO, s3://BUCKET/PREFIX, file:///PATH or a path. A server with the same settings then starts without asking anyone.
    A directory that was fetched can be copied to S3 as it is: its manifest goes with it, and is what later downloads are checked by.
    """
    given = {"compiled_revision" if compiled else "revision": revision, "variant": variant, "cache_dir": root} | _models(
        model, compiled=compiled
    )
    settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    try:
        if listing is not None:
            name, found = _recorded(listing)
            click.echo(describe(name, make_plan(found.files, variant=settings.variant, compiled=compiled), settings.variant))
        elif only_plan:
            click.echo(describe(*_planned(settings), settings.variant))
        else:
            if not settings.model and not settings.compiled_model:
                raise click.UsageError("name a MODEL, or set MODEL_SERVER_MODEL")
            directory = download.get(settings, _Lines())
            if link is not None:
                _link(link, directory)
            click.echo(directory)
    except (LoadError, Transient) as error:
        raise click.ClickException(str(error)) from error


def _link(link: Path, directory: Path) -> None:
    """Point a link to a directory; the one that was there is replaced at once, never gone in between."""
    temporary = link.with_name(f".{link.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(directory.resolve())
        temporary.replace(link)
    except OSError as error:
        raise LoadError(f"--link {link}: {error.strerror}") from error


def describe(name: str, plan: Plan, variant: str) -> str:
    """What a plan takes and leaves, and the share of the bytes."""
    lines = [f"{name}   {plan.kind}, variant {variant or 'none'}", ""]
    lines += [f"  {file.size:>16,}  {file.path}" for file in sorted(plan.chosen, key=lambda file: -file.size)]
    reasons: dict[str, list[RemoteFile]] = defaultdict(list)
    for file, why in plan.left:
        reasons[why.value].append(file)
    lines += ["", "Left out"]
    for sentence, files in sorted(reasons.items()):
        lines.append(f"  {sum(file.size for file in files):>16,}  {len(files)} files: {sentence}")
    share = plan.bytes_chosen / plan.bytes_total if plan.bytes_total else 0.0
    lines += ["", f"Fetches {len(plan.chosen)} files, {plan.bytes_chosen:,} of {plan.bytes_total:,} bytes ({share:.2%})."]
    return "\n".join(lines)


def _models(model: str | None, *, compiled: bool) -> dict[str, str | None]:
    if compiled:
        return {"backend": "neuron", "compiled_model": model}
    # The uncompiled model was named: compiled artifacts of the environment are not meant.
    return {"model": model} | ({"compiled_model": ""} if model else {})


def _planned(settings: Settings) -> tuple[str, Plan]:
    location, compiled = download.wanted(settings)
    if location.scheme == "file":
        return location.name, local.check("model", Path(location.path), variant=settings.variant, compiled=compiled)
    source = download.open_source(settings, location)
    found = source.listing()
    index = next((file for file in found.files if file.path == MODEL_INDEX), None)
    content = read_model_index(source.read(index)) if index and not compiled else None
    name = f"{location.name}@{found.revision[:12]}"
    return name, make_plan(found.files, variant=settings.variant, compiled=compiled, model_index=content)


def _recorded(path: Path) -> tuple[str, Listing]:
    """A list of files from a file: {"source", "revision", "files": [{"path", "size" or "at_least", "sha256"?}]}."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(
            RemoteFile(
                str(file["path"]),
                int(file["size"] if "size" in file else file["at_least"]),
                Checksum(Algorithm.SHA256, file["sha256"]) if "sha256" in file else None,
            )
            for file in raw["files"]
        )
        return f"{raw['source']}@{raw['revision'][:12]}", Listing(str(raw["revision"]), files)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise LoadError(f"{path}: is no list of files ({type(error).__name__}: {error})") from error


class _Lines:
    """Progress as lines: what a log of a job shows well."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, here: int, total: int) -> None:
        share = here / total if total else 1.0
        if share >= self._next:
            click.echo(f"{share:6.1%}  {here / 1e6:,.0f} of {total / 1e6:,.0f} MB", err=True)
            self._next = min(1.0, share + STEP) if share < 1.0 else 2.0
