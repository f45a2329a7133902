"""`failoverctl render`: renders all manifests of a stack from its application file. Needs no cluster."""

from __future__ import annotations

from pathlib import Path

import click

from controller.catalog.loader import Definition, read_source
from controller.documents import Problem, config_error, read_documents
from controller.errors import ConfigError
from controller.policy.model import Mode
from failover_setup.application import ApplicationFile, load_definitions
from failover_setup.rendering.faults import faults, warnings
from failover_setup.rendering.render import FILES, MARK, stack_files, stack_objects


def render(file: Path, out: Path | None, mode: str) -> None:
    """Prints or writes the manifests; the arguments are those of the command line.

    Raises:
        ConfigError: No stack can be made of the file, or a file cannot be written.
    """
    model = load(file)
    stack = model.spec.stack
    if stack is None:
        raise ConfigError(f"{file}: found no spec.stack")
    wanted = Mode(mode)
    files = stack_files(stack_objects(model, stack, wanted), file.as_posix(), wanted)
    if out is None:
        click.echo("".join(files.values()), nl=False)
    else:
        _write(out, files)
        click.echo(f"wrote {len(files)} files to {out}: kubectl apply --server-side -f {out}", err=True)


def load(path: Path) -> ApplicationFile:
    """Reads the one application of a file, and checks that a stack can be made of it.

    Raises:
        ConfigError: Lists everything that prevents that, each with file, line and field.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: found a folder; allowed: a file with one application")
    definitions = list(load_definitions(path).values())
    if len(definitions) != 1:
        raise ConfigError(f"{path}: found {len(definitions)} applications; allowed: a file with one")
    check_stack(definitions[0])
    return definitions[0].model


def check_stack(definition: Definition[ApplicationFile]) -> None:
    """Checks that a stack can be made of an application, and says on standard error what is not known to work of it.

    Raises:
        ConfigError: Lists everything that prevents it, each with file, line and field.
    """
    model, file, line = definition.model, definition.document.file, definition.document.line
    document = next(one for one in read_documents(read_source(Path(file)).content, file) if one.line == line)
    problems = [
        Problem(document.file, document.line_of(place), place, f"found {found}; allowed: {allowed}")
        for place, found, allowed in faults(model)
    ]
    if problems:
        raise config_error(problems)
    for place, said in warnings(model):
        click.echo(f"warning: {Problem(document.file, document.line_of(place), place, said)}", err=True)


def _write(folder: Path, files: dict[str, str]) -> None:
    """Writes the files, and removes those of an earlier rendering that are no longer made.

    Raises:
        ConfigError: A file to replace was not made by this command, or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            path = folder / name
            if path.exists() and not path.read_text(encoding="utf-8").startswith(MARK):
                raise ConfigError(f"{path}: found a file that was not made by failoverctl render; allowed: another --out")
        for name in FILES:
            path = folder / name
            if name in files:
                path.write_text(files[name], encoding="utf-8")
            else:
                path.unlink(missing_ok=True)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder}: cannot be written: {error}") from error
