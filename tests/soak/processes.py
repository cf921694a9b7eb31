"""Processes that cannot outlive the soak, each with a log and a limit."""

import os
import signal
import subprocess
import threading
import time


class Failed(Exception):
    """The soak cannot go on, or what it found is a fault."""


def until(what, condition, seconds=30):
    """Polls until `condition` gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise Failed(f"waited {seconds} s in vain for {what}")


class Process:
    """One that runs until it is told to end. `log` is appended to."""

    def __init__(self, words, log, environment=None):
        self.words, self.log = words, log
        with open(log, "ab") as out:
            self.from_here = out.tell()
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=environment, start_new_session=True)

    def said(self):
        with open(self.log, "rb") as file:
            file.seek(self.from_here)
            return file.read().decode(errors="replace")

    def ended(self):
        return self.child.poll() is not None

    def signal(self, number):
        if not self.ended():
            os.kill(self.child.pid, number)

    def wait(self, seconds):
        """Its exit code; `None` if it did not end in time."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(20)


class Commands:
    """Commands that have a limit, run from many threads; all are killed when the soak is left."""

    def __init__(self):
        self.running = set()
        self.lock = threading.Lock()

    def run(self, words, limit, environment=None, stdout=subprocess.PIPE, slow=None):
        """Exit code (`None`: killed at the limit), output, error, seconds. `slow` is called when a third of
        the limit has passed."""
        started = time.monotonic()
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                                 env=environment, start_new_session=True)
        with self.lock:
            self.running.add(child)
        try:
            try:
                try:
                    out, error = child.communicate(timeout=limit / 3 if slow else limit)
                except subprocess.TimeoutExpired:
                    if not slow:
                        raise
                    slow()
                    out, error = child.communicate(timeout=max(1, limit - (time.monotonic() - started)))
                code = child.returncode
            except subprocess.TimeoutExpired:
                self.kill_group(child)
                code = None
                try:
                    out, error = child.communicate(timeout=20)
                except subprocess.TimeoutExpired:
                    out, error = b"", b"cannot be killed"
            return code, out or b"", error.decode(errors="replace"), time.monotonic() - started
        finally:
            with self.lock:
                self.running.discard(child)

    @staticmethod
    def kill_group(child):
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill_all(self):
        with self.lock:
            for child in self.running:
                self.kill_group(child)
