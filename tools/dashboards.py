"""The dashboards for Grafana: what happens to the applications, and how the controller works.

``python -m tools.monitoring`` writes them. The classes of Grafana's own SDK for version 10.1 build them. Their uids and the numbers of
their panels are fixed, so that links to them stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, VisibilityMode

_SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_APP: Final = 'application=~"$application"'
_LEADS: Final = "and on (instance) failoverctl_leader == 1"
"""Both replicas observe; only what the one that leads says counts."""
_HEIGHT: Final = 8
_GOOD, _BAD, _UNKNOWN, _OTHER = "green", "red", "gray", "orange"


class Kind(StrEnum):
    """How a panel shows its values."""

    NUMBER = "stat"
    LINES = "timeseries"
    STATES = "state-timeline"


@dataclass(frozen=True)
class Query:
    """One expression, and the legend of its series."""

    expression: str
    legend: str = "{{application}}"


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: What it shows.
        description: What it means, and what to do where it is bad.
        unit: Grafana's name of the unit.
        width: Of 24 columns.
        states: Text and colour of each value, for what is no quantity.
        bad_from: A number turns red from this value on; None: it has no bad values.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = Kind.LINES
    width: int = 12
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    bad_from: float | None = None


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: its rows by title."""

    uid: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]


def _led(metric: str, by: str = "application", more: str = "") -> str:
    """The gauge as the replica that leads exports it."""
    return f"max by ({by}) ({metric}{{{_APP}{more}}} {_LEADS})"


def _rate(counter: str, by: str, selector: str = _APP, *, factor: str = "") -> str:
    return f"sum by ({by}) (rate({counter}{{{selector}}}[$__rate_interval])){factor}"


def _total(counter: str) -> str:
    return f"sum by (application) (increase({counter}{{{_APP}}}[$__range]))"


_YES_NO: Final = {"0": ("no", _GOOD), "1": ("yes", _BAD)}
_MODES: Final = {"0": ("cost", _GOOD), "1": ("capacity", _OTHER)}
_VERIFIED: Final = {"-1": ("unknown", _UNKNOWN), "0": ("not yet", _BAD), "1": ("shown", _GOOD)}
_LEADING: Final = {"0": ("stands by", _UNKNOWN), "1": ("leads", _GOOD)}

OUTCOME: Final = Dashboard(
    uid="failoverctl-outcome",
    title="failoverctl / outcome",
    description="Which mode each application is in, whether the traffic follows, which units are short, and what it costs.",
    rows={
        "Now": [
            Panel(
                "In capacity mode",
                "Applications that the replica that leads sees in capacity mode. They are served at a higher price.",
                "short",
                [Query(f'sum(failoverctl_mode{{{_APP},mode="capacity"}} {_LEADS}) or vector(0)', "applications")],
                Kind.NUMBER,
                width=6,
            ),
            Panel(
                "Not verified",
                "Applications whose action the load balancer does not show. More than a minute: runbook load-balancer-does-not-follow.",
                "short",
                [Query(f"count(failoverctl_routing_verified{{{_APP}}} == 0 {_LEADS}) or vector(0)", "applications")],
                Kind.NUMBER,
                width=6,
                bad_from=1,
            ),
            Panel(
                "Alerts of the controller",
                "What the controller cannot settle alone. `failoverctl status` prints each alert with its runbook.",
                "short",
                [Query(f"sum(failoverctl_alerts{{{_APP}}} {_LEADS}) or vector(0)", "alerts")],
                Kind.NUMBER,
                width=6,
                bad_from=1,
            ),
            Panel(
                "Flip budget left, least",
                "Mode changes that `flipsPerHour` still allows, of the application with the fewest. At 0 the controller holds.",
                "short",
                [Query(f"min(failoverctl_flip_budget_left{{{_APP}}} {_LEADS})", "mode changes")],
                Kind.NUMBER,
                width=6,
            ),
        ],
        "Modes": [
            Panel(
                "Mode",
                "Cost mode favours the cheapest units; capacity mode shares the requests evenly among all ready pods.",
                "short",
                [Query(_led("failoverctl_mode", more=',mode="capacity"'))],
                Kind.STATES,
                states=_MODES,
            ),
            Panel(
                "The load balancer shows the action",
                "What ELBv2 shows of the routing action. Unknown without permission, or before the first answer.",
                "short",
                [Query(_led("failoverctl_routing_verified"))],
                Kind.STATES,
                states=_VERIFIED,
            ),
        ],
        "Capacity": [
            Panel(
                "Units that are proven short",
                "A unit is short while its demand cannot be met because AWS refuses capacity. Runbook: capacity-is-short.",
                "short",
                [Query(_led("failoverctl_unit_short", "application, unit"), "{{application}} {{unit}}")],
                Kind.STATES,
                states=_YES_NO,
                width=24,
            ),
            Panel(
                "Ready replicas",
                "Pods of each unit that serve.",
                "short",
                [Query(_led("failoverctl_unit_ready_replicas", "application, unit"), "{{application}} {{unit}}")],
            ),
            Panel(
                "Pods that wait for a node",
                "Pods that cannot be scheduled. In capacity mode a short unit keeps one, so that Karpenter asks again.",
                "short",
                [Query(_led("failoverctl_unit_waiting_pods", "application, unit"), "{{application}} {{unit}}")],
            ),
        ],
        "Worth": [
            Panel(
                "Price of the replicas",
                "US dollars an hour of the replicas that have a node, at the prices of the application file. An estimate of the bill.",
                "currencyUSD",
                [Query(_rate("failoverctl_spend_dollars_total", "application", factor=" * 3600"))],
            ),
            Panel(
                "Requests by mode",
                "Measured requests a second that the application served in each mode.",
                "reqps",
                [Query(_rate("failoverctl_mode_requests_total", "application, mode"), "{{application}} {{mode}}")],
            ),
            Panel(
                "Saved by cost mode",
                "US dollars in the time shown that cost mode saved against capacity mode.",
                "currencyUSD",
                [Query(_total("failoverctl_saved_dollars_total"))],
                Kind.NUMBER,
                width=6,
            ),
            Panel(
                "Paid for capacity mode",
                "US dollars in the time shown that capacity mode cost on top of cost mode.",
                "currencyUSD",
                [Query(_total("failoverctl_premium_dollars_total"))],
                Kind.NUMBER,
                width=6,
            ),
            Panel(
                "Paid for probes",
                "US dollars in the time shown of replicas that only a probe for returning capacity kept.",
                "currencyUSD",
                [Query(_total("failoverctl_probe_dollars_total"))],
                Kind.NUMBER,
                width=6,
            ),
            Panel(
                "Exposed",
                "Time in cost mode in which a unit that carried weight was proven short: the patience of a failover, and what held it.",
                "s",
                [Query(_total("failoverctl_exposed_seconds_total"))],
                Kind.NUMBER,
                width=6,
            ),
        ],
    },
)

