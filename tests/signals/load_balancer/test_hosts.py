"""Which hosts a rule takes from another, as a load balancer compares them."""

from __future__ import annotations

import pytest

from controller.routing.conditions import covers_host


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        pytest.param("", "a.example.com", True, id="any host"),
        pytest.param("", "", True, id="any host, and any host"),
        pytest.param("a.example.com", "", False, id="one host, and any host"),
        pytest.param("a.example.com", "a.example.com", True, id="the same"),
        pytest.param("a.example.com", "b.example.com", False, id="another"),
        pytest.param("A.example.com", "a.Example.COM", True, id="case is ignored"),
        pytest.param("*.example.com", "a.example.com", True, id="a wildcard"),
        pytest.param("*.Example.com", "a.example.COM", True, id="a wildcard, and case"),
        pytest.param("*.example.com", "a.b.example.com", True, id="a wildcard is any number of labels"),
        pytest.param("*.example.com", "*.a.example.com", True, id="a wildcard within a wildcard"),
        pytest.param("*.a.example.com", "*.example.com", False, id="a wildcard around a wildcard"),
        pytest.param("*.example.com", "example.com", False, id="a wildcard is a label at least"),
        pytest.param("*.example.com", "badexample.com", False, id="a wildcard ends at a dot"),
        pytest.param("*.example.com", "", False, id="a wildcard, and any host"),
        pytest.param("a.example.com", "*.example.com", False, id="one host of a wildcard"),
    ],
)
def test_a_rule_takes_the_requests_of_another(pattern: str, host: str, *, covered: bool) -> None:
    """Every request of the second host reaches the first rule, if it comes first."""
    assert covers_host(pattern, host) is covered
