"""Fetching as deployed nodes do: 4,096 bytes at a time on 4,096-byte boundaries, and picky."""

import base64
import hashlib
import os
import select
import time

import blake3
import wire

PIECE = 4096
IN_FLIGHT = 16
RETRY_SECONDS = 0.25


class Failed(Exception):
    pass


class Fetcher:
    def __init__(self, sources, timeout):
        self.sources = sources
        self.socket = wire.socket_for(("::" if ":" in sources[0][0] else "0.0.0.0", 0))
        self.deadline = time.monotonic() + timeout
        self.cookies = {}
        self.mine = os.urandom(4).hex()
        self.report = {"requests": 0, "accepted": 0, "refused": 0, "unverified_answers": 0,
                       "cookie_returned": 0, "named": []}

    def ask(self, id, offset, source):
        messages = [("PleaseSendContent", {"id": id, "length": PIECE, "offset": offset})]
        if source in self.cookies:
            messages.append(("AlwaysReturned", self.cookies[source]))
        messages.append(("PleaseAlwaysReturnThisMessage", {"cookie": self.mine}))
        self.report["requests"] += 1
        self.socket.sendto(wire.encode(messages), source)

    def hear(self, id):
        """The Content messages for `id` of the next datagram, waiting a little: (source, value)."""
        if time.monotonic() > self.deadline:
            raise Failed("timed out")
        if not select.select([self.socket], [], [], 0.02)[0]:
            return []
        datagram, address = self.socket.recvfrom(65536)
        address = address[:2]
        if address not in self.sources:
            return []
        messages = wire.decode(datagram)
        if messages is None:
            raise Failed("an unreadable datagram")
        found = []
        for kind, value in messages:
            if kind == "PleaseAlwaysReturnThisMessage":
                if wire.text(value, "cookie") is None:
                    raise Failed("a cookie that is not an object with a string")
                self.cookies[address] = value
            elif kind == "AlwaysReturned" and value == {"cookie": self.mine}:
                self.report["cookie_returned"] += 1
            elif kind == "MaybeTheyHaveSome" and isinstance(value, dict):
                self.report["named"] += [n for n in value.get("peers", []) if n not in self.report["named"]]
            elif kind == "Content" and wire.text(value, "id") == id:
                found.append((address, value))
        return found

    def fetch(self, id, accept=lambda offset, data: True):
        """All bytes of `id`; `accept` may turn a piece down."""
        eof, held, asked, turn = None, {}, {}, 0
        while eof is None or len(held) * PIECE < eof:
            now = time.monotonic()
            wanted = [0] if eof is None else range(0, eof, PIECE)
            flying = sum(1 for at, when in asked.items() if at not in held and now - when < RETRY_SECONDS)
            for offset in wanted:
                if flying >= IN_FLIGHT:
                    break
                if offset in held or now - asked.get(offset, 0) < RETRY_SECONDS:
                    continue
                turn += 1
                asked[offset] = now
                flying += 1
                self.ask(id, offset, self.sources[turn % len(self.sources)])
            for _, value in self.hear(id):
                offset, end = wire.natural(value, "offset"), wire.natural(value, "eof")
                if offset is None or end is None:
                    raise Failed("content without an offset or an eof")
                data = base64.b64decode(value["base64"], validate=True)
                eof = end if eof is None else eof
                if end != eof:
                    raise Failed("two different values of eof")
                exact = offset % PIECE == 0 and (len(data) == PIECE or offset + len(data) == eof)
                if exact and offset < eof and accept(offset, data):
                    self.report["accepted"] += 1
                    held[offset] = data
                elif len(data) == 32:
                    self.report["unverified_answers"] += 1
                    asked.pop(offset, None)
                else:
                    self.report["refused"] += 1
                    asked.pop(offset, None)
        return b"".join(held[at] for at in sorted(held))


def get(id, sources, timeout):
    """(content, report); raises Failed unless the content is that of the id."""
    fetcher = Fetcher(sources, timeout)
    kind, _, name = id.rpartition("/")
    if kind == "blake3":
        try:
            return _by_leaves(fetcher, id, bytes.fromhex(name))
        finally:
            fetcher.socket.close()
    data = fetcher.fetch(id)
    if kind == "" and hashlib.sha256(data).hexdigest() != name:
        raise Failed("what came is not the content of this SHA-256")
    if kind == "blake3_tree_v2" and blake3.verified_leaves(data, bytes.fromhex(name)) is None:
        raise Failed("what came is not the tree of this BLAKE3")
    fetcher.report["length"] = len(data)
    return data, fetcher.report


def _by_leaves(fetcher, id, root):
    """BLAKE3 content: the tree first, then every leaf is checked when it comes."""
    leaves = blake3.verified_leaves(fetcher.fetch("blake3_tree_v2/" + root.hex()), root)
    if leaves is None:
        raise Failed("what came is not the tree of this BLAKE3")

    def accept(offset, data):
        number = offset // PIECE
        return number < len(leaves) and blake3.leaf(data, number) == leaves[number]

    data = fetcher.fetch(id, accept)
    if len(leaves) == 1 and blake3.blake3(data) != root:
        raise Failed("what came is not the content of this BLAKE3")
    fetcher.report["length"] = len(data)
    return data, fetcher.report
