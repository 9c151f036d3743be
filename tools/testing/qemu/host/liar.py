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

import struct
import sys
import zlib

import vhost_user

PROTOCOL = 0x88b5
MAGIC = 0x4c494152
MADE, ASKED = 1, 2
COMMAND, BUFFER, ANSWER = (struct.Struct(f) for f in (">2xIIII", ">III", ">2xIIIIIQI"))
VNET, ETHER = 12, 14

# No byte of it is zero.
PATTERN = bytes(1 + (i * 151 + (i >> 8) * 31) % 255 for i in range(1 << 18))


class Device(vhost_user.Device):
    # MTU, MRG_RXBUF
    features = vhost_user.Device.features | 1 << 3 | 1 << 15

    def __init__(self, sock, selector):
        super().__init__(sock, selector)
        self.total = self.dirty = 0

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
        rx = self.queue[0]
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

    def kicked(self, index):
        if index == 1:
            for frame in self.requests(index):
                self.command(frame)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    vhost_user.serve(Device, sys.argv[1:])


if __name__ == "__main__":
    main()
