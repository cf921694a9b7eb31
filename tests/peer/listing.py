"""The listing of a folder, written from the format's description alone."""

import hashlib
import os
import stat
import time

import blake3


def _escaped(name):
    return name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _entries(folder, prefix=""):
    """The path and the two lines of whatever is in `folder`; what begins with a dot is left out."""
    for name in os.listdir(folder):
        if name.startswith("."):
            continue
        place, path = os.path.join(folder, name), prefix + name
        status = os.lstat(place)
        if stat.S_ISLNK(status.st_mode):
            yield path, f"# -> {_escaped(os.readlink(place))}\n#  {_escaped(path)}\n"
        elif stat.S_ISDIR(status.st_mode):
            inside = list(_entries(place, path + "/"))
            yield from inside or [(path, f"# /\n#  {_escaped(path)}\n")]
        elif stat.S_ISREG(status.st_mode):
            with open(place, "rb") as file:
                data = file.read()
            modified = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime_ns // 10**9))
            mark = "\\" if _escaped(path) != path else ""
            yield path, (
                f"# {len(data)} {modified} {status.st_mode & 0o777:o} {blake3.blake3(data).hex()}\n"
                f"{mark}{hashlib.sha256(data).hexdigest()}  {_escaped(path)}\n"
            )


def text(folder):
    entries = sorted(_entries(folder), key=lambda entry: entry[0].encode())
    return ("# cjp2pfs-folder 1\n" + "".join(lines for _, lines in entries)).encode()
