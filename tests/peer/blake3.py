"""BLAKE3 and the BLAKE3 tree file (version 2) in plain Python.

Written from the BLAKE3 paper and from PROTOCOL.md; about 1 MB/s, so for small content only.
"""

import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
      0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
CHUNK = 1024
LEAF = 4096
MAGIC = b"B3T\x02"
M = 0xFFFFFFFF


def _schedule():
    """The order in which each of the seven rounds takes the sixteen message words."""
    order, rounds = list(range(16)), []
    for _ in range(7):
        rounds.append(order)
        order = [order[i] for i in PERMUTATION]
    return rounds


def _unrolled():
    """Source of the compression function with the seven rounds written out (ten times faster)."""
    lines = ["def _compress(h, m, counter, length, flags):",
             "    v0, v1, v2, v3, v4, v5, v6, v7 = h",
             "    v8, v9, v10, v11 = %d, %d, %d, %d" % IV[:4],
             "    v12, v13, v14, v15 = counter & M, counter >> 32, length, flags"]
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for order in _schedule():
        for n, (a, b, c, d) in enumerate(columns + diagonals):
            for word, first, second in ((order[2 * n], 16, 12), (order[2 * n + 1], 8, 7)):
                lines += [f"    v{a} = (v{a} + v{b} + m[{word}]) & M",
                          f"    t = v{d} ^ v{a}; v{d} = (t >> {first}) | (t << {32 - first}) & M",
                          f"    v{c} = (v{c} + v{d}) & M",
                          f"    t = v{b} ^ v{c}; v{b} = (t >> {second}) | (t << {32 - second}) & M"]
    lines.append("    return (%s,)" % ", ".join(f"v{i} ^ v{i + 8}" for i in range(8)))
    return "\n".join(lines)


exec(_unrolled())  # defines _compress


def _chunk(data, counter, flags=0):
    """Chaining value of one chunk of up to 1,024 bytes."""
    h = IV
    blocks = max(1, -(-len(data) // 64))
    for i in range(blocks):
        block = data[64 * i:64 * i + 64]
        bits = (CHUNK_START if i == 0 else 0) | ((CHUNK_END | flags) if i == blocks - 1 else 0)
        words = struct.unpack("<16I", block.ljust(64, b"\0"))
        h = _compress(h, words, counter, len(block), bits)
    return h


def _parent(left, right, flags=0):
    return _compress(IV, left + right, 0, 64, PARENT | flags)


def _subtree(data, counter, flags=0):
    """Chaining value of `data`, whose first chunk is number `counter`."""
    if len(data) <= CHUNK:
        return _chunk(data, counter, flags)
    left = CHUNK
    while left * 2 < len(data):
        left *= 2
    return _parent(_subtree(data[:left], counter), _subtree(data[left:], counter + left // CHUNK), flags)


def _bytes(value):
    return struct.pack("<8I", *value)


def _words(value):
    return struct.unpack("<8I", value)


def blake3(data):
    return _bytes(_subtree(data, 0, ROOT))


def leaf(data, index):
    """The 32 bytes that stand for leaf number `index` (4,096 bytes; the last may be shorter)."""
    return _bytes(_subtree(data, index * (LEAF // CHUNK)))


def levels_above(leaves):
    """All levels, the leaves first, the level of two nodes (or the only leaf) last."""
    levels = [leaves]
    while len(levels[-1]) > 2:
        below = levels[-1]
        level = [_bytes(_parent(_words(below[i]), _words(below[i + 1])))
                 for i in range(0, len(below) - 1, 2)]
        if len(below) % 2:
            level.append(below[-1])
        levels.append(level)
    return levels


def tree_of(data):
    """(root, tree file) of content."""
    leaves = [leaf(data[at:at + LEAF], at // LEAF) for at in range(0, len(data), LEAF)] or [leaf(b"", 0)]
    levels = levels_above(leaves)
    root = blake3(data) if len(leaves) == 1 else _bytes(
        _parent(_words(levels[-1][0]), _words(levels[-1][1]), ROOT))
    return root, MAGIC + bytes(28) + root + b"".join(b"".join(level) for level in reversed(levels))


def tree_length(leaves):
    total, level = 64, leaves
    while True:
        total += 32 * level
        if level <= 2:
            return total
        level = (level + 1) // 2


def verified_leaves(tree, root):
    """The leaves of a tree file if it is right for `root`, else None.

    A tree of one leaf cannot be checked against its root without the content, so only its form is.
    """
    if tree[:4] != MAGIC or tree[4:32] != bytes(28) or tree[32:64] != root:
        return None
    leaves = 1
    while tree_length(leaves) < len(tree):  # doubling, then back: lengths grow with the leaves
        leaves *= 2
    low = leaves // 2
    while low + 1 < leaves:
        middle = (low + leaves) // 2
        low, leaves = (low, middle) if tree_length(middle) >= len(tree) else (middle, leaves)
    if tree_length(leaves) != len(tree):
        return None
    nodes = [tree[-32 * leaves:][i:i + 32] for i in range(0, 32 * leaves, 32)]
    if leaves == 1:
        return nodes
    levels = levels_above(nodes)
    if b"".join(b"".join(level) for level in reversed(levels)) != tree[64:]:
        return None
    top = _bytes(_parent(_words(levels[-1][0]), _words(levels[-1][1]), ROOT))
    return nodes if top == root else None
