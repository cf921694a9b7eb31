"""What a key signs: names that stand for content, and blocks of streams."""

import base64
import hashlib
import json
import re
import time

import ed25519
import wire

BLOCK = 4096


def message(seed, messages, old=False, spoil=False):
    """A SignedMessage; `old` with the payload in base64, `spoil` with a signature that is not good."""
    payload = wire.encode(messages)
    signature = bytearray(ed25519.sign(seed, payload))
    if spoil:
        signature[0] ^= 1
    value = {"ed25519": ed25519.public(seed).hex(), "signature": base64.b64encode(signature).decode()}
    if old:
        value["payload"] = base64.b64encode(payload).decode()
    else:
        value["payload_json"] = payload.decode()
    return ("SignedMessage", value)


def read(value):
    """The key and the messages of a SignedMessage, or None if it is not a good one."""
    try:
        key = bytes.fromhex(value["ed25519"])
        payload = value["payload_json"].encode() if "payload_json" in value else base64.b64decode(value["payload"])
        if not ed25519.verify(key, payload, base64.b64decode(value["signature"])):
            return None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return key.hex(), wire.decode(payload) or []


class Publisher:
    """What a peer publishes: `NAME=FILE` pairs, and streams, under the key that grows from a seed."""

    def __init__(self, options):
        self.options = options
        self.seed = bytes.fromhex(options.key) if options.key else b"\1" * 32
        self.key = ed25519.public(self.seed).hex()
        self.names = dict(pair.split("=", 1) for pair in options.publish)
        self.streams = dict(pair.split("=", 1) for pair in options.stream)
        self.signed = {}  # what was signed -> the message, since signing is slow here

    def sign(self, kind, value):
        text = json.dumps([kind, value], sort_keys=True)
        if text not in self.signed:
            self.signed[text] = message(self.seed, [(kind, value)], self.options.old_signed, self.options.bad_signature)
        return self.signed[text]

    def latest(self, value):
        key, name = wire.text(value, "ed25519"), wire.text(value, "name")
        path = self.names.get(name)
        if key is None or key.lower() != self.key or path is None:
            return []
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        seq = self.options.seq if self.options.seq is not None else int(time.time())
        return [self.sign("Latest", {"ed25519": self.key, "name": name, "sha256": sha256, "seq": seq})]

    def block(self, id, offset):
        """The block of a stream, as a list of one message, or of none."""
        match = re.fullmatch(r"stream/([0-9a-fA-F]{64})/(.+)", id)
        if not match or match[1].lower() != self.key or match[2] not in self.streams or offset % BLOCK:
            return []
        with open(self.streams[match[2]], "rb") as file:
            file.seek(offset)
            data = file.read(BLOCK)
        if not data:
            return []
        return [self.sign("Content", {"id": f"stream/{self.key}/{match[2]}", "offset": offset,
                                      "base64": base64.b64encode(data).decode()})]


class Asker:
    """Asks one node, as a deployed node does: the first answer brings its cookie."""

    def __init__(self, address, timeout):
        self.address = address
        self.end = time.monotonic() + timeout
        self.socket = wire.socket_for(("::" if ":" in address[0] else "0.0.0.0", 0))
        self.cookie = None

    def ask(self, question, look):
        """Sends `question` until `look` finds something in what a datagram brings; None: too late."""
        while time.monotonic() < self.end:
            messages = [question]
            if self.cookie is not None:
                messages.append(("AlwaysReturned", self.cookie))
            self.socket.sendto(wire.encode(messages + [("PleaseReturnThisMessage", {"cookie": "x"})]), self.address)
            self.socket.settimeout(0.3)
            try:
                while True:
                    known = self.cookie
                    heard = wire.decode(self.socket.recvfrom(65536)[0]) or []
                    for kind, value in heard:
                        if kind == "PleaseAlwaysReturnThisMessage":
                            self.cookie = value
                    found = look(heard)
                    if found is not None:
                        return found
                    if known is None and self.cookie is not None:
                        break
            except TimeoutError:
                pass
        return None


def latest(key, name, address, timeout):
    """The SHA-256 and the seq of what `key` last published, checked; None if nobody says."""
    def look(heard):
        for kind, value in heard:
            by = read(value) if kind == "SignedMessage" else None
            for inner, said in by[1] if by else []:
                if inner == "Latest" and by[0] == key == said["ed25519"] and said["name"] == name:
                    return said["sha256"], said["seq"]
        return None
    return Asker(address, timeout).ask(("GetLatest", {"ed25519": key, "name": name}), look)


def stream(key, name, length, address, timeout):
    """The first `length` bytes of a stream, every block checked; fewer if they do not come."""
    id, data, asker = f"stream/{key}/{name}", b"", Asker(address, timeout)
    while len(data) < length:
        offset = len(data) // BLOCK * BLOCK

        def look(heard):
            for kind, value in heard:
                by = read(value) if kind == "SignedMessage" else None
                for inner, said in by[1] if by else []:
                    if inner == "Content" and by[0] == key and said["id"] == id and said["offset"] == offset:
                        block = base64.b64decode(said["base64"])
                        if offset + len(block) > len(data) and "eof" not in said:
                            return block
            return None
        block = asker.ask(("PleaseSendContent", {"id": id, "offset": offset, "length": BLOCK}), look)
        if block is None:
            break
        data = data[:offset] + block
    return data[:length]
