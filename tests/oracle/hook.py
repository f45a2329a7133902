# ruff: noqa
"""Compares the tables of guards and alerts with what they replace, wherever a decision is made."""

import atexit
import collections
import os

from controller.policy import decide as decide_module
from controller.policy import guards
from tests.oracle import alerts as old_alerts
from tests.oracle import guards as old_guards

COUNT = collections.Counter()
_SEVERAL = {"silent/counters": "counters"}
OLD = {one.__name__: one for one in {*old_guards.ALWAYS, *old_guards.MODE_CHANGE, *old_guards.FAILOVER, *old_guards.FALLBACK}}
_NAMES = {"flips": "flip_budget"}


def _same(guard, case, new):
    name = guard.name.replace(" ", "_") if isinstance(guard, guards.Guard) else ""
    old = OLD.get(_NAMES.get(name, name))
    if old is None:
        COUNT["unknown guards"] += 1
        return
    was = old(case)
    assert (was.guard, was.reason, was.text, dict(was.details), was.reopens_s, was.known) == (
        new.guard,
        new.reason,
        new.text,
        dict(new.details),
        new.reopens_s,
        new.known,
    ), (was, new)
    assert (old in old_guards.WAITING, old in old_guards.WHILE_PREPARING) == (guard.waits, guard.preparing)
    COUNT["guards"] += 1
    COUNT["held"] += not new.passed


def install():
    new_ask, new_alerts = guards.ask, decide_module.alerts

    def ask(some, case):
        answers = new_ask(some, case)
        for guard, result in zip(answers.guards, answers.results, strict=True):
            _same(guard, case, result)
        return answers

    def alerts(case, decision):
        found = new_alerts(case, decision)
        was = old_alerts.alerts(case, decision)
        wanted = sorted((_SEVERAL.get(one.key, one.key), one.severity, str(one.reason or "")) for one in was)
        seen = sorted((one.key, one.severity, str(one.row) if one.key.partition("/")[0] == "held" else "") for one in found)
        assert wanted == seen, (wanted, seen)
        COUNT["alert sets"] += 1
        COUNT["alerts"] += len(found)
        texts = {_SEVERAL.get(one.key, one.key): one.text for one in was}
        COUNT["alerts with the same text"] += sum(texts[one.key] == one.text for one in found)
        for one in found:
            COUNT[f"  {one.row.key}"] += 1
        return found

    guards.ask = ask
    decide_module.alerts = alerts


def report():
    folder = os.environ.get("ORACLE_COUNTS")
    if folder and COUNT:
        with open(f"{folder}/{os.getpid()}", "w") as out:
            out.write("\n".join(f"{key}\t{n}" for key, n in COUNT.items()))


install()
atexit.register(report)
