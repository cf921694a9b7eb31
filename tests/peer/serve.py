"""Serving: a peer that behaves as deployed nodes were seen to, with faults to order."""

import base64
import hashlib
import heapq
import hmac
import json
import os
import random
import select
import signal
import time

import blake3
import wire

LONGEST_ANSWER = 40960
UNVERIFIED_ANSWER = 32
INTEREST_SECONDS = 60
QUEUE_SECONDS = 0.5  # what the line of --rate holds back before it drops


class Library:
    """The files of a folder under their ids. BLAKE3 only for small ones: it is slow here."""

    def __init__(self, folder, blake3_limit):
        self.contents = {}  # id -> (length, bytes or path)
        for directory, _, names in os.walk(folder):
            for name in sorted(names):
                self.add(os.path.join(directory, name), blake3_limit)

    def add(self, path, blake3_limit):
        length = os.path.getsize(path)
        with open(path, "rb") as file:
            self.contents[hashlib.file_digest(file, "sha256").hexdigest()] = (length, path)
        if 0 < length <= blake3_limit:
            with open(path, "rb") as file:
                root, tree = blake3.tree_of(file.read())
            self.contents["blake3/" + root.hex()] = (length, path)
            self.contents["blake3_tree_v2/" + root.hex()] = (len(tree), tree)

    def read(self, id, offset, length):
        _, source = self.contents[id]
        if isinstance(source, bytes):
            return source[offset:offset + length]
        with open(source, "rb") as file:
            return os.pread(file.fileno(), length, offset)


