#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a virtio device finds in its queues, and whether that is in its window.

usage: rings.py SOCKET inside ID BASE SIZE
       rings.py SOCKET flip ID BASE SIZE

SOCKET is QEMU's monitor, ID the id= of the device. "inside" looks at the
rings, at every descriptor whether in use or not, and at the indirect tables of
the requests in flight. It prints one line of numbers, and what is outside
BASE+SIZE with exit status 1.

"flip" is what a hostile device can do: in every descriptor of a split ring it
inverts the NEXT flag. The ring has to be in a memory backend with a file of
SIZE bytes, at the guest-physical address BASE. The guest stands still meanwhile,
and QEMU has taken every request: it would believe the flags, too.
"""

import os
import socket
import struct
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", room) for room in ("engine",)]
import qmp  # noqa: E402 (in another room)

DESC = 16
NEXT, INDIRECT, AVAIL, USED = 1, 4, 1 << 7, 1 << 15


class Device:
    def __init__(self, monitor, ident):
        self.monitor = monitor
        paths = [d["path"] for d in monitor.command("x-query-virtio")]
        base = f"/machine/peripheral/{ident}"
        self.path = next((p for p in (base, base + "/virtio-backend") if p in paths), None)
        if not self.path:
            raise qmp.QMPError(f"no virtio device {ident}; there are: {' '.join(paths)}")
        status = monitor.command("x-query-virtio-status", path=self.path)
        self.packed = "VIRTIO_F_RING_PACKED" in str(status["guest-features"])
        self.queues = {}
        for number in range(status["num-vqs"]):
            queue = monitor.command("x-query-virtio-queue-status", path=self.path, queue=number)
            if queue["vring-desc"]:
                self.queues[number] = queue

    def memory(self, address, length):
        with tempfile.NamedTemporaryFile() as f:
            self.monitor.command("pmemsave", val=address, size=length, filename=f.name)
            data = f.read()
        if len(data) != length:
            raise qmp.QMPError(f"no memory at {address:#x}+{length:#x}")
        return data

    def table(self, address, length):
        """(address, length, flags, next) of each descriptor; next of split ones."""
        out = []
        for entry in struct.iter_unpack("<QIHH", self.memory(address, length - length % DESC)):
            at, size, first, second = entry
            out.append((at, size, second, 0) if self.packed else (at, size, first, second))
        return out

    def parts(self, queue):
        num = queue["vring-num"]
        sizes = {"desc": num * DESC, "avail": 4 if self.packed else 6 + 2 * num,
                 "used": 4 if self.packed else 6 + 8 * num}
        return [(part, queue["vring-" + part], size) for part, size in sizes.items()]

    def in_flight(self, queue, table):
        """Descriptors of requests in flight.

        Taken to complete in order, or not to have begun to complete since the
        queue was last empty: a split ring does not say more. A packed one has
        them where the available bit differs from the used bit.
        """
        if self.packed:
            return [d for d in table if bool(d[2] & AVAIL) != bool(d[2] & USED)]
        num = queue["vring-num"]
        avail = struct.unpack(f"<{num + 2}H", self.memory(queue["vring-avail"], 4 + 2 * num))
        end, at = avail[1], struct.unpack("<HH", self.memory(queue["vring-used"], 4))[1]
        live = []
        while at != end and len(live) <= num:
            head = avail[2 + at % num]
            for _ in range(num):
                live.append(table[head % num])
                if not table[head % num][2] & NEXT:
                    break
                head = table[head % num][3]
            at = (at + 1) & 0xffff
        return live


def inside(device, base, size):
    end = base + size
    seen, flying, indirect, outside = 0, 0, 0, []

    def look(number, what, address, length):
        nonlocal seen
        seen += 1
        if not base <= address <= address + length <= end:
            outside.append(f"queue {number}: {what} at {address:#x}, {length:#x} bytes")
            return False
        return True

    for number, queue in device.queues.items():
        for part, address, length in device.parts(queue):
            look(number, part, address, length)
        table = device.table(queue["vring-desc"], queue["vring-num"] * DESC)
        for address, length, _, _ in table:
            if address or length:
                look(number, "descriptor", address, length)
        for address, length, flags, _ in device.in_flight(queue, table):
            flying += 1
            if flags & INDIRECT and base <= address <= address + length <= end:
                for entry in device.table(address, length):
                    indirect += 1
                    look(number, "indirect descriptor", entry[0], entry[1])
    print(f"{seen} addresses, {flying} in flight, {indirect} in indirect tables, "
          f"{len(outside)} outside")
    for line in outside[:5]:
        print(line)
    return 1 if outside or not seen else 0


def backing_file(pid, size):
    """The descriptor of QEMU's only memory backend of that size."""
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        path = os.path.join(folder, fd)
        try:
            if "memory-backend" in os.readlink(path) and os.stat(path).st_size == size:
                return os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
    raise qmp.QMPError(f"QEMU has no memory backend of {size} bytes")


def all_taken(device):
    """Whether QEMU has read every request that the driver has made available."""
    for number, queue in device.queues.items():
        state = device.monitor.command("x-query-virtio-queue-status", path=device.path,
                                       queue=number)
        index = struct.unpack("<HH", device.memory(queue["vring-avail"], 4))[1]
        if state["last-avail-idx"] != index:
            return False
    return True


def flip(device, pid, base, size):
    for _ in range(100):
        device.monitor.command("stop")
        if all_taken(device):
            break
        device.monitor.command("cont")
        time.sleep(0.1)
    else:
        raise qmp.QMPError(f"{device.path} leaves requests in its queues")
    try:
        return flip_all(device, pid, base, size)
    finally:
        device.monitor.command("cont")


def flip_all(device, pid, base, size):
    fd = backing_file(pid, size)
    flipped = 0
    for queue in device.queues.values():
        where = queue["vring-desc"] - base
        for number in range(queue["vring-num"]):
            at = where + number * DESC + 12
            flags = struct.unpack("<H", os.pread(fd, 2, at))[0]
            os.pwrite(fd, struct.pack("<H", flags ^ NEXT), at)
            flipped += 1
    os.close(fd)
    print(f"{flipped} descriptors changed")
    return 0


def main():
    if len(sys.argv) != 6 or sys.argv[2] not in ("inside", "flip"):
        sys.exit(__doc__.strip())
    _, path, what, ident, base, size = sys.argv
    try:
        monitor = qmp.QMP.connect(path)
        device = Device(monitor, ident)
        if what == "inside":
            sys.exit(inside(device, int(base, 0), int(size, 0)))
        peer = monitor.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        sys.exit(flip(device, struct.unpack("3i", peer)[0], int(base, 0), int(size, 0)))
    except (qmp.QMPError, OSError, struct.error, ValueError) as e:
        sys.exit(f"rings.py: {e}")


if __name__ == "__main__":
    main()
