"""The root of the command line. A command is imported when it is named, and what it does when it runs: `--help` needs click alone."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import click

from controller import __version__
from controller.cli.common import fail_cleanly
from controller.errors import FailoverError

_CONTROLLER: Final = "controller.cli.commands"
_ANALYSIS: Final = "failover_analysis.cli.commands"
_TESTBED: Final = "failover_testbed.cli.commands"
_SETUP: Final = "failover_setup.cli.commands"
_COMMANDS: Final = {
    "run": (f"{_CONTROLLER}.run", "run_command", "Run the controller."),
    "plan": (f"{_CONTROLLER}.plan", "plan_command", "Show what the controller would do now, and why."),
    "explain": (f"{_CONTROLLER}.explain", "explain_command", "Show what would make the controller act, when, and what holds it."),
    "doctor": (f"{_SETUP}.doctor", "doctor_command", "Check what the cluster lacks for safe mode changes, and how to fix it."),
    "status": (f"{_CONTROLLER}.status", "status_command", "Show mode, weights, replicas and health."),
    "history": (f"{_CONTROLLER}.history", "history_command", "List the mode changes: when, why, by whom, how long, at what price."),
    "replay": (f"{_ANALYSIS}.replay", "replay_command", "Decide recorded moments again, optionally with another policy."),
    "weights": (f"{_SETUP}.config", "weights_command", "Print prices and weights of an application file."),
    "init": (f"{_SETUP}.init", "init_command", "Write an application file for an existing stack."),
    "render": (f"{_SETUP}.render", "render_command", "Render all manifests of a stack from its application file."),
    "breaking-point": (f"{_SETUP}.breaking_point", "breaking_point_command", "Measure how much load one replica of a unit carries."),
    "drill": (f"{_SETUP}.drill", "drill_command", "Make a real shortage with AWS FIS, and report what came of it."),
    "pause": (f"{_CONTROLLER}.overrides", "pause_command", "Stop the controller from changing anything for a time."),
    "resume": (f"{_CONTROLLER}.overrides", "resume_command", "Remove a pause and a pin."),
    "pin": (f"{_CONTROLLER}.overrides", "pin_command", "Request a mode and keep it for a time."),
    "notify": (f"{_CONTROLLER}.notify", "notify_group", "Check that messages reach people."),
    "version": (f"{_CONTROLLER}.version", "version_command", "Print the version."),
    "config": (f"{_SETUP}.config", "config_group", "Check configuration."),
    "simulate": (f"{_ANALYSIS}.simulate", "simulate_command", "Simulate months of the controller's work in virtual time."),
    "verify-install": (f"{_SETUP}.verify_install", "verify_install_command", "Show that the installation works in this cluster, for CI."),
    "uninstall": (f"{_SETUP}.uninstall", "uninstall_command", "Show what is left of the controller in a cluster, and how to remove it."),
    "worth": (f"{_ANALYSIS}.worth", "worth_command", "Show what failoverctl would be worth to you, by your recorded demand and shortages."),
    "demo": (f"{_TESTBED}.demo", "demo_command", "Play a shortage without a cloud: failover and fallback in about a minute."),
}
"""By name: the module and the name of the click command, and its line in the list of commands."""

# The controller never imports the packages that set it up or prove it. Only these commands name and import them, and only when they run.
_EXTRAS: Final = {
    "failover_setup": ("setup", "./setup"),
    "failover_testbed": ("demo", "./proof[demo]"),
    "failover_analysis": ("analysis", "./proof"),
}
"""By package: the extra that installs it, and what a checkout of the repository installs instead."""


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """Keeps structlog from importing rich, which no command needs: 6.5 MiB of a long process, and 0.2 s of CPU."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails as if it were not installed
    try:
        yield
    finally:
        del sys.modules["rich"]


def _refuse(command: str, error: ModuleNotFoundError) -> NoReturn:
    """Ends a command that lacks an extra with one line: what is missing, the extra that installs it, and both ways to install it."""
    package = _lacking(error) or _COMMANDS[command][0].partition(".")[0]
    if package not in _EXTRAS or (error.name or "").partition(".")[0] == "controller":
        raise error
    extra, checkout = _EXTRAS[package]
    install = f"pip install 'mixed-accelerator-failover[{extra}]', in a checkout pip install '{checkout}'"
    raise click.ClickException(f"`failoverctl {command}` needs {error.name}, which is not installed: {install}") from error


def _lacking(error: ModuleNotFoundError) -> str | None:
    """Which package of `_EXTRAS` is missing or lacks a module; None: none of them. A command of one may call another."""
    names = [error.name or ""]
    frame = error.__traceback__
    while frame is not None:
        names.insert(1, str(frame.tb_frame.f_globals.get("__name__")))
        frame = frame.tb_next
    return next((package for name in names if (package := name.partition(".")[0]) in _EXTRAS), None)


def _no_room(error: OSError) -> click.ClickException:
    """Ends a command whose output has no room on its device. What standard output still holds is dropped: Python would try it again."""
    if error.filename is None:
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
    return click.ClickException(f"{error.filename or 'standard output'}: cannot be written: {error.strerror}")


class _Lazy(click.Group):
    """The commands of the table. What a command raises on purpose ends it with one message, here for all of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        named = args[0]
        if named not in _COMMANDS and not named.startswith("-"):
            close = difflib.get_close_matches(named, _COMMANDS, n=1)
            ctx.fail(f"No such command {named!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        try:
            resolved = super().resolve_command(ctx, args)
        except ModuleNotFoundError as error:
            _refuse(named, error)
        ctx.with_resource(_without_rich())  # until the command has ended
        return resolved

    def invoke(self, ctx: click.Context) -> object:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # an icon that the terminal's encoding lacks must not end a command
        try:
            return super().invoke(ctx)
        except FailoverError as error:
            raise fail_cleanly(error) from error
        except ModuleNotFoundError as error:
            _refuse(str(ctx.invoked_subcommand), error)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise _no_room(error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, _, words) in _COMMANDS.items()])


# click ends wrong usage with 2, which for `plan` means "there are changes": a misspelt option must not look like a pending change.
click.UsageError.exit_code = 1


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="failoverctl")
def main() -> None:
    """Keep mixed-accelerator inference on EKS served at the lowest cost while cloud capacity comes and goes."""


if __name__ == "__main__":
    main()
