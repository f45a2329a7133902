"""Weights add up, follow the published formulas, and never send traffic to what cannot serve."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.model import Backend, Mode, Unit, WeightStrategy
from controller.policy.routing import (
    adjusted_throughputs,
    apply_availability,
    base_weights,
    blended_cost,
    cost_per_request,
    price_ratio,
    targets_at_rest,
)
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, application


def unit(name: str, price: float = 1.0, throughput: float = 100.0, latency: float = 0.5, weight: int | None = None) -> Unit:
    return Unit(
        name=name,
        backend=Backend(name, 80),
        deployment=name,
        node_pool="pool",
        instance_type="x.large",
        price_per_hour=price,
        throughput=throughput,
        latency_s=latency,
        weight=weight,
    )


SEED = (
    unit("inf2", 0.7582, 105, 0.67, 40),
    unit("trn1", 1.3438, 130, 0.51, 20),
    unit("g5-triton", 1.0060, 90, 0.68, 15),
    unit("g6-triton", 0.8048, 61, 0.96, 10),
    unit("g5-cuda", 1.0060, 60, 0.92, 15),
)
SHIPPED = {"inf2": 40, "trn1": 20, "g5-triton": 15, "g6-triton": 10, "g5-cuda": 15}

no_deadline = settings(deadline=None)
names = st.text("abcdefgh", min_size=1, max_size=4)


class TestBaseWeights:
    @pytest.mark.parametrize(
        ("strategy", "demand", "ready", "expected"),
        [
            pytest.param(WeightStrategy.EXPLICIT, None, {}, [40, 20, 15, 10, 15], id="explicit: as shipped"),
            pytest.param(WeightStrategy.INVERSE_COST, None, {}, [30, 21, 19, 17, 13], id="inverse cost"),
            pytest.param(WeightStrategy.THROUGHPUT_PER_COST_LATENCY, None, {}, [32, 37, 18, 7, 6], id="throughput per cost and latency"),
            pytest.param(
                WeightStrategy.MERIT_ORDER, 105, {"inf2": 1, "trn1": 1}, [100, 0, 0, 0, 0], id="merit order: the cheapest is enough"
            ),
            pytest.param(
                WeightStrategy.MERIT_ORDER, 210, {"inf2": 1, "trn1": 1}, [50, 50, 0, 0, 0], id="merit order: the next takes the rest"
            ),
            pytest.param(
                WeightStrategy.MERIT_ORDER,
                10_000,
                {"inf2": 1, "trn1": 1},
                [45, 55, 0, 0, 0],
                id="merit order: more than there is, spread like capacity",
            ),
            pytest.param(WeightStrategy.MERIT_ORDER, None, {"inf2": 1, "trn1": 1}, [45, 55, 0, 0, 0], id="merit order: demand not known"),
            pytest.param(
                WeightStrategy.MERIT_ORDER,
                0,
                {"trn1": 1, "g5-cuda": 9},
                [0, 100, 0, 0, 0],
                id="merit order: no demand, cheapest ready unit",
            ),
            pytest.param(WeightStrategy.MERIT_ORDER, 0, {}, [100, 0, 0, 0, 0], id="merit order: nothing ready, no demand"),
            pytest.param(
                WeightStrategy.READY_PROPORTIONAL, None, {"inf2": 8, "trn1": 1, "g6-triton": 1}, [80, 10, 0, 10, 0], id="ready-proportional"
            ),
            pytest.param(WeightStrategy.READY_PROPORTIONAL, None, {}, [20, 20, 20, 20, 20], id="ready-proportional: nothing ready"),
        ],
    )
    def test_follow_the_strategy(self, strategy: WeightStrategy, demand: float | None, ready: dict[str, int], expected: list[int]) -> None:
        assert list(base_weights(SEED, strategy, demand, ready).values()) == expected

    def test_keep_explicit_weights_as_written_whatever_they_add_up_to(self) -> None:
        units = (unit("a", weight=4), unit("b", weight=2), unit("c", weight=0))
        assert base_weights(units, WeightStrategy.EXPLICIT, None, {}) == {"a": 4, "b": 2, "c": 0}

    def test_fill_slow_units_too(self) -> None:
        """A large model may serve less than a request per metric period and replica; left out, its paid replicas would stand idle."""
        units = (unit("slow", price=0.001, throughput=0.25), unit("fast"))
        assert base_weights(units, WeightStrategy.MERIT_ORDER, 0.5, {"slow": 1, "fast": 1}) == {"slow": 50, "fast": 50}

    def test_fill_units_of_equal_cost_in_the_order_of_the_file(self) -> None:
        assert base_weights((unit("b"), unit("a")), WeightStrategy.MERIT_ORDER, 50, {"a": 1, "b": 1}) == {"b": 100, "a": 0}

    @pytest.mark.parametrize(
        ("units", "strategy", "demand", "ready", "text"),
        [
            pytest.param((), WeightStrategy.INVERSE_COST, None, {}, "no deployment units", id="no units"),
            pytest.param((unit("a"),), WeightStrategy.EXPLICIT, None, {}, "unit a has no weight", id="explicit without a weight"),
            pytest.param((unit("a", weight=0),), WeightStrategy.EXPLICIT, None, {}, "not all be zero", id="all explicit weights zero"),
            pytest.param((unit("a", weight=-1), unit("b", weight=2)), WeightStrategy.EXPLICIT, None, {}, "negative", id="negative weight"),
            pytest.param((unit("a", price=0.0),), WeightStrategy.INVERSE_COST, None, {}, "price of a", id="free"),
            pytest.param((unit("a", latency=0.0),), WeightStrategy.THROUGHPUT_PER_COST_LATENCY, None, {}, "latency of a", id="no latency"),
            pytest.param((unit("a"),), WeightStrategy.MERIT_ORDER, math.nan, {}, "demand must be finite", id="demand is not a number"),
            pytest.param((unit("a"),), WeightStrategy.MERIT_ORDER, -1.0, {}, "demand must not be negative", id="negative demand"),
            pytest.param((unit("a"),), WeightStrategy.READY_PROPORTIONAL, None, {"a": -1}, "ready replicas of a", id="negative ready"),
        ],
    )
    def test_refuse_what_has_no_answer(
        self, units: tuple[Unit, ...], strategy: WeightStrategy, demand: float | None, ready: dict[str, int], text: str
    ) -> None:
        with pytest.raises(ValueError, match=text):
            base_weights(units, strategy, demand, ready)

    @no_deadline
    @given(
        st.sampled_from([s for s in WeightStrategy if s is not WeightStrategy.EXPLICIT]),
        st.none() | st.floats(min_value=0, max_value=1e9),
        st.dictionaries(st.sampled_from([u.name for u in SEED]), st.integers(0, 500)),
    )
    def test_derived_weights_always_add_up_to_100(self, strategy: WeightStrategy, demand: float | None, ready: dict[str, int]) -> None:
        weights = base_weights(SEED, strategy, demand, ready)
        assert sum(weights.values()) == 100
        assert list(weights) == [u.name for u in SEED]

    @no_deadline
    @given(
        st.none() | st.floats(min_value=0, max_value=1e6),
        st.dictionaries(st.sampled_from([u.name for u in SEED]), st.integers(0, 500), min_size=1).filter(lambda r: any(r.values())),
    )
    def test_merit_order_never_uses_a_unit_that_has_nothing_ready(self, demand: float | None, ready: dict[str, int]) -> None:
        weights = base_weights(SEED, WeightStrategy.MERIT_ORDER, demand, ready)
        assert all(ready.get(name, 0) > 0 for name, weight in weights.items() if weight)


class TestApplyAvailability:
    @pytest.mark.parametrize(
        ("base", "availability", "expected"),
        [
            pytest.param(SHIPPED, dict.fromkeys(SHIPPED, 1.0), SHIPPED, id="healthy: the weights a person wrote"),
            pytest.param(SHIPPED, dict.fromkeys(SHIPPED, 0.25), SHIPPED, id="equally short: the proportion does not change"),
            pytest.param({"a": 4, "b": 2}, {"a": 1.0, "b": 1.0}, {"a": 4, "b": 2}, id="small weights are not rescaled"),
            pytest.param({"a": 50, "b": 50}, {"a": 0.5, "b": 1.0}, {"a": 33, "b": 67}, id="partly short keeps its share"),
            pytest.param({"a": 50, "b": 50}, {"a": 0.0, "b": 1.0}, {"a": 0, "b": 100}, id="gone: the other gets all"),
            pytest.param({"a": 0, "b": 50}, {"a": 1.0, "b": 0.0}, {}, id="what can serve has no weight: nobody can"),
            pytest.param(SHIPPED, dict.fromkeys(SHIPPED, 0.0), {}, id="nobody can serve"),
            pytest.param({"a": 999, "b": 999}, {"a": 1.0, "b": 0.001}, {"a": 99, "b": 1}, id="never above 999, never rounded away"),
            pytest.param({"a": 1}, {"a": 1.0, "other": math.nan}, {"a": 1}, id="others are ignored"),
            pytest.param({}, {}, {}, id="nobody"),
        ],
    )
    def test_follows_what_can_serve(self, base: dict[str, int], availability: dict[str, float], expected: dict[str, int]) -> None:
        assert apply_availability(base, availability) == expected

    @pytest.mark.parametrize(
        ("base", "availability", "text"),
        [
            pytest.param({"a": 1}, {}, "availability of a is missing", id="missing is not guessed"),
            pytest.param({"a": 1}, {"a": 1.01}, "must be 0 to 1", id="above one"),
            pytest.param({"a": 1}, {"a": -0.1}, "must not be negative", id="negative"),
            pytest.param({"a": 1}, {"a": math.nan}, "must be finite", id="nan"),
            pytest.param({"a": -1}, {"a": 1.0}, "weight of a must not be negative", id="negative weight"),
        ],
    )
    def test_refuses_what_is_not_an_availability(self, base: dict[str, int], availability: dict[str, float], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            apply_availability(base, availability)

    @no_deadline
    @given(
        st.dictionaries(names, st.tuples(st.integers(0, 999), st.floats(0, 1)), max_size=5),
    )
    def test_result_is_always_a_valid_action_or_empty(self, pairs: dict[str, tuple[int, float]]) -> None:
        result = apply_availability({n: w for n, (w, _) in pairs.items()}, {n: a for n, (_, a) in pairs.items()})
        if not result:
            assert not any(w and a for w, a in pairs.values())
            return
        assert all(0 <= weight <= 999 for weight in result.values())
        assert {n for n, weight in result.items() if weight} == {n for n, (w, a) in pairs.items() if w and a}


class TestCosts:
    @pytest.mark.parametrize(
        ("index", "expected"),
        [
            pytest.param(0, 0.00722, id="inf2, printed as 0.00733"),
            pytest.param(1, 0.01034, id="trn1, printed as 0.01023"),
            pytest.param(2, 0.01118, id="g5-triton"),
            pytest.param(3, 0.01319, id="g6-triton, printed as 0.01320"),
            pytest.param(4, 0.01677, id="g5-cuda"),
        ],
    )
    def test_cost_per_request_is_table_1(self, index: int, expected: float) -> None:
        assert round(cost_per_request(SEED[index]), 5) == expected

    def test_adjusted_throughput_is_table_2(self) -> None:
        assert list(adjusted_throughputs(SEED).values()) == [89.2, 89.2, 89.2, 61.0, 60.0]

    def test_adjusted_throughput_of_nothing_is_nothing(self) -> None:
        assert adjusted_throughputs(()) == {}

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            pytest.param(SHIPPED, 0.01047, id="as shipped"),
            pytest.param(dict.fromkeys(SHIPPED, 1), 0.01174, id="equal round robin"),
            pytest.param({"inf2": 1}, 0.00722, id="merit order"),
        ],
    )
    def test_blended_cost_is_the_evaluations(self, weights: dict[str, float], expected: float) -> None:
        assert round(blended_cost(weights, SEED), 5) == expected

    def test_price_ratio_of_the_aws_sample_is_1_12_so_cost_mode_saves_10_8_percent(self) -> None:
        ratio = price_ratio(application(units=SEED), SHIPPED)
        assert round(ratio, 3) == 1.122
        assert round(100 * (1 - 1 / ratio), 1) == 10.8

    @pytest.mark.parametrize(
        ("weights", "text"),
        [
            pytest.param({"inf2": 0}, "all zero", id="all zero"),
            pytest.param({}, "all zero", id="none"),
            pytest.param({"inf3": 1}, "no deployment unit is named inf3", id="unknown unit"),
            pytest.param({"inf2": -1}, "must not be negative", id="negative"),
        ],
    )
    def test_blended_cost_refuses_weights_that_split_nothing(self, weights: dict[str, float], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            blended_cost(weights, SEED)

    @pytest.mark.parametrize("throughput", [0.0, -1.0, math.inf, math.nan])
    def test_a_throughput_that_is_no_throughput_is_refused(self, throughput: float) -> None:
        with pytest.raises(ValueError, match="throughput of a"):
            cost_per_request(unit("a", throughput=throughput))

    @no_deadline
    @given(st.lists(st.floats(min_value=1e-3, max_value=1e6), min_size=1, max_size=5))
    def test_adjusted_throughput_never_exceeds_what_a_unit_can_do(self, throughputs: list[float]) -> None:
        units = [unit(str(i), throughput=t) for i, t in enumerate(throughputs)]
        adjusted = adjusted_throughputs(units)
        assert all(adjusted[u.name] <= u.throughput for u in units)


def test_a_new_ingress_gets_the_weights_of_equally_many_replicas() -> None:
    """`render` writes it before any replica exists."""
    made = application()
    assert targets_at_rest(made, Mode.COST) == COST_TARGETS
    assert targets_at_rest(made, Mode.CAPACITY) == CAPACITY_TARGETS
