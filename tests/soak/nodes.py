"""The honest nodes: each has a store, an address, perhaps a mount, and can be killed and come back."""

import contextlib
import glob
import json
import os
import shutil
import signal
import struct
import subprocess
import time

from processes import Failed, Process, until

READ_TIMEOUT, LOOKUP_TIMEOUT = 8, 4


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return any(line.split(" ")[4] == path for line in file)


class Node:
    """`seed` of a folder, or a mount."""

    def __init__(self, soak, number, seeds=None, store_size=None):
        self.soak, self.number, self.seeds, self.store_size = soak, number, seeds, store_size
        self.name = f"node {number}"
        self.prefix, self.address = soak.network.attach(number)
        self.store = soak.path(f"store-{number}")
        self.mount = None if seeds else soak.path(f"mount-{number}")
        self.clock = soak.path(f"clock-{number}")
        self.log = soak.path(f"log-{number}")
        self.process = None
        self.troubled = False
        self.kills = 0
        os.mkdir(self.store)
        if self.mount:
            os.mkdir(self.mount)
            soak.stack.callback(self.detach)
        if store_size:
            self.mount_store(store_size)
        self.set_clock(0)

    def mount_store(self, mebibytes, again=False):
        options = f"size={mebibytes}m" + (",remount" if again else "")
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "soak", self.store], check=True, timeout=30)
        if not again:
            self.soak.stack.callback(subprocess.run, ["umount", "-l", self.store], check=False, timeout=30)

    def detach(self):
        if is_mounted(self.mount):
            subprocess.run(["umount", "-f", "-l", self.mount], check=False, timeout=30, stderr=subprocess.DEVNULL)
        if is_mounted(self.mount):
            subprocess.run(["fusermount3", "-uzq", self.mount], check=False, timeout=30)

    def set_clock(self, seconds):
        """Its wall clock is off by so many seconds from now on."""
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def environment(self):
        environment = dict(self.soak.environment)
        if self.soak.clock_library:
            environment |= {"LD_PRELOAD": self.soak.clock_library, "CLOCK_OFFSET": self.clock}
        return environment

    def options(self):
        words = ["--store", self.store, "--bind", self.address, "--no-bootstrap", "--no-lan",
                 "--read-timeout", f"{READ_TIMEOUT}s", "--lookup-timeout", f"{LOOKUP_TIMEOUT}s"]
        for other in self.soak.addresses(but=self.number):
            words += ["--peer", other]
        return words

    def start(self):
        program = self.soak.program
        words = [program, "seed", *self.seeds] if self.seeds else [program, "mount", "-f", self.mount]
        self.process = Process([*self.prefix, *words, *self.options()], self.log, self.environment())
        self.soak.stack.callback(self.end_hard, self.process)

    def ready(self, seconds=60):
        """Waits until it answers; a node that ends by itself is a fault."""
        def answers():
            if self.process.ended():
                if "in use by another process" not in self.process.said():
                    raise Failed(self.ended_by_itself())
                self.start()
            return self.status()
        until(f"{self.name} to answer", answers, seconds)

    def ended_by_itself(self):
        """Exit code 0 of a mount means that somebody unmounted it."""
        return f"{self.name} ended by itself with {self.process.child.returncode}: {self.process.said()[-1000:]}"

    def status(self):
        code, out, _, _ = self.soak.commands.run([self.soak.program, "status", "--json", "--store", self.store], 20,
                                                 self.soak.environment)
        return json.loads(out) if code == 0 else None

    def end_hard(self, process):
        if not process.ended():
            process.signal(signal.SIGCONT)
            process.kill()

    def kill(self):
        self.kills += 1
        self.process.kill()

    def suspend(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def descriptors(self):
        try:
            return len(os.listdir(f"/proc/{self.process.child.pid}/fd"))
        except OSError:
            return 0

    def resident(self):
        with open(f"/proc/{self.process.child.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    def evidence(self, id):
        """What can be told of a node that somebody waits for: what it says itself, and where it is."""
        pid = self.process.child.pid
        told = [f"trouble: {self.troubled}, clock {self.clock}"]
        commands = [[self.soak.program, "explain", id, "--store", self.store],
                    [self.soak.program, "status", "--json", "--store", self.store]]
        if shutil.which("gdb"):
            commands.append(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 25"])
        for words in commands:
            code, out, error, _ = self.soak.commands.run(words, 20, self.soak.environment)
            told.append(f"$ {' '.join(words)}: {code}\n{out.decode(errors='replace')}{error[-2000:]}")
        for task in sorted(glob.glob(f"/proc/{pid}/task/*")):
            for name in ("comm", "wchan", "stack"):
                with contextlib.suppress(OSError), open(f"{task}/{name}", encoding="utf-8", errors="replace") as file:
                    told.append(f"{task}/{name}: {file.read().strip()}")
        with open(f"{self.log}-slow", "a", encoding="utf-8") as file:
            file.write("\n".join([time.strftime("=== %H:%M:%S"), *told, ""]))

    def stop(self):
        """Ends it as its user would; what is wrong with how it ended, if anything is."""
        if self.mount:
            code, _, error, took = self.soak.commands.run(
                [self.soak.program, "umount", self.mount, "--store", self.store], 30, self.soak.environment)
            if code != 0:
                return f"{self.name}: umount ended with {code} after {took:.1f} s: {error}"
        else:
            self.process.signal(signal.SIGTERM)
        code = self.process.wait(20)
        if code not in (0,) and not (self.seeds and code == -signal.SIGTERM):
            return f"{self.name} ended with {code}: {self.process.said()[-500:]}"
        return None
