"""The peer checked against the test vectors, and its two halves against each other."""

import base64
import contextlib
import hashlib
import json
import os
import tempfile
import threading
import types

import blake3
import fetch
import serve
import wire


def formula(length):
    """The content of the vectors: byte i is (i*31 + (i>>8)*17) & 255."""
    return bytes((i * 31 + (i >> 8) * 17) & 255 for i in range(length))


def options(folder, **changed):
    plain = dict(folder=folder, bind=("127.0.0.1", 0), peer=[], stats=None, seed=1, blake3_limit=1 << 20,
                 corrupt=0, garbage=0, elsewhere=0, drop=0, delay=0, rate=0, lie_eof=None, silent_after=None,
                 only_cookie=False, maybe=[], old_cookie=False)
    return types.SimpleNamespace(**(plain | changed))


def trees(vectors):
    with open(os.path.join(vectors, "tree_v2.json")) as file:
        for entry in json.load(file)["contents"]:
            data = formula(entry["length"])
            root, tree = blake3.tree_of(data)
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert root.hex() == entry["blake3"] == blake3.blake3(data).hex(), entry["length"]
            assert hashlib.sha256(tree).hexdigest() == entry["tree_sha256"], entry["length"]
            assert len(tree) == entry["tree_length"] == blake3.tree_length(entry["leaves"])
            assert tree.hex() == entry.get("tree_hex", tree.hex())
            assert len(blake3.verified_leaves(tree, root)) == entry["leaves"]
            for wrong in (tree[:-1], tree + bytes(32), bytes(64) + tree[64:]):
                assert blake3.verified_leaves(wrong, root) is None
            if entry["leaves"] > 1:
                assert blake3.verified_leaves(tree[:-1] + bytes([tree[-1] ^ 1]), root) is None


def conversations(vectors):
    """Every recorded question about content gets the recorded content from our server."""
    with open(os.path.join(vectors, "datagrams.json")) as file:
        datagrams = json.load(file)["datagrams"]
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        for length in (20480, 1024):
            with open(os.path.join(folder, str(length)), "wb") as file:
                file.write(formula(length))
        server = serve.Server(options(folder))
        address = ("127.0.0.1", 9)
        for asked, answered in zip(datagrams, datagrams[1:]):
            if not answered["direction"] == "from node" or "PleaseSendContent" not in asked["datagram"]:
                continue
            if "question" not in asked["meaning"]:
                continue
            messages = wire.decode(asked["datagram"].encode())
            messages = [(kind, server.my_cookie(address) if kind == "AlwaysReturned" else value)
                        for kind, value in messages]
            server.interested.clear()
            reply = wire.decode(server.handle(wire.encode(messages), address))
            recorded = wire.decode(answered["datagram"].encode())
            for kind in ("Content", "ReturnedMessage"):
                ours = [value for found, value in reply if found == kind]
                theirs = [value for found, value in recorded if found == kind]
                assert ours == theirs, asked["meaning"]
                compared += len(theirs)
        server.socket.close()
    assert compared >= 8, compared


@contextlib.contextmanager
def running(folder, **changed):
    server = serve.Server(options(folder, **changed))
    serve.signal = types.SimpleNamespace(SIGTERM=0, SIGINT=0, signal=lambda *_: None)
    serve.print = lambda *_, **__: None
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.socket.getsockname()
    finally:
        server.stop()
        thread.join()
        server.socket.close()


def both_halves():
    data = formula(100_001)
    root, tree = blake3.tree_of(data)
    sha256 = hashlib.sha256(data).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "content"), "wb") as file:
            file.write(data)
        with running(folder, drop=0.1) as address:
            for id, right in ((sha256, data), ("blake3/" + root.hex(), data),
                              ("blake3_tree_v2/" + root.hex(), tree)):
                got, report = fetch.get(id, [address], 20)
                assert got == right and report["accepted"] >= -(-len(right) // 4096)
        with running(folder, corrupt=1) as address:
            for id in (sha256, "blake3/" + root.hex()):
                try:
                    fetch.get(id, [address], 2)
                    raise AssertionError("corrupt content was taken for right")
                except fetch.Failed:
                    pass


def garbage():
    for datagram in (b"", b"{}", b"[" * 60000, b"\xff", b"\xef\xbb\xbf[]", b"[NaN]", b"[1e999]", b"[] []",
                     b'[{"a":"\\ud800"}]'):
        assert wire.decode(datagram) is None, datagram[:20]
    assert wire.decode(b'[{"a":"\\ud83d\\ude00"}]') == [("a", "\U0001f600")]
    assert wire.decode(b'[7,null,{"a":1,"b":2},{"c":3}]') == [("c", 3)]
    assert base64.b64decode("AA==") == b"\0"


def run(vectors):
    for test in (lambda: trees(vectors), lambda: conversations(vectors), garbage, both_halves):
        test()
    print("self-test passed")
    return 0
