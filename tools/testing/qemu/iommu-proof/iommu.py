#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU's trace of a virtio-iommu says, and a search of what it lets through.

usage: iommu.py search QMP-SOCKET TRACE DIRECTORY KEY ENDPOINT

Prints facts ("KEY VALUE" lines) on what the device behind ENDPOINT may read at
this moment; the conclusions are evidence.py's:
  KEY.readable  bytes of guest memory
  KEY.strings   how often the string in DIRECTORY/canary is there
  KEY.markers   how often the one in DIRECTORY/marker is

The trace is of the events in EVENTS, as QEMU's backend "log" writes them.
"""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", room) for room in ("engine",)]
import qmp  # noqa: E402 (in another room)

FIELDS = re.compile(r"(\w+)[= ](0x[0-9a-f]+|\d+)")
SWITCH = re.compile(r"Device ([0-9a-f]+):([0-9a-f]+)\.([0-7]) .*enabled=([01])")
# Events of the trace, each with a field that must be there.
EVENTS = {
    "virtio_iommu_system_reset": None,
    "virtio_iommu_switch_address_space": "enabled",
    "virtio_iommu_attach": "endpoint",
    "virtio_iommu_map": "phys_start",
    "virtio_iommu_unmap": "virt_end",
    "virtio_iommu_unmap_done": "virt_end",
    "virtio_iommu_put_domain": "domain",
    "virtio_iommu_report_fault": "endpoint",
    "virtio_blk_handle_read": "nsectors",
    "virtio_blk_handle_write": "nsectors",
}
# Flags of a mapping.
READ, WRITE = 1, 2


class TraceError(Exception):
    pass


def fields(name, text):
    m = SWITCH.match(text)
    if m:
        bus, slot, function = (int(m[i], 16) for i in (1, 2, 3))
        return {"endpoint": bus << 8 | slot << 3 | function, "enabled": int(m[4])}
    if name == "virtio_iommu_put_domain":
        text = text.replace("Free domain", "domain")
    return {key: int(value, 0) for key, value in FIELDS.findall(text)}


def read_trace(path):
    """(offset in the file, event, fields) of each line that is of interest."""
    events, at = [], 0
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            name, _, text = line.rstrip("\n").partition(" ")
            if name in EVENTS:
                found = fields(name, text)
                if EVENTS[name] and EVENTS[name] not in found:
                    raise TraceError(f"{path}: not understood: {line.strip()}")
                events.append((at, name, found))
            at += len(line.encode())
    return events


class Mapping:
    def __init__(self, values):
        self.start, self.phys = values["virt_start"], values["phys_start"]
        self.size = values["virt_end"] + 1 - self.start
        self.flags = values["flags"]

    def ram(self):
        return self.phys, self.phys + self.size


class Endpoint:
    """A device, while the trace is followed."""

    def __init__(self, number):
        self.number = number
        self.domain = None
        self.attached = 0
        # Did the endpoint ever go past the IOMMU?
        self.bypassed = False
        # Mappings by their start. A domain begins with an attach of its first device.
        self.mappings = {}
        self._domains = {}
        self._running = False

    def mine(self, values):
        return self.domain is not None and values.get("domain") == self.domain

    def event(self, name, values):
        if name == "virtio_iommu_system_reset":
            # Events before the reset are of a machine that is being put together.
            self._running = True
        elif name == "virtio_iommu_switch_address_space":
            if values["endpoint"] == self.number and self._running and not values["enabled"]:
                self.bypassed = True
        elif name == "virtio_iommu_attach":
            if values["endpoint"] == self.number:
                self.attached += 1
                self.domain = values["domain"]
                self.mappings = self._domains.setdefault(self.domain, {})
        elif name == "virtio_iommu_map":
            self._domains.setdefault(values["domain"], {})[values["virt_start"]] = Mapping(values)
        elif name == "virtio_iommu_unmap_done":
            gone = self._domains.get(values["domain"], {}).pop(values["virt_start"], None)
            if not gone or gone.start + gone.size - 1 != values["virt_end"]:
                raise TraceError(f"unmapped, but was not mapped: {values}")
        elif name == "virtio_iommu_put_domain":
            self._domains.pop(values["domain"], {}).clear()


def joined(ranges):
    """The same bytes as the (start, end) ranges, none twice."""
    out = []
    for start, end in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1][1] = max(out[-1][1], end)
        else:
            out.append([start, end])
    return out


def search(path, trace, directory, key, number):
    endpoint = Endpoint(int(number, 0))
    for _, name, values in read_trace(trace):
        endpoint.event(name, values)
    readable = joined(m.ram() for m in endpoint.mappings.values() if m.flags & READ)
    texts = {}
    for name in ("canary", "marker"):
        with open(os.path.join(directory, name), "rb") as f:
            texts[name] = f.read()
    counts = dict.fromkeys(texts, 0)
    monitor = qmp.QMP.connect(path)
    piece = os.path.join(directory, "piece")
    for start, end in readable:
        monitor.command("pmemsave", val=start, size=end - start, filename=piece)
        with open(piece, "rb") as f:
            data = f.read()
        os.unlink(piece)
        if len(data) != end - start:
            raise TraceError(f"no memory at {start:#x}-{end:#x}")
        for name, text in texts.items():
            counts[name] += data.count(text)
    print(f"{key}.readable {sum(end - start for start, end in readable)}")
    print(f"{key}.strings {counts['canary']}")
    print(f"{key}.markers {counts['marker']}")


def main():
    if len(sys.argv) != 7 or sys.argv[1] != "search":
        sys.exit(__doc__.strip())
    try:
        search(*sys.argv[2:])
    except (TraceError, qmp.QMPError, OSError, ValueError) as e:
        sys.exit(f"iommu.py: {e}")


if __name__ == "__main__":
    main()
