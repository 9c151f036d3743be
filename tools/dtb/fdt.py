# SPDX-License-Identifier: GPL-2.0-only
"""Flattened device trees: read into nodes, look at, write.

A blob that is truncated or corrupted raises FdtError, with the reason.
"""

import struct

MAGIC = 0xd00dfeed
HEADER = struct.Struct(">10I")
# libfdt 1.6.1 and the kernel write 17, which programs for 16 can read.
VERSION, COMPATIBLE = 17, 16
MAX_DEPTH = 64
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9


class FdtError(Exception):
    pass


class Node:
    def __init__(self, name, parent=None):
        self.name = name
        self.parent = parent
        self.props = {}
        self.children = []
        if parent:
            parent.children.append(self)

    @property
    def path(self):
        if not self.parent:
            return "/"
        return self.parent.path.rstrip("/") + "/" + self.name

    @property
    def base_name(self):
        return self.name.split("@")[0]

    def ancestors(self):
        node = self.parent
        while node:
            yield node
            node = node.parent

    def walk(self):
        todo = [self]
        while todo:
            node = todo.pop()
            yield node
            todo.extend(reversed(node.children))

    def cells(self, name):
        """All whole cells of a property; none if there is no property."""
        value = self.props.get(name, b"")
        return struct.unpack(f">{len(value) // 4}I", value[:len(value) // 4 * 4])

    def cell(self, name):
        cells = self.cells(name)
        return cells[0] if cells else None

    def strings(self, name):
        value = self.props.get(name, b"")
        if not value.endswith(b"\0"):
            return []
        return [s.decode("ascii", "replace") for s in value[:-1].split(b"\0")]

    def string(self, name):
        strings = self.strings(name)
        return strings[0] if strings else None

    def available(self):
        return "status" not in self.props or self.string("status") in ("okay", "ok")

    def enabled(self):
        return self.available() and all(up.available() for up in self.ancestors())

    def compatible(self, name):
        return any(s.lower() == name for s in self.strings("compatible"))

    def phandle(self):
        value = self.cell("phandle") or self.cell("linux,phandle")
        return value if value != 0xffffffff else None

    def up_cells(self, name):
        """What an ancestor says of the cells of this node's reg; 1 by default."""
        for up in self.ancestors():
            if up.cell(name) is not None:
                return up.cell(name)
        return 1


class Tree:
    def __init__(self, root, reserved=(), boot_cpu=0):
        self.root = root
        self.reserved = list(reserved)
        self.boot_cpu = boot_cpu

    def find(self, path):
        node = self.root
        for name in filter(None, path.split("/")):
            node = next((c for c in node.children if c.name == name), None)
            if not node:
                return None
        return node

    def by_phandle(self, phandle):
        """The first one, as the kernel has it."""
        if not phandle:
            return None
        return next((n for n in self.root.walk() if n.phandle() == phandle), None)

    def new_phandle(self):
        used = [n.phandle() or 0 for n in self.root.walk()]
        for phandle in range(max(used) + 1, 0xffffffff):
            return phandle
        raise FdtError("has no phandle left")

    def blob(self):
        strings, offsets, body = bytearray(), {}, bytearray()

        def put(data):
            body.extend(data + b"\0" * (-len(data) % 4))

        # A node's end is a None behind its children.
        todo = [self.root]
        while todo:
            node = todo.pop()
            if node is None:
                put(struct.pack(">I", END_NODE))
                continue
            put(struct.pack(">I", BEGIN_NODE) + node.name.encode("ascii") + b"\0")
            for name, value in node.props.items():
                if name not in offsets:
                    offsets[name] = len(strings)
                    strings.extend(name.encode("ascii") + b"\0")
                put(struct.pack(">3I", PROP, len(value), offsets[name]) + value)
            todo.append(None)
            todo.extend(reversed(node.children))
        put(struct.pack(">I", END))

        at = HEADER.size
        reserve = b"".join(struct.pack(">2Q", *r) for r in [*self.reserved, (0, 0)])
        body_at = at + len(reserve)
        strings_at = body_at + len(body)
        total = strings_at + len(strings)
        return HEADER.pack(MAGIC, total, body_at, strings_at, at, VERSION, COMPATIBLE,
                           self.boot_cpu, len(strings), len(body)) + reserve + body + strings


def read(blob):
    """The tree of a blob, which may be longer than it says."""
    if len(blob) < HEADER.size:
        raise FdtError(f"has {len(blob)} bytes, not even a header")
    (magic, total, body_at, strings_at, reserve_at, version, compatible, boot_cpu,
     strings_size, body_size) = HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise FdtError(f"begins with 0x{magic:08x}, not with 0x{MAGIC:08x}: is it a source?")
    if total > len(blob):
        raise FdtError(f"is truncated: it has {len(blob)} bytes of {total}")
    if version < COMPATIBLE or compatible > VERSION:
        raise FdtError(f"is of version {version}, which is not {COMPATIBLE} or {VERSION}")
    if version < 17:
        body_size = total - body_at
    blob = blob[:total]
    for what, start, size, align in (("structure", body_at, body_size, 4),
                                     ("strings", strings_at, strings_size, 1),
                                     ("reservations", reserve_at, 16, 8)):
        if start < HEADER.size or start + size > total or start % align:
            raise FdtError(f"is corrupted: its {what} would be at 0x{start:x}+0x{size:x}")
    root = read_body(blob[body_at:body_at + body_size],
                     blob[strings_at:strings_at + strings_size])
    return Tree(root, read_reserved(blob, reserve_at), boot_cpu)


def read_reserved(blob, at):
    reserved = []
    while True:
        if at + 16 > len(blob):
            raise FdtError("is corrupted: its reservations have no end")
        entry = struct.unpack_from(">2Q", blob, at)
        if not entry[1]:
            return reserved
        reserved.append(entry)
        at += 16


def read_string(data, at, what):
    end = data.find(b"\0", at)
    if at >= len(data) or end < 0:
        raise FdtError(f"is corrupted: {what} has no end")
    try:
        return data[at:end].decode("ascii")
    except UnicodeDecodeError:
        raise FdtError(f"is corrupted: {what} is not ASCII") from None


def read_body(body, strings):
    root = node = None
    at = depth = 0

    def cell():
        nonlocal at
        if at + 4 > len(body):
            raise FdtError("is corrupted: its structure has no end")
        at += 4
        return struct.unpack_from(">I", body, at - 4)[0]

    while True:
        token = cell()
        if token == BEGIN_NODE:
            name = read_string(body, at, f"a node's name at 0x{at:x}")
            if "/" in name or (root and (not name or not node)):
                raise FdtError(f"is corrupted: no node can be called \"{name}\" at 0x{at:x}")
            depth += 1
            if depth > MAX_DEPTH:
                raise FdtError(f"is corrupted: more than {MAX_DEPTH} levels of nodes")
            at = (at + len(name) + 4) & ~3
            node = Node(name, node)
            root = root or node
        elif token == PROP and node:
            size, name_at = cell(), cell()
            name = read_string(strings, name_at, f"a property's name in {node.path}")
            if at + size > len(body):
                raise FdtError(f"is corrupted: {node.path}: {name} has {size} bytes")
            # Of two of one name the kernel finds the first.
            node.props.setdefault(name, bytes(body[at:at + size]))
            at = (at + size + 3) & ~3
        elif token == END_NODE and node:
            depth -= 1
            node = node.parent
        elif token == END and root and not node:
            return root
        elif token != NOP:
            raise FdtError(f"is corrupted: 0x{token:x} in its structure at 0x{at - 4:x}")
