"""Where on loopback the pods and load balancers of one emulated cluster are."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

_FIRST: Final = 2  # 127.0 and 127.1 are others'
_LAST: Final = 250
_LOCK_PORT: Final = 65_535
_LISTENER_PORT: Final = 8080
_MOST: Final = 250


class Places:
    """A 127.n.0.0/16 that no other data plane on this machine has, until it is closed.

    A pod 10.1.b.c is served at 127.n.b.c, the n-th load balancer at 127.n.255.x.

    Raises:
        OSError: None is free.
    """

    def __init__(self) -> None:
        self._lock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._octet = self._claim()
        self._listeners: dict[str, tuple[str, int]] = {}

    def _claim(self) -> int:
        for octet in range(_FIRST, _LAST):
            try:
                self._lock.bind((f"127.{octet}.255.254", _LOCK_PORT))
            except OSError:
                continue
            return octet
        self._lock.close()
        raise OSError("no network on loopback is free")

    def close(self) -> None:
        """Lets others have it."""
        self._lock.close()

    def pod(self, address: str) -> str:
        """Where a pod of this address is served."""
        octets = ipaddress.IPv4Address(address).packed
        return f"127.{self._octet}.{octets[2]}.{octets[3]}"

    def listener(self, arn: str) -> tuple[str, int]:
        """Where a listener listens; the same place for the same ARN.

        Raises:
            OSError: There are too many.
        """
        if arn not in self._listeners:
            if len(self._listeners) >= _MOST:
                raise OSError(f"no more than {_MOST} load balancers")
            self._listeners[arn] = (f"127.{self._octet}.255.{len(self._listeners) + 1}", _LISTENER_PORT)
        return self._listeners[arn]

    def listeners(self) -> dict[str, tuple[str, int]]:
        """The places of all listeners that were given one, by ARN."""
        return dict(self._listeners)
