"""Programs that read while everything goes wrong: whatever they are given must be right."""

import hashlib
import json
import os
import random
import sys
import threading
import time

# One command: several reads, each of which has its own limit in the node.
LIMIT = 120
MAP = """
import hashlib, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as pages:
    sys.stdout.buffer.write(pages[int(sys.argv[2]):int(sys.argv[3])])
"""


class Reader(threading.Thread):
    """Reads through one mount, one program after another."""

    def __init__(self, soak, node):
        super().__init__(daemon=True)
        self.soak, self.node = soak, node
        self.random = random.Random(soak.seed * 1000 + node.number)
        self.bytes = 0
        self.done, self.failed = {}, {}
        self.wrong = []
        self.slow = []
        self.slowest = (0.0, "")
        self.problem = self.file = None

    def run(self):
        try:
            while not self.soak.faults_end.is_set():
                self.step()
        except BaseException as problem:
            self.problem = problem

    def step(self):
        kind = self.random.choice(list(KINDS))
        self.file = file = self.random.choice(self.soak.files)
        started = time.monotonic()
        good, count = KINDS[kind](self, file)
        took = time.monotonic() - started
        self.slowest = max(self.slowest, (took, kind))
        if took > LIMIT:
            self.slow.append(f"{kind} on {self.node.name} took {took:.0f} s")
        counts = self.done if good else self.failed
        counts[kind] = counts.get(kind, 0) + 1
        self.bytes += count
        if not good:
            time.sleep(self.random.uniform(0.1, 0.5))

    def command(self, words, **more):
        def slow():
            self.node.evidence(self.file.sha256)
        code, out, error, took = self.soak.commands.run(words, LIMIT, self.soak.environment, slow=slow, **more)
        if code is None:
            self.slow.append(f"{' '.join(words)[:200]} was killed after {took:.0f} s")
        return code, out, error

    def check(self, what, got, expected):
        if got != expected:
            self.wrong.append(f"{what} on {self.node.name}: {len(got)} bytes, wrong")

    def cat(self, file):
        path = os.path.join(self.node.mount, self.random.choice((file.sha256, "blake3/" + file.blake3)))
        code, out, _ = self.command(["cat", path])
        if code == 0:
            self.check(f"cat of {file.name}", out, file.bytes)
        return code == 0, len(out)

    def part(self, file):
        """Of content by BLAKE3, every part of which is verified before it is given."""
        start = self.random.randrange(len(file.bytes))
        return start, min(len(file.bytes), start + self.random.randrange(1, 300_000))

    def dd(self, file):
        start, end = self.part(file)
        path = os.path.join(self.node.mount, "blake3", file.blake3)
        code, out, _ = self.command(["dd", f"if={path}", f"skip={start}", f"count={end - start}", "status=none",
                                     "iflag=skip_bytes,count_bytes,fullblock", "bs=64K"])
        self.check(f"dd of {file.name}", out, file.bytes[start:start + len(out)])
        return code == 0 and len(out) == end - start, len(out)

    def map(self, file):
        start, end = self.part(file)
        path = os.path.join(self.node.mount, "blake3", file.blake3)
        code, out, _ = self.command([sys.executable, "-c", MAP, path, str(start), str(end)])
        self.check(f"map of {file.name}", out, file.bytes[start:start + len(out)])
        return code == 0, len(out)

    def copy(self, file, words):
        to = self.soak.path(f"out-{self.node.number}")
        code, _, _ = self.command([*words, to])
        count = 0
        if code == 0:
            with open(to, "rb") as got:
                got = got.read()
            self.check(f"{words[0]} of {file.name}", got, file.bytes)
            count = len(got)
        if os.path.exists(to):
            os.remove(to)
        return code == 0, count

    def rsync(self, file):
        return self.copy(file, ["rsync", "--times", os.path.join(self.node.mount, file.sha256)])

    def get(self, file):
        id = self.random.choice((file.sha256, "blake3/" + file.blake3))
        good, count = self.copy(file, [self.soak.program, "get", id, "--store", self.node.store,
                                       "--no-bootstrap", "--no-lan", "--bind", "127.0.0.1:0", "--read-timeout", "20s",
                                       "--lookup-timeout", "4s", "--force", "-o"])
        if good and not self.node.store_size:
            file.held = True
        return good, count

    def model(self, _):
        """The model test's reader for a few seconds."""
        code, out, error = self.command(
            [sys.executable, os.path.join(self.soak.root, "tests/model/reader.py"), self.soak.path("plain"),
             self.node.mount, "--seconds", "4", "--limit", "60", "--seed", str(self.random.randrange(1 << 30)),
             "--spare", "EIO,ENOENT,ENOTCONN,ECONNABORTED,ESHUTDOWN,EBUSY,EINTR,ENOSPC",
             "--only", "open,close,dup,read,pread,preadv,lseek,stat,fstat,sendfile,statvfs,whole"])
        if code == 1 and "Difference" in error:
            self.wrong.append(f"model on {self.node.name}: {error[-600:]}")
        elif code == 1 and "took longer" in error:
            self.slow.append(f"model on {self.node.name}: {error[:1500]}")
        return code == 0, json.loads(out)["bytes"] if out.startswith(b"{") else 0

    def look(self, file):
        """Names and numbers."""
        path = os.path.join(self.node.mount, file.sha256)
        good = True
        for words in (["ls", "-l", self.node.mount], ["df", self.node.mount], ["stat", path]):
            code, _, _ = self.command(words)
            good = good and code == 0
        return good, 0


KINDS = {"cat": Reader.cat, "dd": Reader.dd, "mmap": Reader.map, "rsync": Reader.rsync, "get": Reader.get,
         "random operations": Reader.model, "ls, df, stat": Reader.look}


class File:
    """One that the seeders give: what it holds, and what it is called."""

    def __init__(self, name, path, data, program, commands, environment):
        self.name, self.path, self.bytes = name, path, data
        self.sha256 = hashlib.sha256(data).hexdigest()
        code, out, error, _ = commands.run([program, "hash", "--blake3", path], 60, environment)
        if code != 0:
            raise RuntimeError(error)
        self.blake3 = out.split()[0].decode()
        self.may_go = self.held = self.removed = False

    def remove(self):
        os.remove(self.path)
        self.removed = True
