"""Which address the processes of a run listen on: loopback, or a private network's."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct

from mxml.errors import SetupError

LOOPBACK = "127.0.0.1"
_PRIVATE = tuple(
    map(
        ipaddress.IPv4Network,
        # Loopback, RFC 1918, link-local (RFC 3927), and the shared space that clusters give to pods (RFC 6598).
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
    )
)
_SIOCGIFADDR = 0x8915
_LONGEST_NAME = 15


def is_loopback(address: str) -> bool:
    """Say whether only this machine can reach the address."""
    return ipaddress.IPv4Address(address) in _PRIVATE[0]


def private_address(interface: str) -> str:
    """Return the IPv4 address that ``interface`` is, or that the network interface of that name has here.

    Raises SetupError where there is none, and where it is neither loopback nor a private network's: what the processes
    send is neither encrypted nor authenticated.
    """
    try:
        address = str(ipaddress.IPv4Address(interface))
    except ValueError:
        address = _address_of(interface)
    return require_private(address, interface)


def require_private(address: str, name: str) -> str:
    """Return the IPv4 ``address``. Raises SetupError, which shows it as ``name``, where it is a public one."""
    if not any(ipaddress.IPv4Address(address) in network for network in _PRIVATE):
        shown = name if name == address else f"{name} ({address})"
        raise SetupError(
            f"{shown}: is not an address of a private network, and the processes of a run talk without encryption or "
            "passwords; take an interface with an address in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
        )
    return address


def resolved(host: str) -> str:
    """Return the IPv4 address of a host. Raises SetupError where the name is not known."""
    try:
        return socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        raise SetupError(f"{host}: its address cannot be found: {error}") from error


def address_towards(other: str) -> str:
    """Return the address from which this machine reaches the other address; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((other, 9))
        except OSError as error:
            raise SetupError(f"{other}: cannot be reached from here: {error.strerror}") from error
        address: str = probe.getsockname()[0]
        return address


def reserved_port(address: str) -> socket.socket:
    """Return a socket that keeps a free port for another socket that sets SO_REUSEADDR, as ps-lite's do.

    It does not listen. Linux lets the two share the port, and gives it to nobody else until both are closed.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Not before the port is chosen: with it the kernel may choose one that another keeper has.
        keeper.bind((address, 0))
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        keeper.close()
        raise SetupError(f"{address}: this machine cannot listen on it: {error.strerror}") from error
    return keeper


def _address_of(name: str) -> str:
    known = [entry for _, entry in socket.if_nameindex()]
    if name not in known or len(os.fsencode(name)) > _LONGEST_NAME:
        raise SetupError(f"{name}: is no IPv4 address, and no network interface here; there are {', '.join(known)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", os.fsencode(name)))
        except OSError as error:
            raise SetupError(f"{name}: has no IPv4 address: {error.strerror}") from error
    return socket.inet_ntoa(answer[20:24])
