"""Offers and needs by seed, as large as production's: for comparing the search of the cheapest fleet with a solver."""

from __future__ import annotations

import random

from controller.policy.fleet.search import Offer
from controller.policy.model import Needs


def drawn(seed: int) -> tuple[tuple[Offer, ...], Needs]:
    """Three to six units of up to four families, and a demand that they carry."""
    draw = random.Random(seed)
    offers = []
    for number in range(draw.randint(3, 6)):
        least = draw.choice((0, 0, 1, 2))
        offers.append(
            Offer(
                name=f"unit-{number}",
                family=draw.choice("abcd"),
                throughput=draw.choice((60.0, 61.0, 90.0, 105.0, 130.0, 7.5)),
                price=draw.choice((0.7582, 0.8048, 1.006, 1.3438, 2.0)),
                least=least,
                most=least + draw.randint(1, 40),
                present=draw.randint(0, 30),
                paid=draw.choice((0, 0, 3)),
                start=draw.choice((0.0, 1 / 6, 0.5)),
                stop=draw.choice((0.0, 1 / 6, 1.0)),
            )
        )
    demand = draw.uniform(0.1, 0.9) * sum(offer.most * offer.throughput for offer in offers)
    return tuple(offers), Needs(demand, draw.choice((0.3, 0.6, 0.8, 1.0)) * demand)
