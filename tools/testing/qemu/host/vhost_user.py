# SPDX-License-Identifier: GPL-2.0-only
"""A vhost-user back end without a device: memory, queues, messages.

A program derives its device from Device and calls serve().
"""

import mmap
import os
import selectors
import socket
import struct

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, _, _, SET_VRING_NUM,
 SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
 SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM,
 SET_VRING_ENABLE) = range(1, 19)
GET_CONFIG = 24
# QEMU wants this feature, even if there are no protocol features.
PROTOCOL_FEATURES = 1 << 30
PROTOCOL_MQ = 1 << 0
PROTOCOL_CONFIG = 1 << 9
INDIRECT_DESC = 1 << 28
VERSION_1 = 1 << 32
PACKED = 1 << 34

# For Chain.end_of(): all of the buffer.
CAPACITY = 0xffffffff

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15


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
        self.push_together([(chain, reported)])

    def push_together(self, used):
        """Give back (CHAIN, LENGTH)s of which the driver is to see all, or none yet."""
        if self.packed:
            flags = []
            for chain, reported in used:
                struct.pack_into("<IH", self.desc, self.used * 16 + 8, reported, chain.ident)
                flags.append((self.used, AVAIL | USED if self.used_wrap else 0))
                self.used += chain.count
                if self.used >= self.num:
                    self.used, self.used_wrap = self.used - self.num, not self.used_wrap
            # The driver looks at the first one.
            for index, value in reversed(flags):
                struct.pack_into("<H", self.desc, index * 16 + 14, value)
            return
        for chain, reported in used:
            struct.pack_into("<II", self.device, 4 + self.used % self.num * 8, chain.ident,
                             reported)
            self.used = self.used + 1 & 0xffff
        struct.pack_into("<H", self.device, 2, self.used)

    def notify(self):
        if self.call is not None:
            os.write(self.call, struct.pack("<Q", 1))


class Device:
    """One connection of QEMU. Derived classes say what they are, and what a kick means."""

    # What is offered; the device's options in QEMU take away what it is not to have.
    features = PROTOCOL_FEATURES | INDIRECT_DESC | VERSION_1 | PACKED
    protocol = 0
    queues = 2
    # The configuration space, with PROTOCOL_CONFIG.
    config = b""

    def __init__(self, sock, selector):
        self.sock, self.selector = sock, selector
        self.negotiated = 0
        self.memory = None
        self.queue = [Queue() for _ in range(self.queues)]
        selector.register(sock, selectors.EVENT_READ, self.message)

    def kicked(self, index):
        """Queue INDEX may have something new."""
        raise NotImplementedError

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
            return struct.pack("<Q", self.features)
        if request == GET_PROTOCOL_FEATURES:
            return struct.pack("<Q", self.protocol)
        if request == GET_QUEUE_NUM:
            return struct.pack("<Q", self.queues // 2)
        if request == GET_CONFIG:
            offset, size = struct.unpack_from("<II", payload)
            return payload[:12] + self.config[offset:offset + size].ljust(size, b"\0")
        if request == SET_FEATURES:
            self.negotiated = struct.unpack("<Q", payload)[0]
        elif request == SET_MEM_TABLE:
            self.memory = Memory(payload, fds)
            for fd in fds:
                os.close(fd)
        elif request in (SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE):
            index, value = struct.unpack("<II", payload)
            queue = self.queue[index]
            if request == SET_VRING_NUM:
                queue.num = value
            elif request == SET_VRING_BASE:
                queue.base(value)
            else:
                self.stop(queue)
                return struct.pack("<II", index, queue.base())
        elif request == SET_VRING_ADDR:
            index, _, desc, used, avail = struct.unpack_from("<IIQQQ", payload)
            self.queue[index].addresses = desc, used, avail
        elif request in (SET_VRING_KICK, SET_VRING_CALL):
            index = struct.unpack("<Q", payload)[0] & 0xff
            if request == SET_VRING_KICK:
                self.start(index, fds[0])
            else:
                self.queue[index].call = fds[0] if fds else None
        elif request not in (SET_OWNER, RESET_OWNER, SET_VRING_ERR, SET_PROTOCOL_FEATURES,
                             SET_VRING_ENABLE):
            raise ValueError(f"vhost-user request {request}")
        return None

    def start(self, index, kick):
        queue = self.queue[index]
        queue.start(self.memory, bool(self.negotiated & PACKED))
        queue.kick = kick
        self.selector.register(kick, selectors.EVENT_READ, lambda: self.kick(index))

    def kick(self, index):
        os.read(self.queue[index].kick, 8)
        self.kicked(index)

    def requests(self, index):
        """What the requests of queue INDEX have the device read, one after the other."""
        queue, done = self.queue[index], False
        while chain := queue.pop():
            content = chain.read()
            queue.push(chain, 0)
            done = True
            yield content
        if done:
            queue.notify()

    def stop(self, queue):
        if queue.kick is not None:
            self.selector.unregister(queue.kick)
            queue.kick = None


def serve(device, paths):
    """Listen on each of PATHS, one DEVICE per connection; does not return."""
    selector = selectors.DefaultSelector()
    for path in paths:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        selector.register(listener, selectors.EVENT_READ,
                          lambda s=listener: device(s.accept()[0], selector))
    while True:
        for key, _ in selector.select():
            key.data()
