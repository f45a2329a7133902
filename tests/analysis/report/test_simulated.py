"""What a report says of simulated runs: every number on it can be derived from the runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jsonschema
import pytest

from controller.policy.model import Mode, PolicySettings
from failover_analysis.report import words
from failover_analysis.report.contenders import contenders, with_baselines
from failover_analysis.report.files import json_text
from failover_analysis.report.html import _unbroken, html
from failover_analysis.report.markdown import markdown
from failover_analysis.report.model import Report, Spread, Unit
from failover_analysis.report.played import Played
from failover_analysis.report.schema import report_schema
from failover_analysis.report.simulated import Framing, simulation_report
from failover_analysis.report.worth import failed_or_late, gained
from failover_analysis.simulation.recording import Violation
from failover_analysis.simulation.report import text
from tests.analysis.report.golden_report import golden_report, played, world
from tests.support.applications import application

TWO, ALWAYS = contenders(("two-mode", "always-cost"), (), (), PolicySettings(failover_utilization=0.0))


@pytest.fixture(scope="module")
def runs() -> list[Played]:
    """Two policies with two seeds."""
    return [played(one, seed, shown=seed == 1) for one in (TWO, ALWAYS) for seed in (1, 2)]


def reported(runs: list[Played]) -> Report:
    """Their report."""
    return simulation_report(runs, Framing("golden", "A shortage.", world().start, "0", "abc", "command", 1.0, application()))


def test_the_table_is_the_spread_over_the_seeds(runs: list[Played]) -> None:
    """Of two values the median is their mean, and the 5th percentile a twentieth of the way."""
    row = reported(runs).tables[0].rows[0]
    low, high = sorted(one.result.totals.dollars for one in runs[:2])
    cost = row.cells["cost"]
    assert cost is not None
    assert cost.count == 2
    assert cost.median == pytest.approx((low + high) / 2)
    assert [cost.p5, cost.p95] == pytest.approx([low + (high - low) / 20, high - (high - low) / 20])
    served = [1 - one.result.totals.flow.lost / one.result.totals.flow.demand for one in runs[:2]]
    assert row.cells["served"] is not None
    assert row.cells["served"].median == pytest.approx(sum(served) / 2)
    assert row.cells["flips"] == Spread.of(len(one.result.mode_changes) for one in runs[:2])
    capacity = [one.result.totals.seconds[Mode.CAPACITY] / one.result.seconds for one in runs[:2]]
    assert row.cells["capacity_time"] == Spread.of(capacity)


def test_times_are_over_all_events_of_all_seeds(runs: list[Played]) -> None:
    """A policy that never fails over verifies nothing."""
    first, second = reported(runs).tables[0].rows
    detected = [one for run in runs[:2] for one in run.measured.detected_s]
    assert first.cells["detect"] == Spread.of(detected)
    assert len(detected) == 2
    assert second.cells["verify"] is None
    assert words.spread_words(second.cells["verify"], Unit.SECONDS) == (words.NOTHING, "")


def test_the_verdict_is_one_line_with_every_policy_and_the_violations(runs: list[Played]) -> None:
    """The first thing on the page, also of Markdown."""
    report = reported(runs)
    number = r"\d+(\.\d+)?"
    each = rf"two-mode served {number} % at \${number}; always-cost served {number} % at \${number}"
    assert re.fullmatch(rf"{each}; 0 invariant violations in 0\.667 simulated days\.", report.verdict)
    page = html(report)
    assert page.index(report.verdict) < page.index("<table>")
    assert markdown(report).splitlines()[2] == f"✔ **{report.verdict}**"


def test_the_verdict_begins_with_what_was_gained_against_what_a_user_has_without_us() -> None:
    """The medians of the differences of each seed; a baseline is no policy of ours, so it can break no invariant."""
    base = PolicySettings(failover_utilization=0.0)
    compared = with_baselines((ALWAYS, TWO), base)
    assert [one.name for one in compared] == ["always-cost", "two-mode", "none", "sample"]
    assert with_baselines(compared, base) == compared
    made = [played(one, seed, shown=False) for one in (TWO, compared[2]) for seed in (1, 2)]
    report = reported(made)
    pairs = list(zip(made[:2], made[2:], strict=True))
    minutes = sum(other.measured.exposed_s - mine.measured.exposed_s for mine, other in pairs) / len(pairs) / 60
    requests = sum(failed_or_late(other) - failed_or_late(mine) for mine, other in pairs) / len(pairs)
    dollars = sum(mine.result.totals.dollars - other.result.totals.dollars for mine, other in pairs) / len(pairs)
    gain = f"{minutes:,.0f} fewer exposed minutes, {requests:,.0f} fewer failed or late requests, ${dollars:,.2f} more"
    assert report.verdict.startswith(f"two-mode against none: {gain}. two-mode served ")
    assert report.verdict.endswith("0 invariant violations in 0.333 simulated days.")
    assert [row.name for row in report.tables[1].rows] == ["two-mode"], "without a controller there is no account"
    assert gained({"two-mode": made[:2]}) == gained({"none": made[2:]}) == ""
    assert "as many exposed minutes, as many failed or late requests, the same cost" in gained(
        {"two-mode": made[:2], "none": [replace(one, contender=compared[2]) for one in made[:2]]}
    )
    assert gained({"two-mode": made[:2], "none": [replace(one, planned_s=1e9) for one in made[2:]]}) == ""


def test_the_account_of_planned_has_the_bills_that_it_is_compared_with(runs: list[Played]) -> None:
    """Those of the weights and of the optimum with hindsight; nothing for a policy that compares nothing, and no columns without any."""
    (planned,) = contenders(("planned",), (), (), PolicySettings())
    one = played(planned, 1, shown=False)
    account = reported([*runs, one]).tables[1]
    assert [column.key for column in account.columns][-3:] == ["compared_spend", "weights_bill", "optimum_bill"]
    cells = {row.name: row.cells for row in account.rows}
    ledger = one.result.ledger
    assert cells["planned"]["compared_spend"] == Spread.of([ledger.compared_spend])
    assert cells["planned"]["weights_bill"] == Spread.of([ledger.weights_spend])
    assert cells["planned"]["optimum_bill"] == Spread.of([ledger.least_spend])
    assert 0 < ledger.least_spend < ledger.compared_spend
    assert cells["two-mode"]["optimum_bill"] is None
    assert "Optimum with hindsight" in html(reported([*runs, one]))
    assert f"${ledger.least_spend:,.2f} for the optimum with hindsight" in text(one.result, "again")
    assert "optimum_bill" not in [column.key for column in reported(runs).tables[1].columns]
    assert "hindsight" not in text(runs[0].result, "again")


def test_the_worst_moments_are_the_worst_of_all_runs_with_the_command_that_shows_them(runs: list[Played]) -> None:
    """Most failed requests first, one moment of each kind; the broken pods are among them, and what was decided then."""
    report = reported(runs)
    assert 1 <= len(report.moments) <= 5
    known = {(one.contender.name, one.result.seed, moment.at): moment for one in runs for moment in one.measured.moments}
    found = [known[one.name, one.seed or 0, one.at] for one in report.moments]
    assert [one.badness for one in found] == sorted((one.badness for one in found), reverse=True)
    assert found[0].badness == max(one.badness for one in known.values())
    assert len({(one.words.partition("; ")[0].partition("(")[2], one.decision) for one in report.moments}) > 1
    kinds = [(tuple(one.failed), one.faults, one.out, one.decision and one.decision.reason) for one in found]
    assert len(set(kinds)) == len(kinds)
    moment = next(one for one in report.moments if "pods-broken" in one.words)
    assert f"--seed {moment.seed} --at {words.time(moment.at).replace(' ', 'T')}Z" in moment.command
    assert ":" in moment.decision


def test_a_failed_seed_is_named_with_its_command_and_the_verdict_says_so(runs: list[Played]) -> None:
    """A fault in a run that broke an invariant was not survived."""
    broken = replace(runs[1].result, violations=(Violation("ready", world().start + 60, "nobody there"),))
    report = reported([runs[0], replace(runs[1], result=broken)])
    assert not report.ok
    assert "1 invariant violation in" in report.verdict
    assert (report.failures[0].seed, report.failures[0].command) == (2, runs[1].command)
    assert "requests go to a group without a ready pod" in report.failures[0].words
    restart = next(row for row in report.appendix[0].rows if row.name == "restart")
    assert {key: cell.median for key, cell in restart.cells.items() if cell} == {"injected": 2, "survived": 1, "runs": 2}
    assert "✖" in markdown(report).splitlines()[2]


def test_runs_that_ended_early_are_compared_with_nobody(runs: list[Played]) -> None:
    """They served little for little money; the verdict and the timeline say so."""
    cut = replace(runs[0], planned_s=10 * runs[0].planned_s)
    report = reported([cut, *runs[1:]])
    assert report.verdict.startswith("two-mode served ")
    assert "two-mode was ended early in 1 of 2 runs" in report.verdict
    assert report.tables[0].rows[0].cells["cost"] == Spread.of([runs[1].result.totals.dollars])
    assert "ended after 4 h because of too many violations" in report.timelines[0].words
    nobody = reported([cut, replace(runs[1], planned_s=cut.planned_s)])
    assert set(nobody.tables[0].rows[0].cells.values()) == {None}
    assert nobody.verdict.startswith("two-mode was ended early in 2 of 2 runs;")


def test_the_same_moment_of_several_policies_is_one(runs: list[Played]) -> None:
    """Five moments are to tell five things."""
    report = reported([runs[0], replace(runs[0], contender=ALWAYS)])
    assert all("the same or less bad with always-cost" in one.words for one in report.moments)
    assert len({one.at for one in report.moments}) == len(report.moments)


def test_a_digest_is_of_what_the_strategy_uses() -> None:
    """A setting of strategy `planned` changes no other, whose runs it does not change either."""
    two, planned = (contenders([name], [], [], PolicySettings())[0] for name in ("two-mode", "planned"))
    two_safer, safer = (contenders([name], ["resilienceShare=0.9"], [], PolicySettings())[0] for name in ("two-mode", "planned"))
    assert two_safer.digest == two.digest
    assert len({two.digest, planned.digest, safer.digest}) == 3


def test_a_sweep_stands_beside_the_first_policy() -> None:
    """The same columns, the same seeds, and not in the verdict."""
    report = golden_report()
    sweep = next(table for table in report.tables if table.title == "Sensitivity")
    assert [row.name for row in sweep.rows] == ["two-mode", "patienceSeconds 120"]
    assert sweep.rows[0].cells["cost"] == report.tables[0].rows[0].cells["cost"]
    assert "120" not in report.verdict
    assert len(report.timelines) == 4


def test_the_json_is_valid_by_its_schema_and_says_the_same(runs: list[Played]) -> None:
    """The version stands in it."""
    document = json.loads(json_text(reported(runs)))
    jsonschema.validate(document, report_schema())
    assert document["schema"] == "failoverctl.dev/report/v1"
    assert document["tables"][0]["rows"][0]["cells"]["flips"]["median"] == 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "schema": "failoverctl.dev/report/v0"}, report_schema())


def test_the_page_has_no_script_and_nothing_from_elsewhere(runs: list[Played]) -> None:
    """And its policy allows nothing but its own style sheet: no style attribute would work."""
    page = html(reported(runs))
    assert "<script" not in page
    assert not re.search(r"\s(style|onclick|onload)=", page)
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert 'http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;' in page


def test_what_a_person_wrote_is_escaped(runs: list[Played]) -> None:
    """A scenario's description is anybody's."""
    framing = Framing("x", "<script>alert(1)</script> | a", world().start, "0", "", "command", 1.0, application())
    report = simulation_report(runs[:1], framing)
    assert "<script>alert" not in html(report)
    assert "&lt;script>" in markdown(report)


def test_a_run_without_a_timeline_says_so(runs: list[Played]) -> None:
    """RowSeconds of 0."""
    report = reported([replace(runs[0], result=replace(runs[0].result, rows=()))])
    assert report.timelines == ()
    assert "No timelines: rowSeconds of golden is 0." in report.notes
    assert "Timelines" not in html(report)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "100 %"),
        (0.9999996, "99.999 %"),
        (0.98765, "98.765 %"),
        (0.0004, "0.040 %"),
        (1e-7, "under 0.001 %"),
        (0.0, "0 %"),
        (0.293, "29.3 %"),
    ],
)
def test_shares_never_round_up_to_everything_or_down_to_nothing(value: float, text: str) -> None:
    """99.9996 % served is not 100 %."""
    assert words.share(value) == text


def test_a_column_is_explained_once(runs: list[Played]) -> None:
    """Three tables with the same columns would be a page of repetitions."""
    page = html(golden_report())
    assert page.count("<li><b>p95 added latency</b>") == 1
    assert _unbroken("99.001 % to 99.250 %") == "99.001\N{NO-BREAK SPACE}% to\N{NO-BREAK SPACE}99.250\N{NO-BREAK SPACE}%"