MECHANICS: Final = Dashboard(
    uid="failoverctl-mechanics",
    title="failoverctl / mechanics",
    description="How the controller itself works: leadership, passes, signals, calls and messages.",
    rows={
        "Process": [
            Panel(
                "Leadership",
                "One replica leads and acts, the others stand by. Nobody for a minute: runbook no-leader.",
                "short",
                [Query("max by (instance) (failoverctl_leader)", "{{instance}}")],
                Kind.STATES,
                states=_LEADING,
            ),
            Panel(
                "Age of the last round",
                "Time since the loop of a replica ended its last round. Beyond three intervals it stalls: runbook controller-does-not-run.",
                "s",
                [Query("time() - max by (instance) (failoverctl_last_tick_timestamp_seconds)", "{{instance}}")],
            ),
            Panel(
                "Duration of a pass",
                "Half of the passes, and 99 of 100, take no longer.",
                "s",
                [
                    Query("histogram_quantile(0.5, sum by (le) (rate(failoverctl_pass_seconds_bucket[$__rate_interval])))", "p50"),
                    Query("histogram_quantile(0.99, sum by (le) (rate(failoverctl_pass_seconds_bucket[$__rate_interval])))", "p99"),
                ],
            ),
            Panel(
                "Applications that wait for a worker",
                "A queue that does not empty means passes that take too long.",
                "short",
                [Query("max by (instance) (failoverctl_queued_applications)", "{{instance}}")],
            ),
            Panel(
                "Passes that ended in a bug",
                "The application holds what it has; the log has the traceback.",
                "short",
                [Query(f"sum by (application) (increase(failoverctl_pass_errors_total{{{_APP}}}[$__rate_interval]))")],
            ),
            Panel(
                "Actions",
                "Requests that the controller sent to change something, by kind and result. Failures: runbook the-controller-cannot-write.",
                "short",
                [
                    Query(
                        f"sum by (kind, result) (increase(failoverctl_actions_total{{{_APP}}}[$__rate_interval]))",
                        "{{kind}} {{result}}",
                    )
                ],
            ),
        ],
        "Signals": [
            Panel(
                "Age of the signals",
                "Time since the last answer of each source, of the application with the oldest. Stale signals make the controller hold.",
                "s",
                [Query(f"max by (source) (failoverctl_signal_age_seconds{{{_APP}}} {_LEADS})", "{{source}}")],
            ),
            Panel(
                "Sources that are absent or stale",
                "By application. Runbook: signals-are-missing.",
                "short",
                [Query(_led("failoverctl_degraded"))],
            ),
            Panel(
                "Objects in memory",
                "Objects of the cluster that a replica keeps, by kind. What grows although the cluster does not is a leak.",
                "short",
                [Query("max by (kind) (failoverctl_kept_objects)", "{{kind}}")],
            ),
            Panel(
                "Refusals that were not understood",
                "Refusals of Karpenter since the start that failoverctl cannot read. They count as cause unknown. Please report the text.",
                "short",
                [Query("max by (instance) (failoverctl_unparsed_refusals)", "{{instance}}")],
            ),
            Panel(
                "Application files are accepted",
                "No while an application file is refused; the last good set goes on, and after a restart what has no fault.",
                "short",
                [Query("min by (instance) (failoverctl_config_ok)", "{{instance}}")],
                Kind.STATES,
                states={"0": ("no", _BAD), "1": ("yes", _GOOD)},
            ),
        ],
        "Calls": [
            Panel(
                "API calls",
                "Calls a second of all replicas to each service, watches, Lease and retries included.",
                "reqps",
                [Query("sum by (service) (rate(failoverctl_api_calls_total[$__rate_interval]))", "{{service}}")],
            ),
            Panel(
                "API calls for an application",
                "Calls a second for each application. A call that serves several counts with each one's part.",
                "reqps",
                [Query(_rate("failoverctl_application_api_calls_total", "application, service"), "{{application}} {{service}}")],
            ),
            Panel(
                "Time to verify every application once",
                "With the present `polls.elbv2_calls_per_s`. Over ten minutes the budget is too small.",
                "s",
                [Query("max(failoverctl_verification_cycle_seconds)", "a cycle")],
            ),
            Panel(
                "Applications that the budget can verify",
                "Every ten minutes, with the present `polls.elbv2_calls_per_s`.",
                "short",
                [
                    Query("max(failoverctl_verifiable_applications)", "can be verified"),
                    Query(f"count({_led('failoverctl_degraded')})", "applications"),
                ],
            ),
        ],
        "Messages and recording": [
            Panel(
                "Sinks deliver",
                "Whether the last messages to each sink arrived. Runbook: messages-do-not-arrive.",
                "short",
                [Query("min by (sink) (failoverctl_notifier_up)", "{{sink}}")],
                Kind.STATES,
                states={"0": ("no", _BAD), "1": ("yes", _GOOD)},
            ),
            Panel(
                "Messages",
                "Messages since the start: sent, given up, or dropped from a full queue.",
                "short",
                [Query("sum by (sink, result) (failoverctl_notifier_messages)", "{{sink}} {{result}}")],
            ),
            Panel(
                "Recorded decisions",
                "Decisions a second that were written to the recording, and those that could not be, with the reason.",
                "ops",
                [
                    Query("sum(rate(failoverctl_recorded_decisions_total[$__rate_interval]))", "recorded"),
                    Query("sum by (why) (rate(failoverctl_unrecorded_decisions_total[$__rate_interval]))", "not recorded: {{why}}"),
                ],
                width=24,
            ),
        ],
    },
)

