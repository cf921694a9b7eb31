#!/usr/bin/env python3
"""Random operations of several threads on a mount, each compared with the same on a plain folder.

    reader.py PLAIN MOUNT [--seed N] [--operations N] [--seconds S] [--threads N] [--limit S]
                          [--only OPERATION,...] [--spare ERRNO,...]

PLAIN has the tree of the mount: files named by their SHA-256, and in `blake3/` by their BLAKE3. Every
file is opened in both; whatever is then done to the one is done to the other, and results, bytes,
positions and errors must be the same. Where the mount is read-only and the folder is not, the errors
are those that the README promises.

`--spare` names errors that reads may end in, for mounts whose peers or daemon die meanwhile: they are
counted, and bytes that come must be right all the same.

Prints a JSON object with what was done. Ends with 1 at the first difference, and when an operation
took longer than the limit: then with a traceback of every thread.
"""

import argparse
import collections
import errno
import faulthandler
import json
import mmap
import os
import random
import stat
import sys
import threading
import time

SUFFIXES = ("", "", ".mp4", ".tar.gz", ".")  # which change nothing of a name on a mount
MOST_HANDLES = 12
LONGEST = 300_000
PAGE = 4096
DIRECT = getattr(os, "O_DIRECT", 0)


class Difference(Exception):
    pass


class Pair:
    """One file, open in the mount and in the plain folder."""

    def __init__(self, name, mount, plain, length, direct):
        self.name, self.mount, self.plain, self.length, self.direct = name, mount, plain, length, direct

    def close(self):
        os.close(self.plain)
        os.close(self.mount)


