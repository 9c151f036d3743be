#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A vhost-user network backend that lies about how much it wrote.

usage: liar.py SOCKET...

One device per socket, with split or packed rings, direct or indirect
descriptors. What it does is what the guest asks for in the frames that it
sends, whose protocol number is PROTOCOL (big-endian numbers, after two bytes for
alignment):

    magic, kind, id, count, then COUNT times: write, report, base

MADE answers with one packet in COUNT receive buffers. In each it writes the
first WRITE bytes, at most what there is, and says that it wrote REPORT bytes,
to which BASE adds: 0 nothing, CAPACITY all of the buffer, N up to the end of its
Nth descriptor. After the virtio and Ethernet headers, and two bytes, the packet
has

    magic, kind, id, length, crc, total, dirty

LENGTH is how long the frame has to be that arrives, and CRC is that of what
follows this, as it stands in the buffers up to what was reported: bytes that
were not written are those of the window. TOTAL is what was reported until now,
this packet included, each clamped to its buffer: it is what the guest should
have copied. DIRTY counts buffers that held anything when they were offered.

ASKED answers honestly, in a buffer with room for it. It is the end of a case:
whatever was dropped did not arrive before it.
"""

import mmap
import os
import selectors
import socket
import struct
import sys
import zlib

PROTOCOL = 0x88b5
MAGIC = 0x4c494152
MADE, ASKED = 1, 2
CAPACITY = 0xffffffff
COMMAND, BUFFER, ANSWER = (struct.Struct(f) for f in (">2xIIII", ">III", ">2xIIIIIQI"))
VNET, ETHER = 12, 14

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, _, _, SET_VRING_NUM,
 SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
 SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, _, SET_VRING_ENABLE) = range(1, 19)
# MTU, MRG_RXBUF, INDIRECT_DESC, vhost-user's PROTOCOL_FEATURES (of which there are
# none, but QEMU wants the bit), VERSION_1, RING_PACKED; the device's options in
# QEMU take away what it is not to have.
FEATURES = 1 << 3 | 1 << 15 | 1 << 28 | 1 << 30 | 1 << 32 | 1 << 34
PACKED = 1 << 34

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15

# No byte of it is zero.
PATTERN = bytes(1 + (i * 151 + (i >> 8) * 31) % 255 for i in range(1 << 18))


class Memory:
    """The guest's memory as it was handed over: regions with files."""

    def __init__(self, payload, fds):
        count = struct.unpack_from("<I", payload)[0]
        self.regions = []
        for i, fd in zip(range(count), fds):
            gpa, size, uva, offset = struct.unpack_from("<QQQQ", payload, 8 + 32 * i)
            data = mmap.mmap(fd, size + offset)
            self.regions.append((gpa, uva, size, offset, memoryview(data)))

    def at(self, address, length, user=False):
        for gpa, uva, size, offset, data in self.regions:
            start = address - (uva if user else gpa)
            if 0 <= start <= start + length <= size:
                return data[offset + start:offset + start + length]
        raise ValueError(f"no memory at {address:#x}+{length:#x}")


class Chain:
    """The buffers of one request."""

    def __init__(self, ident, count, descriptors):
        self.ident = ident
        self.count = count
        self.parts = [(data, bool(flags & WRITE)) for data, flags in descriptors]

    def writable(self):
        return [data for data, device_writes in self.parts if device_writes]

    def capacity(self):
        return sum(len(data) for data in self.writable())

    def end_of(self, base):
        if base == CAPACITY:
            return self.capacity()
        return sum(len(data) for data in self.writable()[:base])

    def read(self):
        return b"".join(bytes(data) for data, device_writes in self.parts if not device_writes)

    def content(self):
        return b"".join(bytes(data) for data in self.writable())

    def write(self, at, what):
        for data in self.writable():
            if at < len(data) and what:
                n = min(len(data) - at, len(what))
                data[at:at + n] = what[:n]
                what = what[n:]
                at = 0
            else:
                at = max(0, at - len(data))