DASHBOARDS: Final = (OUTCOME, MECHANICS)


def built(dashboard: Dashboard) -> str:
    """The dashboard as the JSON that Grafana imports."""
    made = (
        build.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags(["failoverctl"])
        .readonly()
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("utc")
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_applications())
        .link(
            build.DashboardLink("failoverctl")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["failoverctl"])
            .keep_time(True)
            .include_vars(True)
        )
    )
    number = 0
    for title, panels in dashboard.rows.items():
        number += 1
        made = made.with_row(build.Row(title).id(number))
        for panel in panels:
            number += 1
            made = made.with_panel(_panel(panel, number))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _siblings() -> build.DashboardLink:
    link = build.DashboardLink("failoverctl").type(model.DashboardLinkType.DASHBOARDS).tags(["failoverctl"])
    return link.keep_time(True).include_vars(True)


def _applications() -> build.QueryVariable:
    every = model.VariableOption(text="All", value="$__all", selected=True)
    return (
        build.QueryVariable("application")
        .label("Application")
        .datasource(_SOURCE)
        .query("label_values(failoverctl_mode, application)")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(every)
    )


def _panel(panel: Panel, number: int) -> Builder[model.Panel]:
    made: Any  # the three classes have the same methods, and no class in common that has them
    match panel.kind:
        case Kind.NUMBER:
            made = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        case Kind.STATES:
            made = statetimeline.Panel().show_value(VisibilityMode.AUTO).merge_values(True).fill_opacity(70).line_width(0)
        case Kind.LINES:
            shown = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
            made = timeseries.Panel().legend(shown).fill_opacity(10).axis_soft_min(0)
    made = made.id(number).title(panel.title).description(panel.description).unit(panel.unit).datasource(_SOURCE)
    made = made.span(panel.width).height(_HEIGHT if panel.kind is not Kind.NUMBER else _HEIGHT // 2)
    for letter, query in zip("ABCDEF", panel.queries, strict=False):
        made = made.with_target(
            prometheus.Dataquery().ref_id(letter).expr(query.expression).legend_format(query.legend).datasource(_SOURCE)
        )
    if panel.states:
        results = {value: model.ValueMappingResult(text=text, color=colour) for value, (text, colour) in panel.states.items()}
        made = made.mappings([model.ValueMap(options=results)])
    if panel.bad_from is not None:
        steps = [model.Threshold(None, _GOOD), model.Threshold(panel.bad_from, _BAD)]
        made = made.thresholds(build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    finished: Builder[model.Panel] = made
    return finished
