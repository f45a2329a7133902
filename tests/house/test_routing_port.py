"""The routing object is behind one port: who knows its text, and who says its name."""

from __future__ import annotations

from typing import get_args

from controller.catalog.application import RouteFile
from controller.routing.kinds import DEFAULT, KINDS
from tests.house.parsed import imports
from tools import house

SOURCES = [source for package, folder in house.HOUSES.items() for source in house.sources(package, folder)]

KNOW_THE_TEXT = {
    "controller.catalog.application",  # says in the application file's documentation which annotation a mode change rewrites
    "controller.routing.ingress.adapter",
    "controller.routing.ingress.read",
    "controller.routing.names",
}
SAY_INGRESS = 26
"""The most files. A new file says "routing object", or belongs to the adapter."""
SET_UP = ("adoption", "doctor", "rendering")
"""Parts that a person runs once, and that check or write an Ingress as such."""


def test_four_files_know_the_text_of_an_action() -> None:
    """A further kind of routing object would have to be taught to each of them."""
    assert {one.module for one in SOURCES if house.knows_the_annotation(one)} == KNOW_THE_TEXT


def test_no_more_files_say_ingress() -> None:
    """Lower the number with each file that needs to know the kind no longer."""
    assert sum(house.says_ingress(one) for one in SOURCES) <= SAY_INGRESS


def test_an_application_file_names_every_kind_that_has_an_adapter() -> None:
    """A kind without one could not be read, and one that no file may name is of no use."""
    assert {DEFAULT.resource.kind, *get_args(RouteFile.model_fields["kind"].annotation)} == KINDS.keys()


def test_what_runs_reaches_the_adapter_through_the_port_alone() -> None:
    """A further kind is one adapter and one row of `controller.routing.kinds`."""
    inside = ("controller.routing.", *(f"{package}.{part}" for package in house.HOUSES for part in SET_UP))
    strangers = {
        one.module
        for one in SOURCES
        if not one.module.startswith(inside)
        for node in imports(one.text)
        if (getattr(node, "module", None) or "").startswith("controller.routing.ingress")
    }
    assert strangers == set()