class Queue:
    def __init__(self):
        self.num = self.last = self.used = 0
        self.wrap = self.used_wrap = True
        self.addresses = None
        self.kick = self.call = None

    def start(self, memory, packed):
        desc, used, avail = self.addresses
        self.packed, self.memory = packed, memory
        self.desc = memory.at(desc, self.num * 16, True)
        self.driver = memory.at(avail, 4 if packed else 6 + 2 * self.num, True)
        self.device = memory.at(used, 4 if packed else 6 + 8 * self.num, True)

    def base(self, value=None):
        """Where to go on: QEMU's idea of it, set and got."""
        if value is None:
            return self.last | self.wrap << 15 | self.used << 16 | self.used_wrap << 31 \
                if self.packed else self.last
        self.last, self.wrap = value & 0xffff, True
        if value >> 16:
            self.last, self.wrap = value & 0x7fff, bool(value & 1 << 15)
            self.used, self.used_wrap = value >> 16 & 0x7fff, bool(value >> 31)
        else:
            self.used = self.last

    def table(self, address, length):
        """The descriptors of an indirect table, in its order."""
        out = []
        for entry in struct.iter_unpack("<QIHH", bytes(self.memory.at(address, length))):
            flags = entry[3] if self.packed else entry[2]
            out.append((self.memory.at(entry[0], entry[1]), flags))
        return out

    def one(self, address, length, flags):
        if flags & INDIRECT:
            return self.table(address, length)
        return [(self.memory.at(address, length), flags)]

    def pop_split(self):
        if struct.unpack_from("<H", self.driver, 2)[0] == self.last & 0xffff:
            return None
        head = struct.unpack_from("<H", self.driver, 4 + self.last % self.num * 2)[0]
        self.last = self.last + 1 & 0xffff
        found, at = [], head
        while True:
            address, length, flags, after = struct.unpack_from("<QIHH", self.desc, at * 16)
            found += self.one(address, length, flags)
            if not flags & NEXT:
                return Chain(head, 1, found)
            at = after

    def pop_packed(self):
        flags = struct.unpack_from("<H", self.desc, self.last * 16 + 14)[0]
        if bool(flags & AVAIL) != self.wrap or bool(flags & USED) == self.wrap:
            return None
        found, count = [], 0
        while True:
            address, length, ident, flags = struct.unpack_from("<QIHH", self.desc, self.last * 16)
            found += self.one(address, length, flags)
            count += 1
            self.last += 1
            if self.last == self.num:
                self.last, self.wrap = 0, not self.wrap
            if not flags & NEXT:
                return Chain(ident, count, found)

    def pop(self):
        return self.pop_packed() if self.packed else self.pop_split()

    def push(self, chain, reported):
        if self.packed:
            flags = AVAIL | USED if self.used_wrap else 0
            struct.pack_into("<IH", self.desc, self.used * 16 + 8, reported, chain.ident)
            struct.pack_into("<H", self.desc, self.used * 16 + 14, flags)
            self.used += chain.count
            if self.used >= self.num:
                self.used, self.used_wrap = self.used - self.num, not self.used_wrap
            return
        struct.pack_into("<II", self.device, 4 + self.used % self.num * 8, chain.ident, reported)
        self.used = self.used + 1 & 0xffff
        struct.pack_into("<H", self.device, 2, self.used)

    def notify(self):
        if self.call is not None:
            os.write(self.call, struct.pack("<Q", 1))


