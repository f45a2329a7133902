"""What the commands share: options, settings, styles and errors. It imports little, because `--help` needs all of it."""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from controller.clock import parse_rfc3339
from controller.errors import FailoverError

if TYPE_CHECKING:
    from controller.settings import Settings

CHANGES: Final = 2  # terraform's -detailed-exitcode: 0 nothing to do, 1 error, 2 there are changes


class Time(click.ParamType[float]):
    """A time on the command line, seconds since the Unix epoch."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads RFC 3339."""
        at = value if isinstance(value, float) else parse_rfc3339(str(value))
        if at is None:
            self.fail(f"found {value!r}; allowed: a time such as 2026-08-25T14:02:10Z", param, ctx)
        return at


class Number(click.FloatRange):
    """A number within a range. Every comparison with NaN is false, so that click takes it for one of every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click has it
        """Reads a number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"found {value!r}; allowed: a number {self.min:g} to {self.max:g}", param, ctx)
        return number


MAX_REASON: Final = 500
"""The longest reason that the controller keeps of an override, characters."""
MAX_AUTHOR: Final = 200
"""The longest author that it keeps."""
_FILES: Final = "Application file or directory; default: the objects of the cluster. [env: FAILOVERCTL_APPLICATIONS]"
_F = TypeVar("_F", bound=Callable[..., Any])
_DURATION: Final = re.compile(r"(\d{1,9})\s*(s|m|h|d)")
LONGEST_S: Final = 366 * 86_400
"""The longest time that an option takes, seconds."""
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of every command."""

    settings_file: Path | None
    applications: Path | None
    kubeconfig: str | None
    context: str | None
    namespace: str | None = None

    def settings(self) -> Settings:
        """The settings. Options take precedence over the environment, and that over the file.

        A command that needs settings runs code that logs. From here to its end only errors are logged, and not into its output.

        Raises:
            ConfigError: A setting is wrong.
        """
        from controller.service.logs import only_errors
        from controller.settings import load_settings

        if (command := click.get_current_context(silent=True)) is not None:
            command.find_root().with_resource(only_errors())
        settings = load_settings(self.settings_file)
        kube = {name: value for name, value in (("kubeconfig", self.kubeconfig), ("context", self.context)) if value is not None}
        changes: dict[str, Any] = {"kubernetes": settings.kubernetes.model_copy(update=kube)} if kube else {}
        if self.applications is not None:
            changes["applications"] = self.applications
        return settings.model_copy(update=changes)


def common_options(command: _F) -> _F:
    """Adds the common options, which the command gets as `options`."""

    @click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file. [env: FAILOVERCTL_SETTINGS]")
    @click.option("--applications", type=click.Path(path_type=Path), help=_FILES)
    @click.option("--kubeconfig", help="Kubeconfig file; default: as kubectl finds it.")
    @click.option("--context", help="Context in the kubeconfig; default: its current one.")
    @click.option("--namespace", "-n", help="Only the applications of this namespace; default: of all.")
    @functools.wraps(command)
    def wrapper(
        *args: Any,  # noqa: ANN401 - passed through
        settings_file: Path | None,
        applications: Path | None,
        kubeconfig: str | None,
        context: str | None,
        namespace: str | None,
        **kwargs: Any,  # noqa: ANN401 - passed through
    ) -> Any:  # noqa: ANN401 - passed through
        options = Options(settings_file, applications, kubeconfig, context, namespace)
        return command(*args, options=options, **kwargs)

    return wrapper  # type: ignore[return-value]


def output_option(meaning: str, *further: str) -> Callable[[_F], _F]:
    """Adds `-o json`, as kubectl has it, and `--json`, which is the same. The command gets the form of its output as `output`.

    Args:
        meaning: What the forms are, for the help.
        further: Names of forms beside text and json.
    """

    def decorate(command: _F) -> _F:
        @click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
        @click.option("--output", "-o", type=click.Choice(["text", "json", *further]), help=f"{meaning} [default: text]")
        @functools.wraps(command)
        def wrapper(*args: Any, as_json: bool, output: str | None, **kwargs: Any) -> Any:  # noqa: ANN401 - passed through
            if as_json and output not in {None, "json"}:
                raise click.UsageError(f"--json: found -o {output} too; allowed: one of them")
            return command(*args, output="json" if as_json else output or "text", **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate


def seconds(text: str, option: str) -> float:
    """Parses a duration such as ``90s``, ``30m``, ``2h`` or ``1h30m``.

    Args:
        text: What was given.
        option: The option that it was given with, for the error.

    Raises:
        click.BadParameter: It is no duration.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise click.BadParameter(f"found {text!r}; allowed: a duration such as 90s, 30m, 2h or 1h30m", param_hint=option)
    total = float(sum(int(number) * _SECONDS[unit] for number, unit in parts))
    if not 0 < total <= LONGEST_S:
        raise click.BadParameter(f"found {text!r}; allowed: more than 0 and at most a year", param_hint=option)
    return total


def words_given(text: str, option: str, most: int) -> str:
    """What an operator says, on one line and without control and format characters: a terminal obeys them, and others read them later.

    Args:
        text: What was given.
        option: The option that it was given with, for the error.
        most: The longest that the controller keeps, characters.

    Raises:
        click.BadParameter: It is longer.
    """
    from controller.foreign import shown

    if len(text) > most:
        raise click.BadParameter(f"found {len(text)} characters; allowed: at most {most}", param_hint=option)
    return " ".join(shown(text, most).split())


def author_given(text: str | None) -> str:
    """Checks an author's name; "" where none is given.

    Raises:
        click.BadParameter: It is too long.
    """
    return words_given(text or "", "--by", MAX_AUTHOR)


def reason_given(text: str) -> str:
    """Checks an operator's reason.

    Raises:
        click.BadParameter: The reason is empty, or too long.
    """
    words = words_given(text, "--why", MAX_REASON)
    if not words:
        raise click.BadParameter("found nothing; allowed: a reason in words", param_hint="--why")
    return words


def fail_cleanly(error: FailoverError) -> click.ClickException:
    """Turns an error into command-line output without traceback and secrets, with what fixes it where that is known."""
    from controller.cli.advice import advice
    from controller.notifiers.redact import redact

    fix = advice(error)
    return click.ClickException(redact(str(error)) + (f"\n  fix: {fix}" if fix else ""))


def colour() -> bool | None:
    """Whether to colour the output: not with ``NO_COLOR`` or on a dumb terminal; otherwise click decides (only on a terminal)."""
    return False if os.environ.get("NO_COLOR") or not redrawable() else None


def redrawable() -> bool:
    """Whether the terminal, if there is any, understands more than plain text. Emacs and CI systems say that theirs does not."""
    return os.environ.get("TERM") != "dumb"


def show(lines: Iterable[tuple[str, str]]) -> None:
    """Prints styled lines: pairs of a style name and a text."""
    for line in lines:
        click.echo(styled(line), color=colour())


def styled(line: tuple[str, str]) -> str:
    """A line with the codes of its style; `click.echo` takes them out where colour is not wanted."""
    style, text = line
    return click.style(text, **STYLES.get(style, {})) if STYLES.get(style) else text


STYLES: Final[dict[str, dict[str, Any]]] = {
    "title": {"bold": True},
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
    "warn": {"fg": "yellow"},
    "unknown": {"fg": "cyan"},
    "dim": {"dim": True},
    "add": {"fg": "green"},
    "remove": {"fg": "red"},
    "change": {"fg": "yellow"},
    "plain": {},
}
"""Colours only repeat what an icon and a word say already."""
