"""Removes from an installed controller what it never loads: `python trim.py` with the interpreter of its environment.

The Dockerfile runs this after the installation. What stays follows from code, not from a list:

* botocore describes 440 services. Those stay for which the controller makes a client, and those that botocore's own credential providers
  call, such as STS for a service account; of each the newest version of its API, which is the one that botocore takes.
* The `kubernetes` package is a generated class for every kind and call, and all of it a second time for asyncio. Those of its modules stay
  that an import statement reaches from the controller's.
* A distribution goes that is required by the asyncio half only.

Needs nothing but the standard library.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

CONTROLLER: Final = "mixed-accelerator-failover"
GENERATED: Final = "kubernetes"
"""The package whose unreachable modules go."""

_OF_EXTRA: Final = re.compile(r";.*\bextra\b")  # a requirement that only an extra has


def main() -> None:
    """Trims the environment of this interpreter, and prints what went."""
    site = Path(sysconfig.get_path("purelib"))
    services = keep_services(site)
    modules = keep_modules(site)
    unneeded = unneeded_distributions(imported_by(site, modules))
    sys.stdout.write(f"keeps the API models of {', '.join(sorted(services))}; {len(modules)} modules of {GENERATED}\n")
    for found in unneeded:
        sys.stdout.write(f"removes {found.name} {found.version}\n")
        remove_distribution(found)


# --- models of AWS APIs ---------------------------------------------------------------------------------------------------------------


def client_services(tree: ast.Module) -> Iterator[str]:
    """The services for which a module of the controller asks a client.

    That is the first argument of `AwsClients.client`, or of `AwsCalls.call`, which passes it on; a name counts as the string that the
    module gives it, such as ``_SERVICE: Final = "cloudwatch"``.
    """
    named: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                named[name] = text
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"client", "call"} and node.args:
            match node.args[0]:
                case ast.Constant(value=str(service)):
                    yield service
                case ast.Name(id=name) if name in named:
                    yield named[name]


def nested_services(tree: ast.Module) -> Iterator[str]:
    """The services for which a module of botocore makes a client: `client_creator("sts")`, `create_nested_client(session, "sso")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and re.search(r"client_creator|create_\w*client", ast.unparse(node.func)):
            yield from (one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str))


def keep_services(site: Path) -> set[str]:
    """Removes all other services from botocore's data, and every version of an API but the newest; returns the services."""
    data = site / "botocore" / "data"
    known = {path.name for path in data.iterdir() if path.is_dir()}
    asked = {service for tree in _trees(site / "controller") for service in client_services(tree)}
    if not asked <= known:
        raise SystemExit(f"botocore has no service {', '.join(sorted(asked - known))}")
    kept = asked | {service for tree in _trees(site / "botocore") for service in nested_services(tree)} & known
    for service in known:
        if service not in kept:
            shutil.rmtree(data / service)
            continue
        for version in sorted(path for path in (data / service).iterdir() if path.is_dir())[:-1]:
            shutil.rmtree(version)
    return kept


# --- modules of the Kubernetes client -------------------------------------------------------------------------------------------------


def keep_modules(site: Path) -> set[str]:
    """Removes the modules of `GENERATED` that no import reaches; returns those that stay."""
    kept: set[str] = set()
    ahead = {name for tree in _trees(site / "controller") for name in imports(tree, "", package=False)}
    while ahead:
        name = ahead.pop()
        path = module_file(site, name)
        if name in kept or path is None or name.partition(".")[0] != GENERATED:
            continue
        kept.add(name)
        ahead |= {name.rpartition(".")[0], *imports(_tree(path), name, package=path.name == "__init__.py")}
    files = {module_file(site, name) for name in kept}
    for path in (site / GENERATED).rglob("*.py"):
        if path not in files:
            path.unlink()
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                compiled.unlink()
    _remove_empty(site / GENERATED)
    return kept


def imports(tree: ast.AST, module: str, *, package: bool) -> Iterator[str]:
    """Every module that a module may import, in functions as well; not what is for type checkers only.

    Args:
        tree: The module's code.
        module: Its dotted name, from which relative imports count.
        package: Whether it is a package's `__init__`.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: len(module.split(".")) + package - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)  # a module, or a name of one
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for branch in node.orelse:
                yield from imports(ast.Module([branch], []), module, package=package)
        else:
            yield from imports(node, module, package=package)


def module_file(site: Path, name: str) -> Path | None:
    """The file of a module; None where there is none of that name."""
    path = site.joinpath(*name.split("."))
    found = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in found if file.exists()), None)


# --- distributions ----------------------------------------------------------------------------------------------------------------------


def imported_by(site: Path, modules: Iterable[str]) -> set[str]:
    """The top-level packages that these modules import."""
    files = {name: module_file(site, name) for name in modules}
    return {
        name.partition(".")[0]
        for module, path in files.items()
        if path is not None
        for name in imports(_tree(path), module, package=path.name == "__init__.py")
    }


def unneeded_distributions(imported: set[str]) -> list[metadata.Distribution]:
    """The distributions that nothing needs any more.

    Args:
        imported: Top-level packages that what is left of `GENERATED` imports: of its requirements those count that hold one.
    """
    installed = {_normal(found.name): found for found in metadata.distributions()}
    holding = {_normal(name) for package, names in metadata.packages_distributions().items() if package in imported for name in names}
    needed: set[tuple[str, bool]] = set()
    ahead = {(CONTROLLER, False)}  # a distribution, and whether with extras: then all of its extras count
    while ahead:
        one = name, extras = ahead.pop()
        if one in needed or name not in installed:
            continue
        needed.add(one)
        required = {_requirement(text) for text in installed[name].requires or () if extras or not _OF_EXTRA.search(text)}
        ahead |= {one for one in required if name != GENERATED or one[0] in holding}
    names = {name for name, _ in needed}
    return [found for name, found in installed.items() if name not in names]


def remove_distribution(found: metadata.Distribution) -> None:
    """Removes a distribution's files, as its own record names them."""
    folders: set[Path] = set()
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        path.unlink(missing_ok=True)
        folders.add(Path(str(found.locate_file(file.parts[0]))))
    for folder in folders:
        _remove_empty(folder)


# --- files ------------------------------------------------------------------------------------------------------------------------------


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirement(text: str) -> tuple[str, bool]:
    """The distribution that a line such as ``requests[socks]>=2; python_version < "4"`` requires, and whether with extras."""
    name, rest = re.fullmatch(r"([\w.-]+)(.*)", text).groups()  # type: ignore[union-attr]  # metadata is checked when it is built
    return _normal(name), rest.lstrip().startswith("[")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _trees(folder: Path) -> Iterator[ast.Module]:
    return (_tree(path) for path in folder.rglob("*.py"))


def _remove_empty(folder: Path) -> None:
    """Removes a folder in which no code is left, and such folders within it."""
    if not folder.is_dir():
        return
    for within in folder.iterdir():
        if within.is_dir() and within.name != "__pycache__":
            _remove_empty(within)
    if all(left.name in {"__pycache__", "py.typed"} for left in folder.iterdir()):
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
