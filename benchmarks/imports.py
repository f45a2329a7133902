"""Counts what `failoverctl run` imports and the memory it then takes, with one application on the demo's servers.

``make bench-imports`` writes docs/laboratory/benchmarks.md; ``ARGS="--baseline PYTHON"`` counts another version's installation, too. It
leaves out AWS, whose client library is loaded only where AWS is asked, and what grows with the applications (`make bench-react`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.commands import PAGE, served
from benchmarks.markdown import markdown, put

BEGIN, END = "<!-- imports: written by `make bench-imports` -->", "<!-- end of imports -->"
_TIMEOUT_S: Final = 120.0
_WITHOUT_AWS: Final = {f"FAILOVERCTL_AWS__{part}_ENABLED": "false" for part in ("ELBV2", "CLOUDWATCH", "EC2")}

# Runs the command and after ten seconds, once it has decided, writes what is loaded as the last line of standard error.
_PROGRAM: Final = """
import json, os, sys, threading, time

def report():
    time.sleep(10)
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    with open("/proc/self/status") as status:
        kib = next(line.split()[1] for line in status if line.startswith("VmRSS"))
    print(json.dumps({"files": files, "kib": int(kib), "threads": threading.active_count()}), file=sys.stderr, flush=True)
    os._exit(0)

threading.Thread(target=report, daemon=True).start()
from controller.cli.main import main
main(["run", "--dry-run"])
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What one version loads.

    Attributes:
        files: The controller's own files.
        lines: Their lines.
        modules: Modules of other distributions.
        packages: The top-level packages that they belong to.
        others_lines: Their lines of Python.
        threads: Threads that run.
        mib: The resident set, MiB.
    """

    files: int
    lines: int
    modules: int
    packages: int
    others_lines: int
    threads: int
    mib: float


def imported(python: str, environment: Mapping[str, str]) -> Imported:
    """Runs the controller of one version for ten seconds.

    Raises:
        ValueError: It did not come as far; the message has the end of what it printed.
    """
    settings = {**environment, **_WITHOUT_AWS, "FAILOVERCTL_HTTP__PORT": "0"}
    done = subprocess.run(
        [python, "-c", _PROGRAM],
        env=settings,
        cwd=Path(python).parents[2],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{python} ended with {done.returncode}: {done.stderr[-500:]}")
    found = json.loads(done.stderr.splitlines()[-1])
    files = {name: Path(path) for name, path in found["files"].items() if path}
    own = [path for name, path in files.items() if name.partition(".")[0] == "controller"]
    others = {name: path for name, path in files.items() if "site-packages" in path.parts and path not in own}
    return Imported(
        files=len(own),
        lines=sum(map(_lines, own)),
        modules=len(others),
        packages=len({name.partition(".")[0] for name in others}),
        others_lines=sum(_lines(path) for path in others.values() if path.suffix == ".py"),
        threads=found["threads"],
        mib=found["kib"] / 1024,
    )


def _without_policy(path: Path, folder: Path) -> Path:
    """A copy of an application file that older versions read, too."""
    document = yaml.safe_load(path.read_text())
    document["spec"].pop("policy", None)
    copy = folder / path.name
    copy.write_text(yaml.safe_dump(document))
    return copy


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def main() -> None:
    """Counts one version or two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baseline", help="the python of another version's environment")
    parser.add_argument("--write", action="store_true", help="write the table into docs/laboratory/benchmarks.md")
    given = parser.parse_args()
    with served() as environment, tempfile.TemporaryDirectory() as folder:
        environment["FAILOVERCTL_APPLICATIONS"] = str(_without_policy(Path(environment["FAILOVERCTL_APPLICATIONS"]), Path(folder)))
        found = {
            **({"before": imported(os.path.abspath(given.baseline), environment)} if given.baseline else {}),  # noqa: PTH100 - keeps the link
            "now": imported(sys.executable, environment),
        }
    table = Table(title="What `failoverctl run` imports")
    table.add_column("")
    for name in found:
        table.add_column(name, justify="right")
    for field, words in (
        ("files", "the controller's own files"),
        ("lines", "their lines"),
        ("packages", "packages of others"),
        ("modules", "their modules"),
        ("others_lines", "their lines of Python"),
        ("threads", "threads"),
        ("mib", "memory, MiB"),
    ):
        table.add_row(words, *(f"{getattr(one, field):,.0f}" for one in found.values()))
    Console().print(table)
    if given.write:
        put(PAGE, BEGIN, END, [markdown(table)])


if __name__ == "__main__":
    main()
