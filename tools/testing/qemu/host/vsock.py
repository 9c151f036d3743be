#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A vhost-user vsock device whose host sends back whatever arrives.

usage: vsock.py SOCKET...

The Nth socket's guest has the CID 3 + N. Any port of CID 2 can be connected to. Split or
packed rings, as QEMU has it.
"""

import struct
import sys

import vhost_user

HOST = 2
# struct virtio_vsock_hdr
HEADER = struct.Struct("<QQIIIHHIII")
STREAM = 1
REQUEST, RESPONSE, RST, SHUTDOWN, RW, UPDATE, CREDIT = range(1, 8)
RX, TX = 0, 1
# What the guest may send before it is told that some went back.
CREDITS = 65536
# The largest payload that is sent: more than the driver's buffers take.
PAYLOAD = 65536


class Connection:
    def __init__(self, guest_port, host_port):
        self.ports = host_port, guest_port
        self.data = bytearray()
        # Bytes taken from the guest, sent to it, read by it; what it has room for.
        self.taken = self.sent = self.read = self.room = 0
        # The operations that are to be sent before data.
        self.pending = []
        self.ending = False

    def credit(self):
        return self.room - (self.sent - self.read)


class Device(vhost_user.Device):
    protocol = vhost_user.PROTOCOL_CONFIG
    cids = iter(range(3, 1000))

    def __init__(self, sock, selector):
        self.cid = next(self.cids)
        self.config = struct.pack("<Q", self.cid)
        self.connections = {}
        super().__init__(sock, selector)

    def kicked(self, index):
        if index == TX:
            for packet in self.requests(TX):
                self.packet(packet)
        self.answer()

    def packet(self, packet):
        _, _, port, host_port, length, kind, op, _, room, read = HEADER.unpack_from(packet)
        data = packet[HEADER.size:HEADER.size + length]
        if kind != STREAM or len(data) != length:
            raise ValueError(f"a packet of type {kind}, {len(data)} bytes of {length}")
        key = port, host_port
        if op == REQUEST:
            self.connections[key] = Connection(port, host_port)
            self.connections[key].pending.append(RESPONSE)
        conn = self.connections.get(key)
        if not conn:
            return
        conn.room, conn.read = room, read
        if op == RW:
            conn.data += data
            if len(conn.data) > CREDITS:
                raise ValueError("the guest sends more than it was given credit for")
        elif op == CREDIT:
            conn.pending.append(UPDATE)
        elif op == SHUTDOWN:
            conn.ending = True
        elif op == RST:
            del self.connections[key]

    def answer(self):
        """Send what there is to be sent, as far as there are receive buffers."""
        done = False
        for key, conn in list(self.connections.items()):
            while True:
                if conn.pending:
                    op, most = conn.pending[0], 0
                elif conn.data and conn.credit() > 0:
                    op, most = RW, min(len(conn.data), conn.credit(), PAYLOAD)
                elif conn.ending and not conn.data:
                    op, most = RST, 0
                else:
                    break
                if not self.send(conn, op, most):
                    break
                done = True
                if op == RST:
                    del self.connections[key]
                    break
        if done:
            self.queue[RX].notify()

    def send(self, conn, op, most):
        if self.queue[RX].kick is None:
            return False
        chain = self.queue[RX].pop()
        if not chain:
            return False
        size = min(most, chain.capacity() - HEADER.size)
        data = bytes(conn.data[:size])
        del conn.data[:size]
        conn.sent += size
        conn.taken += size
        if conn.pending:
            conn.pending.pop(0)
        chain.write(0, HEADER.pack(HOST, self.cid, *conn.ports, size, STREAM, op, 0, CREDITS,
                                   conn.taken & 0xffffffff) + data)
        self.queue[RX].push(chain, HEADER.size + size)
        return True


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    vhost_user.serve(Device, sys.argv[1:])


if __name__ == "__main__":
    main()
