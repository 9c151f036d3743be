#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A cable between two vhost-user network devices, which drops nothing.

usage: wire.py SOCKET SOCKET

Frames of transmit queue N of one arrive in receive queue N of the other, as they are:
checksums that the driver left to the device, and packets that it is to cut, are left
alone. A frame without room stays where it is until there is some. For each queue that
a frame came from it prints a line: "SOCKET queue N: LENGTH", once for each new largest
length.
"""

import struct
import sys

import vhost_user

VNET = 12
MRG_RXBUF = 1 << 15
# CSUM, GUEST_CSUM, MAC, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, CTRL_VQ, MQ
OFFERED = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 7 | 1 << 11 | MRG_RXBUF | 1 << 17 | 1 << 22
PAIRS = 8


class Device(vhost_user.Device):
    features = vhost_user.Device.features | OFFERED
    protocol = vhost_user.PROTOCOL_MQ
    queues = 2 * PAIRS
    ends = []

    def __init__(self, sock, selector):
        super().__init__(sock, selector)
        self.name = sock.getsockname()
        # Of each receive queue: buffers taken for a frame that needs more.
        self.taken = [[] for _ in range(PAIRS)]
        # Of each transmit queue: the request that has not been passed on.
        self.waiting = [None] * PAIRS
        self.largest = [0] * PAIRS
        self.ends.append(self)

    def peer(self):
        others = [end for end in self.ends if end is not self]
        return others[-1] if others else None

    def kicked(self, index):
        if index % 2:
            self.forward(index // 2)
        elif self.peer():
            self.peer().forward(index // 2)

    def forward(self, pair):
        """Pass on what the transmit queue has, as far as the peer has room."""
        queue, peer = self.queue[2 * pair + 1], self.peer()
        if queue.kick is None or not peer:
            return
        done = False
        while True:
            chain = self.waiting[pair] or queue.pop()
            self.waiting[pair] = chain
            if not chain:
                break
            frame = chain.read()
            if not peer.receive(pair, frame):
                break
            if len(frame) > self.largest[pair]:
                self.largest[pair] = len(frame)
                print(f"{self.name} queue {pair}: {len(frame)}", flush=True)
            self.waiting[pair] = None
            queue.push(chain, 0)
            done = True
        if done:
            queue.notify()
            peer.queue[2 * pair].notify()

    def receive(self, pair, frame):
        queue, chains = self.queue[2 * pair], self.taken[pair]
        if queue.kick is None:
            return False
        room = sum(chain.capacity() for chain in chains)
        while room < len(frame) and (self.negotiated & MRG_RXBUF or not chains):
            chain = queue.pop()
            if not chain:
                return False
            chains.append(chain)
            room += chain.capacity()
        if room < len(frame):
            raise ValueError(f"{len(frame)} bytes for a buffer of {room}")
        frame = frame[:VNET - 2] + struct.pack("<H", len(chains)) + frame[VNET:]
        used = []
        for chain in chains:
            part = frame[:chain.capacity()]
            frame = frame[len(part):]
            chain.write(0, part)
            used.append((chain, len(part)))
        # A driver that polls drops a frame of which it does not find all buffers.
        queue.push_together(used)
        chains.clear()
        return True

    def stop(self, queue):
        """Forget what was taken: QEMU is told how far it got, and makes no use of it."""
        pair = self.queue.index(queue) // 2
        if self.queue.index(queue) % 2:
            self.waiting[pair] = None
        else:
            self.taken[pair].clear()
        super().stop(queue)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    vhost_user.serve(Device, sys.argv[1:])


if __name__ == "__main__":
    main()
