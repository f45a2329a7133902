"""The root of the command line. Commands are imported when they are used: `--help` needs neither boto3 nor the Kubernetes client."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Final

import click

from controller import __version__

_COMMANDS: Final = {
    "run": ("controller.cli.run", "run_command", "Run the controller."),
    "plan": ("controller.cli.plan", "plan_command", "Show what the controller would do now, and why."),
    "explain": ("controller.cli.explain", "explain_command", "Show what would make the controller act, when, and what holds it."),
    "doctor": ("controller.cli.doctor", "doctor_command", "Check what the cluster lacks for safe mode changes, and how to fix it."),
    "status": ("controller.cli.status", "status_command", "Show mode, weights, replicas and health."),
    "history": ("controller.cli.history", "history_command", "List the mode changes: when, why, by whom, how long, at what price."),
    "replay": ("failover_analysis.cli.replay", "replay_command", "Decide recorded moments again, optionally with another policy."),
    "weights": ("controller.cli.config", "weights_command", "Print prices and weights of an application file."),
    "init": ("controller.cli.init", "init_command", "Write an application file for an existing stack."),
    "render": ("controller.cli.render", "render_command", "Render all manifests of a stack from its application file."),
    "breaking-point": ("controller.cli.breaking_point", "breaking_point_command", "Measure how much load one replica of a unit carries."),
    "pause": ("controller.cli.overrides", "pause_command", "Stop the controller from changing anything for a time."),
    "resume": ("controller.cli.overrides", "resume_command", "Remove a pause and a pin."),
    "pin": ("controller.cli.overrides", "pin_command", "Request a mode and keep it for a time."),
    "notify": ("controller.cli.notify", "notify_group", "Check that messages reach people."),
    "version": ("controller.cli.version", "version_command", "Print the version."),
    "config": ("controller.cli.config", "config_group", "Check configuration."),
    "simulate": ("failover_analysis.cli.simulate", "simulate_command", "Simulate months of the controller's work in virtual time."),
    "demo": ("failover_testbed.cli", "demo_command", "Play a shortage without a cloud: failover and fallback in about a minute."),
}


# The controller never imports the packages that prove it. Only these commands name and import them, and only when they run.
_EXTRAS: Final = {"failover_testbed": ("demo", "./proof[demo]"), "failover_analysis": ("analysis", "./proof")}
"""By package: the extra that installs it, and what a checkout of the repository installs instead."""


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """Keeps structlog from importing rich, which the controller does not need: 6.5 MiB of a long process, and 0.2 s of CPU."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails as if it were not installed
    try:
        yield
    finally:
        del sys.modules["rich"]


def _missing(command: str, module: str, extra: str, checkout: str) -> str:
    """One line that names what is missing, the extra that installs it, and both ways to install it."""
    install = f"pip install 'mixed-accelerator-failover[{extra}]', in a checkout pip install '{checkout}'"
    return f"`failoverctl {command}` needs {module}, which is not installed: {install}"


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        try:
            with contextlib.nullcontext() if module.partition(".")[0] in _EXTRAS else _without_rich():
                command: click.Command = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            package = module.partition(".")[0]
            if package not in _EXTRAS or (error.name or "").partition(".")[0] == "controller":
                raise
            raise click.ClickException(_missing(cmd_name, str(error.name), *_EXTRAS[package])) from error
        return command

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
