"""A whole drill: the production controller, the emulated cluster and the emulated FIS, in the time of a scenario."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from controller.clients.aws import AwsClients
from controller.clients.kube import connect
from controller.service.wiring import Service
from failover_setup.drill.experiments import Experiments, Left
from failover_setup.drill.report import report
from failover_setup.drill.run import require_quiet, run
from failover_setup.drill.timeline import Observer
from failover_testbed.demo.clock import PacedClock
from failover_testbed.demo.environment import STATE_NAMESPACE, Environment
from failover_testbed.demo.play import demo_settings, environment_variables
from failover_testbed.demo.scenario import FOLDER, load_scenario
from tests.drill.drills import KEY, page, plan
from tests.support.node_pools import restrict


@pytest.mark.timeout(240)
def test_a_drill_is_followed_from_the_first_refusal_to_the_return() -> None:
    """FIS makes EC2 refuse, Karpenter reports it, the controller fails over and returns, and nothing is left in FIS."""
    scenario = load_scenario(FOLDER / "seed.yaml")
    clock = PacedClock(scenario.file.factor)
    quiet = replace(scenario, file=scenario.file.model_copy(update={"events": (), "duration_s": 3000}))  # no shortage but that of the drill
    with environment_variables({}), Environment(quiet, clock) as environment, environment_variables(environment.environment()):
        restrict(environment.api.store, scenario.applications[KEY].units[0].node_pool, "us-west-2a")
        session = connect(kubeconfig=str(environment.kubeconfig("controller")))
        service = Service(demo_settings(), session, clock)
        thread = threading.Thread(target=service.run, name="controller")
        thread.start()
        lines: list[str] = []
        try:
            experiments, observer = Experiments(AwsClients(), clock), Observer(session, STATE_NAMESPACE, KEY)
            while observer.memory.mode is None:
                clock.wait(threading.Event(), 5)
                observer = Observer(session, STATE_NAMESPACE, KEY)
            clock.wait(threading.Event(), 30)
            require_quiet(plan(), observer.memory, experiments)
            with page() as url:
                outcome = run(plan(), url, observer, experiments, clock, lines.append, poll_s=5)
            made = report(plan(), outcome)
            assert experiments.left(KEY) == experiments.left(None) == Left()
            assert environment.aws.fis.zones() == ()
        finally:
            service.stop()
            thread.join(timeout=30)
    assert made.verdict == "passed", made.text()
    assert [line.split(":")[0] for line in lines] == [
        "experiment EXP1 begins",
        "EC2 refuses",
        "capacity mode",
        "experiment EXP1 has ended",
        "cost mode",
    ]
