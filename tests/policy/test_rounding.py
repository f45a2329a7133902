"""Rounding shares to weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.routing import largest_remainder, least_overload
from controller.policy.routing.rounding import TOTAL

Rounding = Callable[[Mapping[str, float | Fraction], int], dict[str, int]]

no_deadline = settings(deadline=None)
names = st.text("abcdefgh", min_size=1, max_size=4)
positive_shares = st.dictionaries(names, st.floats(min_value=0, max_value=1e300), min_size=1, max_size=8).filter(lambda s: any(s.values()))


def overload(shares: Mapping[str, float | Fraction], weights: Mapping[str, int]) -> Fraction:
    """By which factor anyone gets more than its share of the whole at most."""
    whole, total = sum(Fraction(share) for share in shares.values()), sum(weights.values())
    return max(Fraction(weights[name]) * whole / (Fraction(share) * total) for name, share in shares.items() if share)


@pytest.mark.parametrize("rounded", [largest_remainder, least_overload])
class TestBoth:
    @pytest.mark.parametrize(
        ("shares", "total", "expected"),
        [
            pytest.param({"a": 1.0, "b": 1.0}, 100, {"a": 50, "b": 50}, id="equal shares"),
            pytest.param({"a": 1.0, "b": 1.0, "c": 1.0}, 100, {"a": 34, "b": 33, "c": 33}, id="tie goes to the first"),
            pytest.param({"c": 1.0, "b": 1.0, "a": 1.0}, 100, {"c": 34, "b": 33, "a": 33}, id="first by order, not by name"),
            pytest.param({"a": 0.0, "b": 3.0}, 100, {"a": 0, "b": 100}, id="zero stays zero"),
            pytest.param({"a": 1.0, "b": 1e9}, 100, {"a": 1, "b": 99}, id="what is not zero keeps one"),
            pytest.param({"a": 1e-9, "b": 1e-9, "c": 1.0}, 3, {"a": 1, "b": 1, "c": 1}, id="as many as there are"),
            pytest.param({"a": 1.0, "b": 2.0, "c": 3.0}, 2, {"a": 0, "b": 1, "c": 1}, id="fewer than there are: the smallest goes"),
            pytest.param({"a": 5e-324, "b": 1e308}, 100, {"a": 1, "b": 99}, id="the extremes of a float"),
            pytest.param({"a": 1.0}, 0, {"a": 0}, id="nothing to divide"),
            pytest.param({}, 0, {}, id="nothing among nobody"),
        ],
    )
    def test_rounds_as_a_person_would(self, rounded: Rounding, shares: dict[str, float], total: int, expected: dict[str, int]) -> None:
        assert rounded(shares, total) == expected

    @pytest.mark.parametrize(
        ("shares", "total", "text"),
        [
            pytest.param({"a": math.nan}, 100, "share of a must be finite", id="nan"),
            pytest.param({"a": math.inf}, 100, "share of a must be finite", id="infinite"),
            pytest.param({"a": 1.0, "b": -0.1}, 100, "share of b must not be negative", id="negative"),
            pytest.param({"a": 0.0}, 100, "no share is greater than zero", id="all zero"),
            pytest.param({}, 1, "no share is greater than zero", id="nobody to get it"),
            pytest.param({"a": 1.0}, -1, "total must not be negative", id="negative total"),
        ],
    )
    def test_refuses_what_has_no_answer(self, rounded: Rounding, shares: dict[str, float], total: int, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            rounded(shares, total)

    @no_deadline
    @given(shares=positive_shares, total=st.integers(0, 999))
    def test_adds_up_exactly_in_the_given_order_and_is_never_negative(
        self, rounded: Rounding, shares: dict[str, float], total: int
    ) -> None:
        result = rounded(shares, total)
        assert list(result) == list(shares)
        assert sum(result.values()) == total
        assert min(result.values()) >= 0

    @no_deadline
    @given(shares=positive_shares, total=st.integers(0, 999))
    def test_gives_one_to_everything_that_is_not_zero_while_there_is_enough(
        self, rounded: Rounding, shares: dict[str, float], total: int
    ) -> None:
        result = rounded(shares, total)
        lost = [name for name, share in shares.items() if share > 0 and result[name] == 0]
        assert not lost or total < sum(share > 0 for share in shares.values())
        assert all(result[name] == 0 for name, share in shares.items() if share == 0)

    @no_deadline
    @given(shares=positive_shares, total=st.integers(0, 999))
    def test_never_gives_less_to_a_larger_share(self, rounded: Rounding, shares: dict[str, float], total: int) -> None:
        result = rounded(shares, total)
        for one, share in shares.items():
            for other, larger in shares.items():
                assert not share < larger or result[one] <= result[other]


class TestLargestRemainder:
    @pytest.mark.parametrize(
        ("shares", "expected"),
        [
            pytest.param({"a": 0.15, "b": 0.85}, {"a": 2, "b": 8}, id="a decimal tie is a tie, although 0.15 + 0.85 is not in binary"),
            pytest.param({"a": 0.85, "b": 0.15}, {"a": 9, "b": 1}, id="the same tie the other way round"),
        ],
    )
    def test_a_tie_goes_to_the_first(self, shares: dict[str, float], expected: dict[str, int]) -> None:
        assert largest_remainder(shares, 10) == expected

    @no_deadline
    @given(st.dictionaries(names, st.integers(1, 1000), min_size=1, max_size=6))
    def test_stays_within_one_of_the_quota_where_no_floor_is_needed(self, shares: dict[str, int]) -> None:
        whole, total = sum(shares.values()), 10_000
        result = largest_remainder(shares, total)
        assert all(abs(Fraction(share * total, whole) - result[name]) < 1 for name, share in shares.items())


class TestLeastOverload:
    @pytest.mark.parametrize(
        ("inf2", "nearest", "expected"),
        [
            pytest.param(22, [87, 5, 4, 2, 2], [88, 5, 3, 2, 2], id="4 are a sixth more than g5-triton's replica carries"),
            pytest.param(23, [88, 5, 3, 2, 2], [89, 4, 3, 2, 2], id="5 are a twentieth more than trn1's carries"),
        ],
    )
    def test_rounds_up_where_it_matters_least(self, inf2: int, nearest: list[int], expected: list[int]) -> None:
        """A full fleet of the AWS sample's units, with one replica of each but inf2."""
        shares = {"inf2": inf2 * 105.0, "trn1": 130.0, "g5-triton": 90.0, "g6-triton": 61.0, "g5-cuda": 60.0}
        assert [*largest_remainder(shares).values()] == nearest
        assert [*least_overload(shares).values()] == expected

    @no_deadline
    @given(st.dictionaries(names, st.integers(1, 200), min_size=2, max_size=4), st.integers(4, 14))
    def test_no_other_weights_overload_anyone_less(self, shares: dict[str, int], total: int) -> None:
        """Of all weights with at least one for each, by trying them."""
        others = (found for found in itertools.product(range(1, total), repeat=len(shares)) if sum(found) == total)
        best = min(overload(shares, dict(zip(shares, found, strict=True))) for found in others)
        assert overload(shares, least_overload(shares, total)) == best

    @no_deadline
    @given(st.lists(st.integers(1, 30), min_size=2, max_size=6))
    def test_a_scaler_that_tolerates_a_tenth_starts_nothing_for_a_fleet_that_is_full(self, replicas: list[int]) -> None:
        """With up to six units, each of which has at least a hundredth of all throughput."""
        shares = {str(number): count for number, count in enumerate(replicas)}
        if all(100 * count >= sum(replicas) for count in replicas):
            assert overload(shares, least_overload(shares, TOTAL)) <= Fraction(11, 10)