class Server:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.library = Library(options.folder, options.blake3_limit)
        self.socket = wire.socket_for(options.bind)
        self.secret = os.urandom(16)
        self.cookie_of = {}  # address -> the value that it wants back
        self.interested = {}  # id -> {address: when}
        self.known = {address: 0.0 for address in options.peer}  # address -> when last heard
        self.later = []  # (when, n, datagram, address): replies held back by --delay and --rate
        self.line_free = 0.0  # when the line of --rate has carried what is queued
        self.content_answers = 0
        self.stats = {"datagrams_in": 0, "datagrams_out": 0, "unreadable": 0, "bytes_in": 0,
                      "bytes_out": 0, "unverified_questions": 0, "content_answers": 0,
                      "cookies_returned": 0, "corrupted": 0, "garbage": 0, "elsewhere": 0, "lengths": 0,
                      "dropped": 0, "types": {},
                      "served": {}, "asked": {}, "named": []}
        self.dirty = True

    # --- one datagram in, at most one out ---

    def my_cookie(self, address):
        digest = hmac.new(self.secret, address[0].encode(), "sha256").hexdigest()[:8]
        return [1, {"for": digest}] if self.options.old_cookie else {"cookie": digest}

    def handle(self, datagram, address):
        self.stats["datagrams_in"] += 1
        self.stats["bytes_in"] += len(datagram)
        self.dirty = True
        messages = wire.decode(datagram)
        if messages is None:
            self.stats["unreadable"] += 1
            return None
        if self.options.silent_after is not None and self.content_answers >= self.options.silent_after:
            return None
        mine = self.my_cookie(address)
        verified = any(kind == "AlwaysReturned" and value == mine for kind, value in messages)
        if verified:
            self.stats["cookies_returned"] += 1
            self.known[address] = time.monotonic()
        answers = []
        for kind, value in messages:
            self.stats["types"][kind] = self.stats["types"].get(kind, 0) + 1
            if kind == "PleaseAlwaysReturnThisMessage":
                if self.is_cookie(value):
                    self.cookie_of[address] = value
            elif kind == "PleaseReturnThisMessage" and wire.text(value, "cookie") is not None:
                answers.append(("ReturnedMessage", {"cookie": value["cookie"]}))
            elif kind == "PleaseSendPeers":
                names = [wire.show_address(other) for other in self.known]
                answers.append(("Peers", {"peers": names[:46 if verified else 1]}))
            elif kind == "PleaseListContent" and verified:
                results = [[id, length] for id, (length, _) in self.library.contents.items() if length]
                answers.append(("ContentList", {"results": results[:70]}))
            elif kind == "PleaseSendContent":
                answers += self.content(value, address, verified)
            elif kind == "MaybeTheyHaveSome" and isinstance(value, dict):
                self.stats["named"] += [n for n in value.get("peers", []) if n not in self.stats["named"]]
        asked = {"PleaseReturnThisMessage", "PleaseSendPeers", "PleaseListContent", "PleaseSendContent"}
        if not asked.intersection(kind for kind, _ in messages):
            return None
        if verified and not answers:
            return None
        return self.finish(answers, address, verified, len(datagram))

    def is_cookie(self, value):
        """Deployed nodes of today know only the object with a string; old ones take anything."""
        return self.options.old_cookie or wire.text(value, "cookie") is not None

    def finish(self, answers, address, verified, asked_bytes):
        closing = []
        if address in self.cookie_of:
            closing.append(("AlwaysReturned", self.cookie_of[address]))
        if not verified:
            closing.append(("PleaseAlwaysReturnThisMessage", self.my_cookie(address)))
        reply = wire.encode(answers + closing)
        limit = 2 * (asked_bytes + wire.HEADERS) - wire.HEADERS
        while not verified and len(reply) > limit and answers:
            answers = answers[:-1]
            reply = wire.encode(answers + closing)
        if not verified and len(reply) > limit:
            reply = wire.encode(closing[-1:])
        return reply if len(reply) <= wire.MAX_DATAGRAM else None

    def content(self, value, address, verified):
        id, offset, length = wire.text(value, "id"), wire.natural(value, "offset"), wire.natural(value, "length")
        if id is None or offset is None or length is None:
            return []
        now = time.monotonic()
        askers = self.interested.setdefault(id, {})
        others = [wire.show_address(other) for other, when in askers.items()
                  if now - when < INTEREST_SECONDS and other != address]
        others += self.options.maybe
        askers[address] = now
        maybe = [("MaybeTheyHaveSome", {"id": id, "peers": others[:48 if verified else 3]})]
        if id not in self.library.contents or self.options.only_cookie:
            return maybe if others else []
        if verified:
            asked = self.stats["asked"].setdefault(id, {})
            asked[f"{offset}+{length}"] = asked.get(f"{offset}+{length}", 0) + 1
        else:
            self.stats["unverified_questions"] += 1
        answer = self.answer(id, offset, min(length, LONGEST_ANSWER) if verified else UNVERIFIED_ANSWER)
        if verified:
            self.content_answers += 1
        return [("Content", answer)] + (maybe if others and self.random.random() < 0.1 else [])

    def answer(self, id, offset, length):
        eof = self.library.contents[id][0]
        lie = self.options.lie_eof
        if lie is not None:
            length = max(0, min(length, lie - offset))
        data = self.library.read(id, offset, length)
        if lie is not None:
            data, eof = data.ljust(length, b"\0"), lie
            self.stats["lengths"] += 1
        if data and self.random.random() < self.options.corrupt:
            at = self.random.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ self.random.randrange(1, 256)]) + data[at + 1:]
            self.stats["corrupted"] += 1
        if self.random.random() < self.options.elsewhere:
            offset += 4096
            self.stats["elsewhere"] += 1
        self.stats["content_answers"] += 1
        self.stats["served"][id] = self.stats["served"].get(id, 0) + len(data)
        return {"id": id, "offset": offset, "base64": base64.b64encode(data).decode(), "eof": eof}

    # --- the loop ---

    def probe(self):
        """What deployed nodes send to up to 10 known peers about every second (unsigned here)."""
        for address in sorted(self.known, key=self.known.get, reverse=True)[:10]:
            messages = [("PleaseSendPeers", {}), ("PleaseReturnThisMessage", {"cookie": str(time.time())})]
            if address in self.cookie_of:
                messages.append(("AlwaysReturned", self.cookie_of[address]))
            messages.append(("PleaseAlwaysReturnThisMessage", self.my_cookie(address)))
            self.send(wire.encode(messages), address)

    def litter(self):
        """Datagrams that are no answer to anything, or no messages at all."""
        address = self.random.choice(sorted(self.known))
        id = self.random.choice(sorted(self.library.contents) or ["0" * 64])
        data = self.random.randbytes(self.random.randrange(1200))
        content = {"id": id, "offset": self.random.randrange(1 << 20) // 4096 * 4096,
                   "base64": base64.b64encode(data).decode(), "eof": self.library.contents.get(id, (1,))[0]}
        whole = wire.encode([("Content", content)])
        self.stats["garbage"] += 1
        self.send(self.random.choice((data, b"[" * len(data), whole, whole[:len(whole) // 2])), address)

    def send(self, datagram, address):
        if self.random.random() < self.options.drop:
            self.stats["dropped"] += 1
            return
        self.stats["datagrams_out"] += 1
        self.stats["bytes_out"] += len(datagram)
        try:
            self.socket.sendto(datagram, address)
        except OSError:
            pass  # an address that cannot be reached is as silent as one that does not answer

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        self.write_stats()
        print("listening on", wire.show_address(self.socket.getsockname()), flush=True)
        self.running, next_probe, next_stats, next_litter, count = True, 0.0, 0.0, time.monotonic(), 0
        while self.running:
            now = time.monotonic()
            while self.later and self.later[0][0] <= now:
                _, _, datagram, address = heapq.heappop(self.later)
                self.send(datagram, address)
            if self.options.peer and now >= next_probe:
                next_probe = now + 1
                self.probe()
            if now >= next_stats:
                next_stats = now + 0.1
                self.write_stats()
            if self.options.garbage and self.known and now >= next_litter:
                next_litter = max(next_litter, now - 1) + 1 / self.options.garbage
                self.litter()
            wait = min(0.005 if self.options.garbage else 0.1, self.later[0][0] - now if self.later else 0.1)
            if not select.select([self.socket], [], [], max(0, wait))[0]:
                continue
            datagram, address = self.socket.recvfrom(65536)
            address = address[:2]
            reply = self.handle(datagram, address)
            if reply is None:
                continue
            if not self.options.delay and not self.options.rate:
                self.send(reply, address)
                continue
            when = time.monotonic()
            if self.options.rate:
                self.line_free = max(when, self.line_free) + len(reply) / self.options.rate
                if self.line_free - when > QUEUE_SECONDS:
                    self.line_free -= len(reply) / self.options.rate
                    self.stats["dropped"] += 1
                    continue
                when = self.line_free
            count += 1
            heapq.heappush(self.later, (when + self.options.delay / 1000, count, reply, address))
        self.write_stats()

    def stop(self, *_):
        self.running = False

    def write_stats(self):
        if self.options.stats and self.dirty:
            self.dirty = False
            with open(self.options.stats + ".new", "w") as file:
                json.dump(self.stats, file)
            os.replace(self.options.stats + ".new", self.options.stats)
