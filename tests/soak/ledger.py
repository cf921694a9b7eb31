"""The end of the soak: whether everything is right and nothing is left, and the figures."""

import collections
import os
import time

from processes import until

MOST_DESCRIPTORS = 300
MOST_RESIDENT = 400 << 20


def settle(soak, reading, trouble, limit, large_store):
    found = [f"{type(thread).__name__}: {thread.problem!r}" for thread in (*reading, trouble) if thread.problem]
    for node in soak.nodes:
        if node.store_size:
            node.mount_store(large_store, again=True)
        node.ready()
    started = time.monotonic()
    found += [fault for node in soak.nodes for fault in everything(soak, node, started + limit)]
    settled = time.monotonic() - started
    for reader in reading:
        found += [f"wrong bytes: {fault}" for fault in reader.wrong] + [f"slow: {fault}" for fault in reader.slow]
    resident = [node.resident() for node in soak.nodes]
    status = [node.status() or {} for node in soak.nodes]
    descriptors = until_descriptors_are_few(soak)
    if max(descriptors) > MOST_DESCRIPTORS:
        found.append(f"descriptors: {descriptors}")
    if max(resident) > MOST_RESIDENT:
        found.append(f"resident: {[size >> 20 for size in resident]} MiB")
    found += filter(None, [node.stop() for node in soak.nodes])
    found += leftovers(soak)
    report(soak, reading, trouble, settled, descriptors, resident, status)
    return found


def everything(soak, node, end):
    """Reads every file on `node` to its end; a node may need some time after the last fault."""
    for file in soak.files:
        if node.mount:
            words = ["cat", os.path.join(node.mount, file.sha256)]
        else:
            words = [soak.program, "get", file.sha256, "--store", node.store, "-o", "-", "--no-bootstrap", "--no-lan"]
        problem = "was not tried"
        while True:
            code, out, error, took = soak.commands.run(words, 60, soak.environment)
            if code == 0:
                if out != file.bytes:
                    yield f"{file.name} is wrong on {node.name}"
                break
            problem = f"exit code {code} after {took:.1f} s: {error.strip()[-300:]}"
            if time.monotonic() > end:
                where = "its original was deleted" if file.removed else "its original is there"
                yield f"{file.name} cannot be read on {node.name} ({where}): {problem}"
                break
            time.sleep(0.5)


def until_descriptors_are_few(soak):
    counts = []

    def few():
        counts[:] = [node.descriptors() for node in soak.nodes]
        return max(counts) <= MOST_DESCRIPTORS
    try:
        until("descriptors to be closed", few, 20)
    except Exception:
        pass
    return counts


def leftovers(soak):
    """Temporary files of programs that have ended, in and beside the stores."""
    found = [f"left in the temporary folder: {name}" for name in os.listdir(soak.path("tmp"))]
    for name in os.listdir(soak.folder):
        if name.startswith("out-") or name.startswith("."):
            found.append(f"left by a get that ended: {name}")
    for node in soak.nodes:
        # The mount's socket is gone with the node.
        found += [f"left in {node.name}'s store: {name}" for name in os.listdir(node.store) if "sock" in name]
    return found


def left_behind(soak):
    """What outlives the soak."""
    found = [f"a namespace: {name}" for name in soak.network.left()] if hasattr(soak, "network") else []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read()
        except OSError:
            continue
        if soak.folder.encode() in words:
            found.append(f"process {pid}: {words.replace(bytes(1), b' ').decode(errors='replace')[:200]}")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        found += [f"a mount: {line.split(' ')[4]}" for line in file if soak.folder in line]
    if os.path.exists(soak.folder) and not soak.options.keep:
        found.append(f"the folder {soak.folder}")
    return found


def report(soak, reading, trouble, settled, descriptors, resident, status):
    done, failed = collections.Counter(), collections.Counter()
    for reader in reading:
        done.update(reader.done)
        failed.update(reader.failed)
    slowest = max((reader.slowest for reader in reading), default=(0, ""))
    rows = [
        ("read by programs", f"{sum(reader.bytes for reader in reading) / 1e6:.0f} MB"),
        ("fetched by the nodes since they last started",
         f"{sum(one.get('bytes_fetched', 0) for one in status) / 1e6:.0f} MB"),
        ("programs that were given all they asked for", ", ".join(f"{k}: {n}" for k, n in sorted(done.items()))),
        ("that ended in an error under the faults", ", ".join(f"{k}: {n}" for k, n in sorted(failed.items())) or 0),
        ("the slowest", f"{slowest[0]:.1f} s ({slowest[1]})"),
        ("kills survived", sum(node.kills for node in soak.nodes)),
        ("faults", ", ".join(f"{kind}: {n}" for kind, n in sorted(trouble.counts.items()))),
        ("wrong datagrams sent", trouble.wrong_datagrams),
        ("wrong bytes given to a reader", sum(len(reader.wrong) for reader in reading)),
        ("all files right on all nodes after", f"{settled:.1f} s"),
        ("descriptors of a node at the end, at most", max(descriptors)),
        ("memory of a node at the end, at most", f"{max(resident) >> 20} MiB"),
    ]
    for name, value in rows:
        print(f"{name:<46} {value}")