class Device:
    def __init__(self, sock, selector):
        self.sock, self.selector = sock, selector
        self.features = 0
        self.memory = None
        self.queues = [Queue(), Queue()]
        self.total = self.dirty = 0
        selector.register(sock, selectors.EVENT_READ, self.message)

    # --- Frames

    def command(self, frame):
        at = VNET + ETHER
        if len(frame) < at + COMMAND.size:
            return
        magic, kind, ident, count = COMMAND.unpack_from(frame, at)
        if frame[at - 2:at] != struct.pack(">H", PROTOCOL) or magic != MAGIC:
            return
        wanted = [BUFFER.unpack_from(frame, at + COMMAND.size + BUFFER.size * i)
                  for i in range(count)]
        size = VNET + ETHER + ANSWER.size
        self.packet(kind, ident, frame[VNET:], wanted if kind == MADE else [(size, size, 0)])

    def packet(self, kind, ident, asked, wanted):
        rx = self.queues[0]
        chains, length = [], -VNET
        for write, report, base in wanted:
            chain = rx.pop()
            if not chain:
                raise ValueError("the guest offers no receive buffer")
            self.dirty += any(chain.content())
            report = report + chain.end_of(base) & 0xffffffff
            written = min(write, chain.capacity())
            chain.write(0, PATTERN[ident % 509:][:written])
            told = min(report, chain.capacity())
            length += told
            self.total += told
            chains.append((chain, report, told, written))
        first, _, _, written = chains[0]
        # The answer goes where it was to write, or not at all.
        head = struct.pack("<10xH", len(chains)) + asked[6:12] + asked[0:6] + asked[12:14]
        size = len(head) + ANSWER.size
        first.write(0, head[:written])
        rest = b"".join(chain.content()[:told] for chain, _, told, _ in chains)[size:]
        answer = ANSWER.pack(MAGIC, kind, ident, max(length, 0), zlib.crc32(rest), self.total,
                             self.dirty)
        first.write(len(head), answer[:max(0, written - len(head))])
        for chain, report, _, _ in chains:
            rx.push(chain, report)
        rx.notify()

    def transmitted(self, queue):
        os.read(queue.kick, 8)
        done = False
        while True:
            chain = queue.pop()
            if not chain:
                break
            frame = chain.read()
            queue.push(chain, 0)
            done = True
            self.command(frame)
        if done:
            queue.notify()

    # --- vhost-user

    def message(self):
        data, fds, _, _ = socket.recv_fds(self.sock, 12, 8)
        if not data:
            self.selector.unregister(self.sock)
            return
        request, _, size = struct.unpack("<III", data)
        payload = self.sock.recv(size, socket.MSG_WAITALL) if size else b""
        answer = self.handle(request, payload, fds)
        if answer is not None:
            self.sock.sendall(struct.pack("<III", request, 5, len(answer)) + answer)

    def handle(self, request, payload, fds):
        if request == GET_FEATURES:
            return struct.pack("<Q", FEATURES)
        if request == GET_PROTOCOL_FEATURES:
            return struct.pack("<Q", 0)
        if request == SET_FEATURES:
            self.features = struct.unpack("<Q", payload)[0]
        elif request == SET_MEM_TABLE:
            self.memory = Memory(payload, fds)
            for fd in fds:
                os.close(fd)
        elif request in (SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE):
            index, value = struct.unpack("<II", payload)
            queue = self.queues[index]
            if request == SET_VRING_NUM:
                queue.num = value
            elif request == SET_VRING_BASE:
                queue.base(value)
            else:
                self.stop(queue)
                return struct.pack("<II", index, queue.base())
        elif request == SET_VRING_ADDR:
            index, _, desc, used, avail = struct.unpack_from("<IIQQQ", payload)
            self.queues[index].addresses = desc, used, avail
        elif request in (SET_VRING_KICK, SET_VRING_CALL):
            queue = self.queues[struct.unpack("<Q", payload)[0] & 0xff]
            if request == SET_VRING_KICK:
                self.start(queue, fds[0])
            else:
                queue.call = fds[0] if fds else None
        elif request not in (SET_OWNER, RESET_OWNER, SET_VRING_ERR, SET_PROTOCOL_FEATURES,
                             SET_VRING_ENABLE):
            raise ValueError(f"vhost-user request {request}")
        return None

    def start(self, queue, kick):
        queue.kick = kick
        queue.start(self.memory, bool(self.features & PACKED))
        if queue is self.queues[1]:
            self.selector.register(kick, selectors.EVENT_READ, lambda: self.transmitted(queue))

    def stop(self, queue):
        if queue is self.queues[1]:
            self.selector.unregister(queue.kick)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    selector = selectors.DefaultSelector()
    for path in sys.argv[1:]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        selector.register(listener, selectors.EVENT_READ,
                          lambda s=listener: Device(s.accept()[0], selector))
    while True:
        for key, _ in selector.select():
            key.data()


if __name__ == "__main__":
    main()
