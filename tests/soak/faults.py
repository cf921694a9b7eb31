"""What goes wrong, one thing after another, drawn from the seed."""

import collections
import random
import threading
import time

from liars import KINDS
from processes import Failed

CLOCKS = (-86400 * 400, -3600, -1, 1, 3600, 86400 * 400)


class Faults(threading.Thread):
    def __init__(self, soak):
        super().__init__(daemon=True)
        self.soak = soak
        self.random = random.Random(soak.seed)
        self.counts = collections.Counter()
        self.wrong_datagrams = 0
        self.undo = []  # (when it is over, what ends it), by this thread alone
        self.problem = None
        self.now = time.monotonic()
        self.kinds = [self.kill, self.kill, self.kill, self.suspend, self.liar, self.liar, self.remove]
        if soak.clock_library:
            self.kinds.append(self.clock)
        if soak.network.isolated:
            self.kinds += [self.interface, self.swallow]

    def run(self):
        try:
            while not self.soak.faults_end.wait(0.2):
                self.now = time.monotonic()
                self.end_due()
                self.supervise()
                if self.random.random() < 0.2:
                    self.random.choice(self.kinds)()
        except BaseException as problem:
            self.problem = problem

    def end_due(self, everything=False):
        due = [entry for entry in self.undo if everything or entry[0] <= self.now]
        self.undo = [entry for entry in self.undo if entry not in due]
        for _, what in due:
            what()

    def later(self, least, most, what):
        self.undo.append((self.now + self.random.uniform(least, most), what))

    def healthy(self):
        return [node for node in self.soak.nodes if not node.troubled]

    def pick(self, kind):
        """A node that has no other trouble; never more than a third at once."""
        healthy = self.healthy()
        if len(healthy) * 3 <= len(self.soak.nodes) * 2:
            return None
        node = self.random.choice(healthy)
        node.troubled = True
        self.counts[kind] += 1
        return node

    def over(self, node, what):
        def end():
            what()
            node.troubled = False
        return end

    def supervise(self):
        """A `get` that found no daemon fetches by itself, and holds the store when the node is back."""
        for node in self.healthy():
            if node.process.ended():
                if "in use by another process" not in node.process.said():
                    raise Failed(f"{node.name} ended by itself: {node.process.said()[-1000:]}")
                node.start()

    def kill(self):
        node = self.pick("kill -9")
        if node:
            node.kill()
            self.later(0, 4, self.over(node, node.start))

    def suspend(self):
        node = self.pick("suspended and resumed")
        if node:
            node.suspend()
            self.later(1, 10, self.over(node, node.resume))

    def clock(self):
        node = self.random.choice(self.soak.nodes)
        self.counts["clock moved"] += 1
        node.set_clock(self.random.choice(CLOCKS))

    def interface(self):
        node = self.pick("interface down and up")
        if node:
            self.soak.network.down(node.number)
            self.later(1, 12, self.over(node, lambda: self.soak.network.up(node.number)))

    def swallow(self):
        node = self.pick("everything swallowed")
        if node:
            self.soak.network.swallow(node.number)
            self.later(1, 15, self.over(node, lambda: self.soak.network.let_through(node.number)))

    def liar(self):
        idle = [liar for liar in self.soak.liars if liar.process is None]
        if idle:
            liar = self.random.choice(idle)
            # It is not waited for: a node that is suspended meanwhile would stay so.
            liar.join(self.random.choice(list(KINDS)), self.random.randrange(1 << 30))
            self.counts["liar joined"] += 1
            self.later(10, 30, lambda: self.leave(liar))

    def leave(self, liar):
        self.wrong_datagrams += liar.leave()

    def remove(self):
        """Who gave a file deletes it, once another node has said that it holds it verified."""
        file = next((file for file in self.soak.files if file.held and not file.removed and file.may_go), None)
        if file:
            file.remove()
            self.counts["original deleted"] += 1

    def end(self):
        """Everything is as it should be again."""
        self.end_due(everything=True)
        for liar in self.soak.liars:
            self.leave(liar)
        for node in self.soak.nodes:
            node.set_clock(0)
