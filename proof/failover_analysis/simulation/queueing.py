"""How long one replica takes for a request, by how much it gets.

A replica is a queue with one server that takes the same time for every request (M/D/1: the work of a diffusion model does not depend on the
prompt). By Pollaczek and Khinchine its mean time in the system is ``W = S * (1 + u / (2 * (1 - u)))``, where ``S`` is the time of service,
``r`` the rate of arrivals and ``u = r * S``.

``S`` is not published, but one point of the curve is: the source's Table 2 has latency and throughput of every unit at its breaking
point. With Little's law ``L = r * W`` that point gives ``L = u * (2 - u) / (2 * (1 - u))``, a quadratic equation for ``u``. For inf2 (105 a
minute, 0.67 s) S is 0.36 s: the model answers in 0.52 s at three quarters of that load, where the source measured 0.5 s.

A queue without bound would answer some requests after minutes. The model servers shed instead: what would drive ``u`` above `FULL` gets a
503, as the design asks of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

FULL: Final = 0.95
"""Use of a replica beyond which it sheds: at it a request waits for nine and a half others on average. Our choice, not measured."""


@lru_cache(maxsize=256)
def service_s(throughput: float, latency_s: float, period_s: float) -> float:
    """The time of service that gives `latency_s` at `throughput`.

    Args:
        throughput: Requests per metric period at the breaking point.
        latency_s: Mean latency there, seconds.
        period_s: The metric period, seconds.
    """
    rate = throughput / period_s
    inside = rate * latency_s  # Little's law: requests in the system
    use = 1 + inside - math.sqrt(1 + inside * inside)
    return use / rate


def speed(throughput: float, latency_s: float, period_s: float) -> float:
    """What one replica gets, relative to others, where each is kept at as many requests outstanding.

    By Little's law and the formula above equal ``L`` means equal ``u``, and so rates like ``1 / S``.
    """
    return 1 / service_s(throughput, latency_s, period_s)


def answered(arrivals: float, throughput: float, latency_s: float, period_s: float) -> tuple[float, float]:
    """What one replica makes of a rate of arrivals.

    Args:
        arrivals: Requests per metric period.
        throughput: See `service_s`.
        latency_s: See `service_s`.
        period_s: See `service_s`.

    Returns:
        Requests per period that are answered (the others are shed), and their mean latency in seconds.
    """
    service = service_s(throughput, latency_s, period_s)
    most = FULL * period_s / service
    served = min(arrivals, most)
    use = served / period_s * service
    return served, service * (1 + use / (2 * (1 - use)))
