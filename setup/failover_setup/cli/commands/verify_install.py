"""The command `failoverctl verify-install`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from controller.cli.common import Options, common_options, fail_cleanly, output_option
from controller.errors import FailoverError

_UNVERIFIED = 2  # as with pytest: 1 is that a check failed, 2 that nothing could be checked


@contextmanager
def _unverified() -> Iterator[None]:
    """Ends the command with 2 where nothing was verified: wrong usage, an invalid file, no connection."""
    try:
        yield
    except (FailoverError, click.ClickException) as error:
        (error if isinstance(error, click.ClickException) else fail_cleanly(error)).show()
        raise click.exceptions.Exit(_UNVERIFIED) from error


class _Verification(click.Command):
    """A command whose own errors differ from the failure of what it verifies."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401 - as click has it
        with _unverified():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        with _unverified():
            return super().invoke(ctx)


@click.command("verify-install", cls=_Verification)
@click.argument("wanted", metavar="[APPLICATION]...", nargs=-1)
@click.option("--read-only", is_flag=True, help="Leave out the one write, and what only it shows.")
@click.option("--yes", is_flag=True, help="Make the write without asking, as scripts need.")
@click.option("--strict", is_flag=True, help="End with 1 also where a check was skipped.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the results to this file too, as JUnit's XML.")
@output_option("json: one document. junit: JUnit's XML.", "junit")
@common_options
def verify_install_command(
    options: Options, wanted: tuple[str, ...], output: str, junit: Path | None, *, read_only: bool, yes: bool, strict: bool
) -> None:
    """Show that the installation works in this cluster: leader, RBAC, admission policies, load-balancer controller and verification.

    Reads, makes dry runs that store nothing, and then writes once: an annotation that nobody reads makes the load-balancer controller
    reconcile, and is removed again, also after an error or Ctrl-C. No request is routed differently at any moment. docs/verify-install.md
    lists the checks and the permissions that they need.

    Exit code: 0 no check failed, 1 a check failed (with --strict also: was skipped), 2 nothing was verified, such as after wrong usage.
    """
    if read_only and yes:
        raise click.UsageError("--yes: found --read-only too; allowed: one of them")
    if not (read_only or yes) and (output != "text" or not sys.stdin.isatty()):
        raise click.UsageError("found neither --yes nor --read-only, and nobody to ask; allowed: one of them, or text on a terminal")
    from failover_setup.cli.verify_install import verified

    failed, skipped = verified(options, wanted, output, junit, read_only=read_only, yes=yes)
    sys.exit(1 if failed or (strict and skipped) else 0)
