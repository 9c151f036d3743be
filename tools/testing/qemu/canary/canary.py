#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Search what a backend has of a guest's memory for a string.

usage: canary.py search QMP-SOCKET DIRECTORY ROUND BASE+SIZE PID

Prints facts ("KEY VALUE" lines), the conclusions are evidence.py's:
  window     bytes of the window, which is at the guest-physical BASE
  searched   bytes that the process PID and its descendants have mapped of the
             guest's memory, each searched
  strings    how often the string in DIRECTORY/canary is there
  where      up to three of these places: offset in the window's file, what follows
  markers    how often the one in DIRECTORY/marker is
  sampled    bytes of the guest's private memory that were searched, ...
  in_sample  ... and of these, bytes that are the canary

What is mapped is found by device and inode and read through QEMU's own
descriptor of that file: that needs no right to trace the backend.
"""

import mmap
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", room) for room in ("isolation",)]
import evidence  # noqa: E402 (in another room)

# Bytes searched in one go.
PIECE = 16 << 20
# Bytes of a sample: the middle of private memory, without kernel and initrd.
SAMPLE = 32 << 20


def read_text(directory, name):
    with open(os.path.join(directory, name), "rb") as f:
        return f.read()


def descriptor(pid, obj):
    """An open file of process pid that is the object."""
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        path = os.path.join(folder, fd)
        try:
            st = os.stat(path)
        except FileNotFoundError:
            continue  # closed since
        if (os.major(st.st_dev), os.minor(st.st_dev), st.st_ino) == obj:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    raise evidence.EvidenceError(f"QEMU has no descriptor of {obj}")


class Search:
    def __init__(self, texts):
        self.texts = texts
        self.counts = [0] * len(texts)
        self.searched = 0
        self.where = []

    def search(self, memory, start, end):
        """memory[start:end], in pieces; a string across their border counts once."""
        for at in range(start, end, PIECE):
            upto = min(at + PIECE, end)
            self.searched += upto - at
            for number, text in enumerate(self.texts):
                data = memory[at:min(upto + len(text) - 1, end)]
                self.counts[number] += data.count(text)
                if number == 0 and len(self.where) < 3 and text in data:
                    place = data.index(text)
                    self.where.append((at + place, data[place:place + 32]))


def private_sample(guest, directory):
    """The middle of the largest piece of RAM that has no file behind it."""
    private = [r for r in guest.ram if not guest.file_behind(r[0])]
    if not private:
        return b""
    first, last = max(private, key=lambda r: r[1] - r[0])
    size = min(SAMPLE, last + 1 - first)
    path = os.path.join(directory, "sample")
    guest.monitor.command("pmemsave", val=first + (last + 1 - first - size) // 2, size=size,
                          filename=path)
    data = read_text(directory, "sample")
    os.unlink(path)
    return data


def search(path, directory, name, place, pid):
    base, size = place.split("+")
    canary, marker = (read_text(directory, n) for n in ("canary", "marker"))
    guest = evidence.Guest(path)
    window = guest.window(guest.address(base), int(size, 0))
    found = Search([canary, marker])
    for obj, ranges in evidence.mapped(int(pid), guest).items():
        if not ranges:
            continue
        fd = descriptor(guest.pid, obj)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as memory:
            os.close(fd)
            for start, end in evidence.joined(ranges):
                found.search(memory, start, end)
    sample = private_sample(guest, directory)
    facts = {"window": window.size, "searched": found.searched, "strings": found.counts[0],
             "markers": found.counts[1], "sampled": len(sample),
             "in_sample": sample.count(canary) * len(canary)}
    if found.where:
        facts["where"] = "; ".join(f"{at:#x} {text!r}" for at, text in found.where)
    for key, value in facts.items():
        print(f"canary.{name}.{key} {value}")


def main():
    if len(sys.argv) != 7 or sys.argv[1] != "search":
        sys.exit(__doc__.strip())
    try:
        search(*sys.argv[2:])
    except (evidence.EvidenceError, evidence.qmp.QMPError, OSError, ValueError) as e:
        sys.exit(f"canary.py: {e}")


if __name__ == "__main__":
    main()
