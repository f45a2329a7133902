"""The bill beside that of the application file's weights and that of the optimum, for policies with strategy `planned`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from controller.policy.account import Ledger
from failover_analysis.report.model import Column, Spread, Unit

_BILLS: Final[tuple[tuple[Column, Callable[[Ledger], float]], ...]] = (
    (
        Column(
            "compared_spend", "Spend, compared", Unit.DOLLARS,
            "Spend while the demand was known: the time of the two columns after it.",
        ),
        lambda one: one.compared_spend,
    ),
    (
        Column(
            "weights_bill", "For the file's weights", Unit.DOLLARS,
            "What the whole replicas would have cost that the weights of the application file need at the demand of each moment.",
        ),
        lambda one: one.weights_spend,
    ),
    (
        Column(
            "optimum_bill", "Optimum with hindsight", Unit.DOLLARS,
            "What the cheapest whole replicas for the demand of each moment would have cost, without headroom, starts and spare families.",
        ),
        lambda one: one.least_spend,
    ),
)  # fmt: skip


def bill_columns(accounts: Iterable[Ledger]) -> tuple[Column, ...]:
    """The columns of a table with some accounts; none where no account compares anything."""
    return tuple(column for column, _ in _BILLS) if any(one.compared_s for one in accounts) else ()


def bill_cells(accounts: Iterable[Ledger]) -> dict[str, Spread | None]:
    """The cells of one row, by the key of their column; None where its accounts compare nothing."""
    comparing = [one for one in accounts if one.compared_s]
    return {column.key: Spread.of(map(value, comparing)) for column, value in _BILLS}
