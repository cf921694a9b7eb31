"""Datagrams to messages and back: one UTF-8 JSON array of one-key objects."""

import ipaddress
import json
import socket

MAX_DATAGRAM = 65507
HEADERS = 28  # IPv4 + UDP, counted each way against amplification


def _no_constant(name):
    raise ValueError(name)


def _finite(digits):
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(digits)
    return number


def decode(datagram):
    """The (type, value) pairs of a datagram; what is no message is left out. None if unreadable."""
    try:
        array = json.loads(datagram.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
        if b"\\ud" in datagram or b"\\uD" in datagram:
            json.dumps(array, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate
    except (ValueError, RecursionError):
        return None
    if not isinstance(array, list):
        return None
    return [next(iter(element.items())) for element in array
            if isinstance(element, dict) and len(element) == 1]


def encode(messages):
    return json.dumps([{kind: value} for kind, value in messages], separators=(",", ":")).encode()


def natural(value, field):
    """A field that is an integer of zero or more, else None."""
    number = value.get(field) if isinstance(value, dict) else None
    return number if type(number) is int and number >= 0 else None


def text(value, field):
    string = value.get(field) if isinstance(value, dict) else None
    return string if isinstance(string, str) else None


def parse_address(string):
    """`1.2.3.4:5` or `[::1]:5` as (host, port)."""
    host, _, port = string.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")).compressed, int(port)


def show_address(address):
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def socket_for(address):
    """A UDP socket bound to `address`, with room for a burst of large answers."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    sock.bind(address)
    return sock
