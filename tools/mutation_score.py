"""What the last run of mutmut says of each mutant, and its part of docs/laboratory/reliability.md and docs/laboratory/mutants.md.

``python -m tools.mutation_score`` prints the score of each module; ``--write`` writes both pages. Reasons for survivors that no test can
kill, or that need none, are in tools/mutants.yaml; each is found by its function and its change, since mutmut's numbers move with the code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Final

import yaml

from tools.generated import replaced

ROOT: Final = Path(__file__).parents[1]
RUN: Final = ROOT / "build" / "mutation"
ROOMS_RUN: Final = ROOT / "build" / "mutation-rooms"
"""Where the mutants of other rooms than the policy run, with tests of their own."""
REASONS: Final = ROOT / "tools" / "mutants.yaml"
RELIABILITY: Final = ROOT / "docs" / "laboratory" / "reliability.md"
SURVIVORS: Final = ROOT / "docs" / "laboratory" / "mutants.md"
GOAL: Final = 0.92
"""Of the mutants that ran."""
_WHOLE: Final = 0.8
_AROUND: Final = 40  # characters
_NAME: Final = re.compile(r"x(?:ǁ(\w+)ǁ|_)(\w+?)__mutmut_\d+$")


class Status(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    SURVIVED = "survived"
    UNREACHED = "unreached"
    OPEN = "open"


# mutmut's exit codes: of pytest, its own above 30, and signals.
_STATUS: Final[Mapping[int, Status]] = {
    1: Status.KILLED, 3: Status.KILLED, 0: Status.SURVIVED, 5: Status.UNREACHED, 33: Status.UNREACHED,
    **dict.fromkeys((-24, 24, 36, 152, -9), Status.TIMEOUT),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of the code.

    Attributes:
        name: mutmut's name of it.
        module: The module of `controller/policy`, with its room: ``fleet/search``; of another room with that: ``service/http``.
        status: What became of it.
        path: The file that it changes, in the run's folder.
    """

    name: str
    module: str
    status: Status
    path: Path

    @property
    def function(self) -> str:
        """`function` or `Class.method`."""
        found = _NAME.search(self.name)
        return ".".join(part for part in found.groups() if part) if found else self.name

    def change(self) -> tuple[str, str]:
        """The line before and after, without what both begin with."""
        from mutmut.mutation.diff_apply import get_diff_for_mutant

        lines = get_diff_for_mutant(self.name, path=self.path).splitlines()
        before, after = (
            " ".join(line[1:].strip() for line in lines if line.startswith(sign) and not line.startswith(sign * 3)) for sign in "-+"
        )
        return before, after


def mutants(run: Path = RUN) -> Iterator[Mutant]:
    """All mutants of the last run, by module.

    Args:
        run: Its folder.
    """
    folder = run / "mutants"
    for path in sorted(folder.rglob("*.meta")):
        source = path.relative_to(folder).with_suffix("")
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            yield Mutant(
                name,
                source.with_suffix("").as_posix().removeprefix("controller/").removeprefix("policy/"),
                Status.OPEN if code is None else _STATUS.get(code, Status.OPEN),
                source,
            )


def table(found: Sequence[Mutant]) -> Iterator[str]:
    """A row for each module that was run, and one for those run whole, or nearly, and one for those of which a part was run."""
    yield "| module | mutants | killed | survived | not reached | not run | score |"
    yield "|---|---|---|---|---|---|---|"

    def of(module: str) -> list[Mutant]:
        return [one for one in found if one.module == module]

    ran = [module for module in dict.fromkeys(one.module for one in found) if any(_ran(one) for one in found if one.module == module)]
    for module in ran:
        yield _row(module, of(module))
    whole = {module for module in ran if sum(map(_ran, of(module))) >= _WHOLE * len(of(module))}
    for name, part in (("run whole, or nearly", whole), ("run in part", set(ran) - whole)):
        if part:
            yield _row(f"{len(part)} {name}", [one for one in found if one.module in part])
    left = [one for one in found if one.module not in ran]
    if left:
        yield f"| {len({one.module for one in left})} others | {len(left):,} | | | | {len(left):,} | |"


def _ran(mutant: Mutant) -> bool:
    return mutant.status is not Status.OPEN


def _row(name: str, found: Sequence[Mutant]) -> str:
    counts = Counter(one.status for one in found)
    killed, ran = counts[Status.KILLED] + counts[Status.TIMEOUT], sum(map(_ran, found))
    lived, unreached = counts[Status.SURVIVED], counts[Status.UNREACHED]
    return f"| {name} | {len(found):,} | {killed:,} | {lived:,} | {unreached:,} | {len(found) - ran:,} | {100 * killed / ran:.1f} % |"


def survivors(found: Sequence[Mutant]) -> Iterator[str]:
    """What survived in each function, and why it may, in the words of tools/mutants.yaml."""
    reasons = yaml.safe_load(REASONS.read_text())
    for module in dict.fromkeys(one.module for one in found):
        living = [one for one in found if one.module == module and one.status in {Status.SURVIVED, Status.UNREACHED}]
        if living:
            yield from (f"## {module}", "", "| function | instead of | this | why it survives |", "|---|---|---|---|")
        for one in living:
            before, after = one.change()
            usual = "no test yet" if one.status is Status.SURVIVED else "no test of the policy reaches it"
            why = next((text for part, text in reasons.get(f"{module}.{one.function}", {}).items() if part in after), usual)
            yield f"| `{one.function}` | {' | '.join(_shown(before, after))} | {why} |"
        if living:
            yield ""


def _shown(before: str, after: str) -> tuple[str, str]:
    """Both lines, cut to what differs and some words around it."""
    same = _alike(before, after)
    rest = _alike(before[same:][::-1], after[same:][::-1])
    begin = max(0, same - _AROUND)
    found = []
    for text in (before, after):
        end = min(len(text), max(same, len(text) - rest) + _AROUND)
        cut = f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}".replace("|", "¦")
        found.append(f"`{cut}`" if cut else "nothing")
    return found[0], found[1]


def _alike(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def main() -> int:
    """Prints the scores, or writes the pages.

    Returns:
        1 where less than `GOAL` of the mutants that ran were killed.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rooms", action="store_true", help="those of other rooms than the policy")
    options = parser.parse_args()
    run, block = (ROOMS_RUN, "mutants of other rooms") if options.rooms else (RUN, "mutants")
    found = list(mutants(run))
    if not options.write:
        sys.stdout.write("\n".join(table(found)) + "\n")
        return _below(found)
    os.chdir(run)  # where mutmut reads its settings and finds the mutants
    for page, lines in ((RELIABILITY, table(found)), (SURVIVORS, survivors(found))):
        page.write_text(replaced(f"docs/{page.name}", page.read_text(), block, "\n".join(lines).rstrip("\n")))
    return _below(found)


def _below(found: Sequence[Mutant]) -> int:
    ran = [one for one in found if _ran(one)]
    return int(sum(one.status in {Status.KILLED, Status.TIMEOUT} for one in ran) < GOAL * len(ran))


if __name__ == "__main__":
    sys.exit(main())
