"""`-o json`, as kubectl has it, and `--json` are the same, for every command that writes JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner

from controller.cli.main import main

_FILE: Final = str(Path(__file__).parents[2] / "config" / "sd21.yaml")


def _commands() -> dict[str, click.Command]:
    with click.Context(main) as context:
        named = {name: main.get_command(context, name) for name in main.list_commands(context)}
    return {name: command for name, command in named.items() if command is not None}


def _options(command: click.Command) -> set[str]:
    return {name for option in command.params for name in option.opts}


def test_every_command_with_json_takes_both() -> None:
    found = {name for name, command in _commands().items() if "--json" in _options(command)}
    assert found >= {"doctor", "explain", "history", "plan", "replay", "simulate", "status", "weights"}
    assert all({"-o", "--output"} <= _options(_commands()[name]) for name in found)


def test_an_output_option_means_its_form_everywhere() -> None:
    """`-o` of one command named a file."""
    for name, command in _commands().items():
        assert all(isinstance(option.type, click.Choice) for option in command.params if "-o" in option.opts), name


def test_json_is_one_document_a_line_with_keys_in_camel_case() -> None:
    (line,) = CliRunner().invoke(main, ["weights", _FILE, "-o", "json"]).stdout.splitlines()
    document = json.loads(line)
    assert document.keys() >= {"application", "periodS", "capacityWeights", "meritOrder"}
    assert document["costs"][0].keys() >= {"instanceType", "pricePerHour"}


def test_weights_reads_the_files_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILOVERCTL_APPLICATIONS", _FILE)
    result = CliRunner().invoke(main, ["weights"])
    assert (result.exit_code, result.output) == (0, CliRunner().invoke(main, ["weights", _FILE]).output)


@pytest.mark.parametrize(("typed", "meant"), [("stauts", "status"), ("expalin", "explain"), ("breakingpoint", "breaking-point")])
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    result = CliRunner().invoke(main, [typed])
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, f"Error: No such command '{typed}'. Did you mean '{meant}'?")


def test_a_missing_kubeconfig_is_not_answered_with_advice_about_application_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--applications", _FILE, "--kubeconfig", str(tmp_path / "none")])
    assert "there is no such file" in result.output
    assert "--applications" not in result.output
    assert "--kubeconfig" in result.output


def test_they_write_the_same() -> None:
    written = [CliRunner().invoke(main, ["weights", _FILE, *words]) for words in (("--json",), ("-o", "json"), ("--json", "-o", "json"))]
    assert {one.exit_code for one in written} == {0}
    assert len({one.stdout for one in written}) == 1
    assert json.loads(written[0].stdout)


def test_text_is_what_is_written_without_either() -> None:
    written = [CliRunner().invoke(main, ["weights", _FILE, *words]).stdout for words in ((), ("-o", "text"))]
    assert written[0] == written[1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(written[0])


def test_two_forms_at_once_are_refused() -> None:
    result = CliRunner().invoke(main, ["weights", _FILE, "--json", "-o", "text"])
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, "Error: --json: found -o text too; allowed: one of them")


def test_the_shell_completes_commands_and_options_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are imported when they are named; completion needs their names before."""
    monkeypatch.setenv("_FAILOVERCTL_COMPLETE", "bash_complete")
    for typed, place, wanted in (("failoverctl sta", "1", "status"), ("failoverctl status --wa", "2", "--watch")):
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", place)
        completed = CliRunner().invoke(main, prog_name="failoverctl").output
        assert f"plain,{wanted}" in completed.splitlines()
