#!/usr/bin/env python3
"""A small CJP2P peer, independent of the product: standard library only.

    peer.py serve FOLDER [--bind ADDR] [faults]     serves the files of a folder
    peer.py get ID --from ADDR -o FILE              fetches as deployed nodes do
    peer.py latest KEY NAME --from ADDR             what a key last published, checked
    peer.py stream KEY NAME N --from ADDR -o FILE   the first N bytes of a stream, checked
    peer.py listing FOLDER                          the listing of a folder, as it is published
    peer.py hash FILE                               SHA-256 and BLAKE3 of a file
    peer.py self-test [VECTORS]                     checks itself against the test vectors
"""

import argparse
import hashlib
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import blake3
import fetch
import listing
import selftest
import serve
import signed
import wire


def parser():
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)

    server = commands.add_parser("serve")
    server.add_argument("folder")
    server.add_argument("--bind", type=wire.parse_address, default=("127.0.0.1", 0))
    server.add_argument("--peer", type=wire.parse_address, action="append", default=[],
                        help="probe this node every second, as deployed nodes do")
    server.add_argument("--stats", help="keep counters in this file, as JSON")
    server.add_argument("--seed", type=int, default=1, help="of the faults that are left to chance")
    server.add_argument("--blake3-limit", type=int, default=1 << 20, help="longest file offered by BLAKE3")
    server.add_argument("--corrupt", type=float, default=0, metavar="P", help="of the content answers")
    server.add_argument("--elsewhere", type=float, default=0, metavar="P",
                        help="content answers that claim another offset")
    server.add_argument("--garbage", type=float, default=0, metavar="N",
                        help="datagrams a second to known peers that nobody asked for")
    server.add_argument("--drop", type=float, default=0, metavar="P", help="of the datagrams sent")
    server.add_argument("--delay", type=float, default=0, metavar="MS", help="before every answer")
    server.add_argument("--rate", type=float, default=0, metavar="BYTES", help="per second, all peers together")
    server.add_argument("--lie-eof", type=int, metavar="N", help="claim this length for everything")
    server.add_argument("--silent-after", type=int, metavar="N", help="die after N content answers")
    server.add_argument("--only-cookie", action="store_true", help="never send content")
    server.add_argument("--maybe", action="append", default=[], metavar="ADDR",
                        help="name this address in every MaybeTheyHaveSome")
    server.add_argument("--old-cookie", action="store_true", help="cookies in the oldest form: any JSON value")

    server.add_argument("--key", metavar="SEED", help="of the peer's ed25519 key: 64 hexadecimal digits")
    server.add_argument("--publish", action="append", default=[], metavar="NAME=FILE")
    server.add_argument("--stream", action="append", default=[], metavar="NAME=FILE", help="FILE may grow")
    server.add_argument("--seq", type=int, help="of what is published, in place of the time")
    server.add_argument("--old-signed", action="store_true", help="sign in the old form")
    server.add_argument("--bad-signature", action="store_true", help="sign nothing well")

    getter = commands.add_parser("get")
    getter.add_argument("id")
    getter.add_argument("--from", dest="sources", type=wire.parse_address, action="append", required=True)
    getter.add_argument("-o", "--output", required=True)
    getter.add_argument("--timeout", type=float, default=30)

    for name in ("latest", "stream"):
        asker = commands.add_parser(name)
        asker.add_argument("key")
        asker.add_argument("name")
        if name == "stream":
            asker.add_argument("length", type=int)
            asker.add_argument("-o", "--output", required=True)
        asker.add_argument("--from", dest="source", type=wire.parse_address, required=True)
        asker.add_argument("--timeout", type=float, default=30)

    lister = commands.add_parser("listing")
    lister.add_argument("folder")

    hasher = commands.add_parser("hash")
    hasher.add_argument("file")

    test = commands.add_parser("self-test")
    here = os.path.dirname(os.path.abspath(__file__))
    test.add_argument("vectors", nargs="?", default=os.path.join(here, "..", "vectors"))
    return top


def main():
    options = parser().parse_args()
    if options.command == "serve":
        serve.Server(options).run()
    elif options.command == "get":
        try:
            data, report = fetch.get(options.id, options.sources, options.timeout)
        except fetch.Failed as failure:
            print(failure, file=sys.stderr)
            return 1
        with open(options.output, "wb") as file:
            file.write(data)
        print(json.dumps(report))
    elif options.command == "latest":
        found = signed.latest(options.key, options.name, options.source, options.timeout)
        if found is None:
            return 1
        print(json.dumps({"sha256": found[0], "seq": found[1]}))
    elif options.command == "stream":
        data = signed.stream(options.key, options.name, options.length, options.source, options.timeout)
        with open(options.output, "wb") as file:
            file.write(data)
        return len(data) < options.length
    elif options.command == "listing":
        sys.stdout.buffer.write(listing.text(options.folder))
    elif options.command == "hash":
        with open(options.file, "rb") as file:
            data = file.read()
        print(json.dumps({"sha256": hashlib.sha256(data).hexdigest(), "blake3": blake3.blake3(data).hex()}))
    else:
        return selftest.run(options.vectors)
    return 0


if __name__ == "__main__":
    sys.exit(main())
