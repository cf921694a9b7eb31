"""What lies between the nodes: a namespace for each around one hub where root allows it, and relays
with loss and delay; otherwise the loopback address, with relays in front of some nodes."""

import os
import re
import subprocess

from processes import Failed, Process, until


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    if check and done.returncode != 0:
        raise Failed(f"ip {' '.join(words)}: {done.stdout.decode()}")
    return done.stdout.decode()


class Path:
    """What a relay does with the packets of one node, drawn from the seed."""

    def __init__(self, random):
        self.delay = random.choice((1, 5, 20, 40))
        self.loss = random.choice((0.0, 0.005, 0.02))
        self.jitter = random.choice((0, 0, 5))
        self.seed = random.randrange(1 << 30)

    def words(self):
        return ["--delay", str(self.delay), "--loss", str(self.loss), "--jitter", str(self.jitter),
                "--rate", "6000000", "--seed", str(self.seed)]

    def __str__(self):
        return f"{self.delay} ms, {100 * self.loss:g}% loss, {self.jitter} ms jitter each way"


class Namespaces:
    """Node `n` has 10.78.n.2; the hub routes. Some nodes are joined to it by a relay."""

    isolated = True

    def __init__(self, stack, folder, relay, paths):
        self.prefix = f"cjpsoak{os.getpid()}"
        self.hub = f"{self.prefix}-hub"
        self.folder, self.relay, self.paths, self.stack = folder, relay, paths, stack
        self.add_namespace(self.hub)
        subprocess.run(["ip", "netns", "exec", self.hub, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
                       check=True, timeout=30)

    def add_namespace(self, name):
        ip("netns", "add", name)
        self.stack.callback(ip, "netns", "del", name, check=False)
        ip("-n", name, "link", "set", "lo", "up")

    def namespace(self, n):
        return f"{self.prefix}-{n}"

    def attach(self, n):
        """Makes the namespace of node `n`; returns what its program is started with, and its address."""
        name, path = self.namespace(n), self.paths.get(n)
        self.add_namespace(name)
        if path is None:
            ip("link", "add", "wire", "netns", name, "type", "veth", "peer", "name", f"to{n}", "netns", self.hub)
        else:
            ip("-n", name, "tuntap", "add", "dev", "wire", "mode", "tun")
            ip("-n", self.hub, "tuntap", "add", "dev", f"to{n}", "mode", "tun")
        for namespace, device, address in ((name, "wire", f"10.78.{n}.2"), (self.hub, f"to{n}", f"10.78.{n}.1")):
            ip("-n", namespace, "addr", "add", f"{address}/30", "dev", device)
            ip("-n", namespace, "link", "set", device, "txqueuelen", "5000", "up")
        ip("-n", name, "route", "add", "default", "via", f"10.78.{n}.1")
        if path is not None:
            words = [self.relay, "tun", f"{name}/wire", f"{self.hub}/to{n}", *path.words()]
            relay = Process(words, os.path.join(self.folder, f"relay-{n}.log"))
            self.stack.callback(relay.kill)
            until("a relay", lambda: "ready" in relay.said() or relay.ended())
            if relay.ended():
                raise Failed(f"a relay ended: {relay.said()}")
        return ["nsenter", f"--net=/run/netns/{name}"], f"10.78.{n}.2:24254"

    # --- faults ---

    def down(self, n):
        ip("-n", self.namespace(n), "link", "set", "wire", "down")

    def up(self, n):
        ip("-n", self.namespace(n), "link", "set", "wire", "up")
        ip("-n", self.namespace(n), "route", "replace", "default", "via", f"10.78.{n}.1")

    def swallow(self, n):
        """What is sent to and from node `n` vanishes, and nobody is told."""
        ip("-n", self.hub, "rule", "add", "to", f"10.78.{n}.2", "blackhole")
        ip("-n", self.hub, "rule", "add", "from", f"10.78.{n}.2", "blackhole")

    def let_through(self, n):
        ip("-n", self.hub, "rule", "del", "to", f"10.78.{n}.2", "blackhole")
        ip("-n", self.hub, "rule", "del", "from", f"10.78.{n}.2", "blackhole")

    def left(self):
        """Namespaces that should be gone."""
        names = re.findall(r"^(\S+)", ip("netns", "list", check=False), re.MULTILINE)
        return [name for name in names if name.startswith(self.prefix + "-")]


class Loopback:
    """Everybody on 127.0.0.1. A relay stands in front of some: those who are told its address go
    through it, until they learn of the other."""

    isolated = False

    def __init__(self, stack, folder, relay, paths):
        self.folder, self.relay, self.paths, self.stack = folder, relay, paths, stack
        self.base = 20000 + os.getpid() % 20000
        self.addresses = {}

    def attach(self, n):
        server = f"127.0.0.1:{self.base + n}"
        path = self.paths.get(n)
        if path is None:
            return [], server
        relay = Process([self.relay, "udp", "127.0.0.1:0", server, *path.words()],
                        os.path.join(self.folder, f"relay-{n}.log"))
        self.stack.callback(relay.kill)
        address = until("a relay", lambda: re.match(r"(127\.0\.0\.1:\d+)\n", relay.said()))
        self.addresses[n] = address[1]
        return [], server

    def left(self):
        return []
