"""Assigns loopback addresses to the pods and load balancers of an emulated cluster."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

_FIRST: Final = 2  # 127.0 and 127.1 are in use
_LAST: Final = 250
_LOCK_PORT: Final = 65_535
_LISTENER_PORT: Final = 8080
_MOST: Final = 250


class Places:
    """A network 127.n.0.0/16 that no other data plane on this machine uses until it is closed.

    The pod 10.1.b.c has the address 127.n.b.c, the x-th load balancer 127.n.255.x.

    Raises:
        OSError: No network is free.
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
        """Releases the network."""
        self._lock.close()

    def pod(self, address: str) -> str:
        """The loopback address of the pod with this address."""
        octets = ipaddress.IPv4Address(address).packed
        return f"127.{self._octet}.{octets[2]}.{octets[3]}"

    def listener(self, arn: str) -> tuple[str, int]:
        """Address and port of a listener, always the same for an ARN.

        Raises:
            OSError: There are too many listeners.
        """
        if arn not in self._listeners:
            if len(self._listeners) >= _MOST:
                raise OSError(f"no more than {_MOST} load balancers")
            self._listeners[arn] = (f"127.{self._octet}.255.{len(self._listeners) + 1}", _LISTENER_PORT)
        return self._listeners[arn]

    def listeners(self) -> dict[str, tuple[str, int]]:
        """Address and port of all listeners that have one, by ARN."""
        return dict(self._listeners)
