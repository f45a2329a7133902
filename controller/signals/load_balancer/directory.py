"""The load balancers and listeners behind the host names of the routing objects, cached because they rarely change."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from controller.clock import Clock
from controller.errors import NotFound
from controller.objects import text
from controller.signals.load_balancer.calls import Calls

_KEPT: Final = 4096  # more than there are applications: one that is dropped is searched for anew in every check
_LOAD_BALANCER_TTL_S: Final = 3600.0
_MISSING_TTL_S: Final = 60.0  # the search for a missing load balancer pages through the whole account
_LISTED_S: Final = 60.0
"""How long a list of the account's load balancers serves, seconds. Where a second one is searched for within that time, more will be, as
after a restart: a page of the list has 400 of them."""
_LISTENER_TTL_S: Final = 300.0  # a new listener must be noticed, because it carries traffic, too


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of an Application Load Balancer.

    Attributes:
        arn: Its ARN.
        port: Its port.
        label: For people, e.g. ``HTTPS:443``.
        plain: Whether it takes HTTP without TLS, and so may send everyone to HTTPS.
    """

    arn: str
    port: int
    label: str
    plain: bool = False


@dataclass(frozen=True, slots=True)
class _LoadBalancer:
    arn: str  # "" if the search found none
    until: float


class Directory:
    """Finds load balancers by host name and lists their listeners. Safe to share between threads.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._load_balancers: dict[str, _LoadBalancer] = {}  # by host name in lower case
        self._listing = threading.Lock()  # while one thread lists all, the others wait for its answer
        self._listed: Mapping[str, str] = {}  # ARNs by host name, "" of what is no Application Load Balancer; valid until the next
        self._listed_until = self._searched_until = -math.inf
        self._listeners: dict[str, tuple[float, tuple[Listener, ...]]] = {}  # by load balancer

    def calls_needed(self, hostnames: Iterable[str]) -> int:
        """How many calls a check of these load balancers needs for them and their rules, with refreshes; a guess for unknown ones."""
        needed, now = 0, self._clock.monotonic()
        with self._lock:
            for key in map(_host, hostnames):
                known, listed = self._load_balancers.get(key), now < self._listed_until and key in self._listed
                until, listeners = self._listeners.get(known.arn, (0.0, ())) if known else (0.0, ())
                needed += (not listed and (known is None or known.until <= now)) + (until <= now) + (len(listeners) or 1)
        return needed

    def load_balancer(self, hostname: str, calls: Calls) -> str:
        """The ARN of the Application Load Balancer with that DNS name; "" if there is none.

        Raises:
            RemoteError: A call failed.
            CannotTellError: An answer is unreadable.
        """
        now, key = self._clock.monotonic(), _host(hostname)
        with self._lock:
            known = self._load_balancers.get(key)
        if known and now < known.until:
            return known.arn
        arn = self._searched(hostname, calls)
        until = now + (_MISSING_TTL_S if arn is None else _LOAD_BALANCER_TTL_S)
        with self._lock:
            self._load_balancers[key] = _LoadBalancer(arn or "", until)
            drop_oldest(self._load_balancers, _KEPT)
        return arn or ""

    def _searched(self, hostname: str, calls: Calls) -> str | None:
        """The ARN of the load balancer with that DNS name: from the last list, by its name, or from a new list.

        Returns:
            "" if it is no Application Load Balancer, None if there is none.
        """
        now, key = self._clock.monotonic(), _host(hostname)
        with self._lock:
            alone, self._searched_until = self._searched_until <= now, now + _LISTED_S
            current = now < self._listed_until
            if current and key in self._listed:
                return self._listed[key]
        if alone or current:
            with suppress(NotFound):  # the host name lost the name's case, or is a Network Load Balancer's
                found = _by_host(calls.listing("DescribeLoadBalancers", "LoadBalancers", Names=[load_balancer_name(hostname)]))
                if key in found:
                    return found[key]
        return self._all(calls).get(key)

    def _all(self, calls: Calls) -> Mapping[str, str]:
        """The ARNs of the account's load balancers by host name, at most a minute old."""
        with self._listing:
            now = self._clock.monotonic()
            if self._listed_until <= now:
                found = _by_host(calls.listing("DescribeLoadBalancers", "LoadBalancers"))
                with self._lock:
                    self._listed, self._listed_until = found, now + _LISTED_S
            return self._listed

    def known(self, hostname: str) -> str:
        """The ARN of the Application Load Balancer with that DNS name as far as it is known without a call, however old; else ""."""
        key = _host(hostname)
        with self._lock:
            found = self._load_balancers.get(key)
            return (found.arn if found is not None else "") or self._listed.get(key, "")

    def listeners(self, load_balancer: str, calls: Calls) -> tuple[Listener, ...]:
        """The HTTP and HTTPS listeners of a load balancer.

        Raises:
            RemoteError: A call failed.
            CannotTellError: An answer is unreadable.
        """
        now = self._clock.monotonic()
        with self._lock:
            until, known = self._listeners.get(load_balancer, (0.0, ()))
        if known and now < until:
            return known
        found = []
        for entry in calls.listing("DescribeListeners", "Listeners", LoadBalancerArn=load_balancer):
            arn, port, protocol = text(entry, "ListenerArn"), entry.get("Port"), text(entry, "Protocol")
            if arn and isinstance(port, int) and protocol in {"HTTP", "HTTPS"}:
                found.append(Listener(arn, port, f"{protocol}:{port}", protocol == "HTTP"))
        listeners = tuple(found)
        with self._lock:
            self._listeners[load_balancer] = (now + _LISTENER_TTL_S, listeners)
            drop_oldest(self._listeners, _KEPT)
        return listeners

    def forget(self, hostnames: Iterable[str]) -> None:
        """Drops these load balancers and their listeners, so that the next check finds them again."""
        with self._lock:
            self._listed_until = -math.inf
            for hostname in hostnames:
                known = self._load_balancers.pop(_host(hostname), None)
                if known:
                    self._listeners.pop(known.arn, None)


def load_balancer_dimension(arn: str) -> str:
    """The value of CloudWatch's ``LoadBalancer`` dimension, ``app/<name>/<id>``; "" if `arn` is not a load balancer's."""
    _, mark, rest = arn.partition(":loadbalancer/")
    return rest if mark else ""


def load_balancer_name(hostname: str) -> str:
    """The load balancer's name as in its DNS name: the first label without ``internal-`` and the number that AWS appends.

    Its case may be lost: since v3.2.0 the load-balancer controller writes the host name in lower case.
    """
    label = hostname.strip().removeprefix("dualstack.").split(".", 1)[0]
    return re.sub(r"-\d+$", "", label.removeprefix("internal-"))


def drop_oldest(kept: dict[str, Any], limit: int) -> None:
    """Drops the oldest entries beyond `limit`."""
    while len(kept) > limit:
        del kept[next(iter(kept))]


def _by_host(described: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The ARNs of load balancers by host name, "" of what is no Application Load Balancer.

    AWS keeps the case of the name, the status of a routing object does not.
    """
    return {_host(text(one, "DNSName")): text(one, "LoadBalancerArn") if one.get("Type") == "application" else "" for one in described}


def _host(hostname: str) -> str:
    """A DNS name in the form for comparisons: lower case, no trailing dot, no Route 53 prefix."""
    return hostname.strip().lower().rstrip(".").removeprefix("dualstack.")
