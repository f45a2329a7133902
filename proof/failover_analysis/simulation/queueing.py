"""How long one replica takes for a request at a given load.

A replica is a queue with one server and a constant service time (M/D/1: the work of a diffusion model does not depend on the prompt).
By Pollaczek and Khinchine its mean time in the system is ``W = S * (1 + u / (2 * (1 - u)))``, where ``S`` is the service time,
``r`` the rate of arrivals and ``u = r * S``.

``S`` is not published, but one point of the curve is: Table 2 of the AWS sample has latency and throughput of every unit at its breaking
point. With Little's law ``L = r * W`` that point gives ``L = u * (2 - u) / (2 * (1 - u))``, a quadratic equation for ``u``. For inf2 (105 a
minute, 0.67 s) S is 0.36 s: the model gives 0.52 s at three quarters of that load, where the AWS sample measured 0.5 s.

An unbounded queue would answer some requests after minutes. The model servers shed instead: load that would drive ``u`` above `FULL` gets
a 503, as the design requires.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

FULL: Final = 0.95
"""Utilisation above which a replica sheds. At it, a request waits for nine and a half others on average. Our choice, not measured."""


@lru_cache(maxsize=256)
def service_s(throughput: float, latency_s: float, period_s: float) -> float:
    """The service time that gives `latency_s` at `throughput`.

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
    """A replica's share of the requests, relative to others, if each has the same number of outstanding requests.

    By Little's law and the formula above, equal ``L`` means equal ``u``, and so rates proportional to ``1 / S``.
    """
    return 1 / service_s(throughput, latency_s, period_s)


def answered(arrivals: float, throughput: float, latency_s: float, period_s: float) -> tuple[float, float]:
    """The outcome of a rate of arrivals at one replica.

    Args:
        arrivals: Requests per metric period.
        throughput: See `service_s`.
        latency_s: See `service_s`.
        period_s: See `service_s`.

    Returns:
        Answered requests per period (the others are shed), and their mean latency in seconds.
    """
    service = service_s(throughput, latency_s, period_s)
    most = FULL * period_s / service
    served = min(arrivals, most)
    use = served / period_s * service
    return served, service * (1 + use / (2 * (1 - use)))
