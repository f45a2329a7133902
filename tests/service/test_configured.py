"""The fingerprint of an application file's meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.cli.published import difference
from controller.policy.model import Application, Cause, PolicySettings, Route
from controller.service.configured import Configured, fingerprint
from tests.support.applications import application

APP = application()


def test_it_is_the_same_in_every_process() -> None:
    """Sets have another order in each; the leader of another version may lack a field that the file does not use."""
    causes = frozenset({Cause.QUOTA, Cause.CAPACITY})
    assert fingerprint(replace(APP, policy=PolicySettings(trip_causes=causes))) == "a8f953c9c3b8"


@pytest.mark.parametrize(
    "other",
    [
        replace(APP, policy=PolicySettings(patience_s=11.0)),
        replace(APP, units=APP.units[1:]),
        replace(APP, units=(replace(APP.units[0], weight=41), *APP.units[1:])),
    ],
)
def test_it_differs_where_the_file_does(other: Application) -> None:
    assert fingerprint(other) != fingerprint(APP)
    assert "with another content than is read here" in difference({"configured": {APP.key: fingerprint(APP)}}, other)


def test_nothing_is_said_of_a_controller_that_does_not_publish_them() -> None:
    """It is of an earlier version, or somebody has edited what it published."""
    for published in ({}, {"configured": None}, {"configured": [APP.key]}):
        assert difference(published, APP) == ""


def test_they_are_computed_once_for_each_set_of_applications() -> None:
    made, ones = Configured(), (APP,)
    assert made.of(ones) is made.of(ones)
    assert list(made.of((APP, replace(APP, route=Route("sd22", "live"))))) == ["shop/sd21", "shop/sd22"]
