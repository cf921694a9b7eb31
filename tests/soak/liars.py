"""Peers that lie (tests/peer), joining and leaving."""

import json
import os
import sys

from processes import Process

KINDS = {
    "corrupts everything": ["--corrupt", "1"],
    "corrupts one answer in twenty": ["--corrupt", "0.05"],
    "claims a shorter length": ["--lie-eof", "5000"],
    "claims a longer length": ["--lie-eof", "50000000"],
    "falls silent": ["--silent-after", "20"],
    "gives nothing": ["--only-cookie"],
    "sends garbage": ["--garbage", "200"],
    "answers other questions": ["--elsewhere", "1"],
    "loses most": ["--drop", "0.8"],
}


class Liar:
    def __init__(self, soak, number):
        self.soak, self.number = soak, number
        self.prefix, self.address = soak.network.attach(number)
        self.process = self.stats = None
        self.runs = 0

    def join(self, kind, seed):
        self.runs += 1
        self.stats = self.soak.path(f"liar-{self.number}-{self.runs}.json")
        peers = [word for node in self.soak.nodes for word in ("--peer", node.address)]
        words = [*self.prefix, sys.executable, os.path.join(self.soak.root, "tests/peer/peer.py"), "serve",
                 self.soak.path("lied"), "--bind", self.address, "--stats", self.stats, "--seed", str(seed),
                 "--blake3-limit", "5000", *KINDS[kind], *peers]
        self.process = Process(words, self.soak.path(f"liar-{self.number}.log"))
        self.soak.stack.callback(self.process.kill)

    def leave(self):
        """Ends it; how many wrong datagrams it sent."""
        if self.process is None:
            return 0
        self.process.signal(15)
        if self.process.wait(10) is None:
            self.process.kill()
        self.process = None
        try:
            with open(self.stats, encoding="utf-8") as file:
                stats = json.load(file)
        except (OSError, ValueError):
            return 0
        return stats["corrupted"] + stats["garbage"] + stats["elsewhere"] + stats["lengths"]