class Worker(threading.Thread):
    def __init__(self, options, number):
        super().__init__()
        self.options = options
        self.random = random.Random(options.seed * 1000 + number)
        is_mount = os.path.ismount(options.mount)
        self.suffixes = SUFFIXES if is_mount else ("",)
        self.flags = (0, 0, 0, os.O_NOFOLLOW, os.O_NONBLOCK, DIRECT if is_mount else 0)
        self.names = sorted(
            os.path.relpath(os.path.join(folder, name), options.plain)
            for folder, _, names in os.walk(options.plain) for name in names
        )
        self.pairs = []
        self.counts = collections.Counter()
        self.spared = collections.Counter()
        self.bytes = 0
        self.slowest = (0.0, "nothing")
        self.done = 0
        self.busy = None  # what it is at, and since when
        self.problem = None

    def run(self):
        try:
            end = time.monotonic() + (self.options.seconds or 1e9)
            while time.monotonic() < end and self.done != self.options.operations:
                self.step()
        except BaseException as problem:  # whatever it is, the main thread is to tell it
            self.problem = problem
        for pair in self.pairs:
            self.shut(pair)

    def shut(self, pair):
        self.spare(pair.close)

    def step(self):
        kinds = [(one, weight) for one, weight in (OPERATIONS if self.pairs else OPENING)
                 if not self.options.only or one.__name__ in self.options.only]
        operation = self.random.choices([one for one, _ in kinds], [weight for _, weight in kinds])[0]
        self.busy = (operation.__name__, time.monotonic())
        operation(self)
        took = time.monotonic() - self.busy[1]
        self.slowest = max(self.slowest, (took, operation.__name__))
        self.counts[operation.__name__] += 1
        self.done += 1
        self.busy = None

    def pick(self):
        return self.random.choice(self.pairs)

    def pick_buffered(self):
        """One that any bytes can be read of; `None` where there is none."""
        buffered = [pair for pair in self.pairs if not pair.direct]
        return self.random.choice(buffered) if buffered else None

    def path(self, name, suffix=""):
        return os.path.join(self.options.mount, name + suffix)

    def offset(self, pair):
        """Mostly inside, sometimes around the end, where the mistakes are."""
        kind = self.random.random()
        if kind < 0.15:
            return max(0, pair.length + self.random.randint(-5000, 5000))
        if kind < 0.3:
            return self.random.randrange(pair.length) // 4096 * 4096
        return self.random.randrange(pair.length)

    def size(self):
        return self.random.choice((1, 100, 4096, 65536, self.random.randrange(LONGEST), 131072))

    def same(self, what, got, expected):
        if got != expected:
            if isinstance(got, bytes) and isinstance(expected, bytes):
                common = min(len(got), len(expected))
                at = next((i for i in range(common) if got[i] != expected[i]), common)
                got, expected = f"{len(got)} bytes", f"{len(expected)} bytes, different from {at} on"
            raise Difference(f"{what}: {got} instead of {expected}")

    def fails(self, what, expected, action):
        try:
            action()
        except OSError as error:
            wanted = expected if isinstance(expected, tuple) else (expected,)
            if error.errno not in wanted and error.errno not in self.options.spare:
                raise Difference(f"{what}: {errno.errorcode.get(error.errno)}, not {wanted}") from error
        else:
            raise Difference(f"{what}: no error")

    def spare(self, action):
        """The outcome of an action on the mount; None for an error that is spared."""
        try:
            return action()
        except OSError as error:
            if error.errno not in self.options.spare:
                raise
            self.spared[errno.errorcode[error.errno]] += 1
            return None

    def compare(self, what, got, expected):
        """A read: the same, or where errors are spared an honest beginning of it."""
        if got is None:
            return
        self.bytes += len(got)
        if self.options.spare and len(got) < len(expected):
            expected = expected[:len(got)]
        self.same(what, got, expected)

    # --- operations ---

    def open(self):
        if len(self.pairs) >= MOST_HANDLES:
            self.shut(self.pairs.pop(self.random.randrange(len(self.pairs))))
        name = self.random.choice(self.names)
        flags = os.O_RDONLY | self.random.choice(self.flags)
        path = self.path(name, self.random.choice(self.suffixes))
        mount = self.spare(lambda: os.open(path, flags))
        if mount is None:
            return
        plain = os.open(os.path.join(self.options.plain, name), os.O_RDONLY)
        self.pairs.append(Pair(name, mount, plain, os.fstat(plain).st_size, bool(flags & DIRECT)))

    def close(self):
        self.shut(self.pairs.pop(self.random.randrange(len(self.pairs))))

    def dup(self):
        if len(self.pairs) < MOST_HANDLES:
            pair = self.pick()
            self.pairs.append(Pair(pair.name, os.dup(pair.mount), os.dup(pair.plain), pair.length, pair.direct))

    def read(self):
        pair, size = self.pick_buffered(), self.size()
        if pair is None:
            return
        at = os.lseek(pair.mount, 0, os.SEEK_CUR)
        got = self.spare(lambda: os.read(pair.mount, size))
        self.compare(f"read {size} at {at} of {pair.name}", got, os.read(pair.plain, size))
        if self.options.spare:
            os.lseek(pair.plain, os.lseek(pair.mount, 0, os.SEEK_CUR), os.SEEK_SET)
        self.same("position after a read", os.lseek(pair.mount, 0, 1), os.lseek(pair.plain, 0, 1))

    def pread(self):
        pair, size = self.pick(), self.size()
        at = self.offset(pair)
        if pair.direct:
            return self.pread_direct(pair, size, at)
        got = self.spare(lambda: os.pread(pair.mount, size, at))
        self.compare(f"pread {size} at {at} of {pair.name}", got, os.pread(pair.plain, size, at))

    def pread_direct(self, pair, size, at):
        """Whole pages into whole pages, as must be where the disk is read without a cache."""
        at, size = at // PAGE * PAGE, -(-size // PAGE) * PAGE
        with mmap.mmap(-1, size) as buffer:
            got = self.spare(lambda: os.preadv(pair.mount, [buffer], at))
            if got is not None:
                expected = os.pread(pair.plain, size, at)
                self.compare(f"direct pread {size} at {at} of {pair.name}", buffer[:got], expected)

    def preadv(self):
        pair = self.pick_buffered()
        if pair is None:
            return
        at = self.offset(pair)
        sizes = [self.random.randrange(1, 20_000) for _ in range(self.random.randint(1, 8))]
        buffers = [[bytearray(size) for size in sizes] for _ in range(2)]
        got = self.spare(lambda: os.preadv(pair.mount, buffers[0], at))
        expected = os.preadv(pair.plain, buffers[1], at)
        if got is not None:
            joined = [b"".join(side) for side in buffers]
            self.compare(f"preadv {sizes} at {at} of {pair.name}", joined[0][:got], joined[1][:expected])

    def lseek(self):
        pair = self.pick()
        whence = self.random.choice((os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE))
        amount = self.random.randint(-pair.length, pair.length + 10)
        if whence in (os.SEEK_SET, os.SEEK_DATA, os.SEEK_HOLE):
            amount = abs(amount)
        results = []
        for fd in (pair.mount, pair.plain):
            try:
                results.append(os.lseek(fd, amount, whence))
            except OSError as error:
                results.append(errno.errorcode[error.errno])
        if results[0] in [errno.errorcode[spared] for spared in self.options.spare]:
            self.spared[results[0]] += 1
            os.lseek(pair.plain, os.lseek(pair.mount, 0, os.SEEK_CUR), os.SEEK_SET)
        else:
            self.same(f"lseek {amount}, {whence} in {pair.name}", *results)

    def fstat(self):
        pair = self.pick()
        found = self.spare(lambda: os.fstat(pair.mount))
        if found is not None:
            self.check_stat(pair.name, found, pair.length)

    def stat(self):
        name = self.random.choice(self.names)
        path = self.path(name, self.random.choice(self.suffixes))
        found = self.spare(lambda: os.stat(path))
        if found is not None:
            self.check_stat(name, found, os.stat(os.path.join(self.options.plain, name)).st_size)

    def check_stat(self, name, found, length):
        if self.options.spare and found.st_size != length:
            # Until content is verified, its length is what peers say.
            self.spared["length"] += 1
            return
        self.same(f"length of {name}", found.st_size, length)
        self.same(f"mode of {name}", (stat.S_IFMT(found.st_mode), found.st_mode & 0o222), (stat.S_IFREG, 0))

    def listdir(self):
        folder = self.random.choice(("", "blake3"))
        listed = self.spare(lambda: list(os.scandir(self.path(folder))))
        if listed is None:
            return
        names = [entry.name for entry in listed]
        self.same(f"names in /{folder}, each once", len(names), len(set(names)))
        for entry in listed:
            # Folders are the mount's own. A file that is listed is one that this folder has.
            if len(entry.name) == 64:
                name = os.path.join(folder, entry.name)
                self.same(f"{name} is known", name in self.names, True)
                found = self.spare(entry.stat)
                if found is not None:
                    length = os.stat(os.path.join(self.options.plain, name)).st_size
                    self.check_stat(name, found, length)

    def statvfs(self):
        found = self.spare(lambda: os.statvfs(self.options.mount))
        if found is not None:
            self.same("the longest name", found.f_namemax, 255)

    def xattr(self):
        name = self.random.choice(self.names)
        path = self.path(name)
        values = self.spare(lambda: {key: os.getxattr(path, key) for key in os.listxattr(path)})
        if values is None:
            return
        self.same(f"id of {name}", values["user.cjp2p.id"], name.encode())
        verified = values["user.cjp2p.verified"]
        self.same(f"verified or not: {name}", verified in (b"yes", b"no"), True)
        have, length = int(values["user.cjp2p.have"]), os.stat(os.path.join(self.options.plain, name)).st_size
        self.same(f"{name}: {have} of {length} bytes held", 0 <= have <= length, True)
        self.fails("an attribute that is not there", errno.ENODATA, lambda: os.getxattr(path, "user.other"))

    def map(self):
        """Not where errors are spared: an error of a map is a signal."""
        if self.options.spare:
            return self.pread()
        pair = self.pick()
        maps = [mmap.mmap(fd, 0, flags=self.random.choice((mmap.MAP_PRIVATE, mmap.MAP_SHARED)),
                          prot=mmap.PROT_READ) for fd in (pair.mount, pair.plain)]
        try:
            for _ in range(self.random.randint(1, 6)):
                at = self.random.randrange(pair.length)
                size = self.size()
                self.compare(f"map {size} at {at} of {pair.name}", *(one[at:at + size] for one in maps))
        finally:
            for one in maps:
                one.close()

    def sendfile(self):
        pair, size = self.pick_buffered(), self.size()
        if pair is None:
            return
        at = self.offset(pair)
        to = os.memfd_create("sent")
        try:
            got = self.spare(lambda: os.sendfile(to, pair.mount, at, size))
            if got is not None:
                expected = os.pread(pair.plain, got, at)
                self.compare(f"sendfile {size} at {at} of {pair.name}", os.pread(to, size, 0), expected)
        finally:
            os.close(to)

    def whole(self):
        """From the start to the end, as `cat` does, through a handle of its own."""
        name = self.random.choice(self.names)
        fd = self.spare(lambda: os.open(self.path(name), os.O_RDONLY))
        if fd is None:
            return
        with open(os.path.join(self.options.plain, name), "rb") as plain:
            expected = plain.read()
        got, size = bytearray(), self.random.choice((4096, 65536, 1 << 20))
        try:
            while True:
                part = self.spare(lambda: os.read(fd, size))
                if not part:
                    break
                got += part
        finally:
            self.spare(lambda: os.close(fd))
        got = bytes(got)
        if not self.options.spare or part is not None:
            self.bytes += len(got)
            self.same(f"all of {name}", got, expected)
        else:
            self.compare(f"the start of {name}", got, expected)

    def write(self):
        """Whatever would change something."""
        pair, name = self.pick(), self.random.choice(self.names)
        path, other = self.path(name), self.path("new")
        attempts = {
            "write": (errno.EBADF, lambda: os.write(pair.mount, b"x")),
            "pwrite": (errno.EBADF, lambda: os.pwrite(pair.mount, b"x", 0)),
            "ftruncate": ((errno.EBADF, errno.EINVAL), lambda: os.ftruncate(pair.mount, 0)),
            "open to write": (errno.EROFS, lambda: os.open(path, os.O_WRONLY)),
            "open to read and write": (errno.EROFS, lambda: os.open(path, os.O_RDWR)),
            "open and truncate": (errno.EROFS, lambda: os.open(path, os.O_WRONLY | os.O_TRUNC)),
            "create": (errno.EROFS, lambda: os.open(other, os.O_WRONLY | os.O_CREAT)),
            "create what exists": (errno.EEXIST, lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
            "truncate": (errno.EROFS, lambda: os.truncate(path, 0)),
            "unlink": (errno.EROFS, lambda: os.unlink(path)),
            "rename": (errno.EROFS, lambda: os.rename(path, other)),
            "link": (errno.EROFS, lambda: os.link(path, other)),
            "symlink": (errno.EROFS, lambda: os.symlink("x", other)),
            "mkdir": (errno.EROFS, lambda: os.mkdir(other)),
            "rmdir": (errno.EROFS, lambda: os.rmdir(self.path("blake3"))),
            "mkfifo": (errno.EROFS, lambda: os.mkfifo(other)),
            "chmod": (errno.EROFS, lambda: os.chmod(path, 0o600)),
            "utime": (errno.EROFS, lambda: os.utime(path, (1, 1))),
            "setxattr": (errno.EROFS, lambda: os.setxattr(path, "user.x", b"x")),
            "removexattr": (errno.EROFS, lambda: os.removexattr(path, "user.cjp2p.id")),
        }
        what = self.random.choice(sorted(attempts))
        self.fails(what, *attempts[what])

    def wrong(self):
        """Names that are nothing."""
        name = self.random.choice(self.names)
        attempts = {
            "no hash": (errno.ENOENT, ".Trash-1000"),
            "short": (errno.ENOENT, "ab" * 31),
            "bad suffix": (errno.ENOENT, "ab" * 32 + "mp4"),
            "long name": (errno.ENAMETOOLONG, "x" * 256),
            "below a file": (errno.ENOTDIR, name + "/x"),
        }
        what = self.random.choice(sorted(attempts))
        expected, path = attempts[what]
        self.fails(what, expected, lambda: os.stat(self.path(path)))


OPENING = [(Worker.open, 6), (Worker.stat, 1), (Worker.xattr, 1), (Worker.listdir, 1)]
OPERATIONS = OPENING + [
    (Worker.read, 12), (Worker.pread, 16), (Worker.preadv, 4), (Worker.lseek, 6), (Worker.map, 6),
    (Worker.sendfile, 3), (Worker.dup, 3), (Worker.close, 3), (Worker.fstat, 3), (Worker.statvfs, 1),
    (Worker.whole, 1), (Worker.write, 4), (Worker.wrong, 2),
]


def tell_where_it_hangs():
    """What each thread is at, in the interpreter and, where this user may see it, in the kernel."""
    faulthandler.dump_traceback(all_threads=True)
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/stack", encoding="ascii") as file:
                print(f"thread {task} in the kernel:\n{file.read()}", file=sys.stderr)
        except OSError:
            pass


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain")
    parser.add_argument("mount")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operations", type=int, help="of each thread")
    parser.add_argument("--seconds", type=float, help="that the whole may take")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=60, help="seconds that an operation may take")
    parser.add_argument("--only", default="", help="operations to do, as open,pread,close; all otherwise")
    parser.add_argument("--spare", default="", help="errors that reads may end in, as EIO,ENOENT")
    options = parser.parse_args()
    if options.operations is None and options.seconds is None:
        parser.error("one of --operations and --seconds is needed")
    options.only = set(filter(None, options.only.split(",")))
    options.spare = {getattr(errno, name) for name in options.spare.split(",") if name}
    return options


def main():
    options = parse()
    workers = [Worker(options, number) for number in range(options.threads)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        # The interpreter's own watchdog: it fires also when a thread that waits in the kernel for a
        # page of a map holds up all others.
        faulthandler.dump_traceback_later(options.limit + 5, exit=True)
        for worker in workers:
            worker.join(0.2)
            busy = worker.busy
            if busy and time.monotonic() - busy[1] > options.limit:
                print(f"{busy[0]} took longer than {options.limit:g} s", file=sys.stderr)
                tell_where_it_hangs()
                sys.stderr.flush()
                os._exit(1)
    faulthandler.cancel_dump_traceback_later()
    totals = {"operations": 0, "bytes": 0, "counts": collections.Counter(), "spared": collections.Counter()}
    for worker in workers:
        totals["operations"] += worker.done
        totals["bytes"] += worker.bytes
        totals["counts"] += worker.counts
        totals["spared"] += worker.spared
    seconds, operation = max(worker.slowest for worker in workers)
    totals["slowest"] = {"operation": operation, "seconds": round(seconds, 3)}
    print(json.dumps(totals))
    problems = [worker for worker in workers if worker.problem]
    for worker in problems:
        print(f"seed {options.seed}, after {worker.done} operations: {worker.problem!r}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
