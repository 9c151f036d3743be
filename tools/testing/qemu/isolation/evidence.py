#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What backends have of a guest's memory, and what follows from it.

usage: evidence.py look QMP-SOCKET PHASE NAME=BASE+SIZE=PID[,GUARD-PID]...
       evidence.py claims DIRECTORY NAME...
       evidence.py control DIRECTORY NAME...
       evidence.py leaks DIRECTORY NAME=BYTES,DESCRIPTORS...
       evidence.py canary DIRECTORY window|mainline
       evidence.py iommu DIRECTORY
       evidence.py table TSV DIRECTORY...

look    prints facts ("KEY VALUE" lines) on the backends NAME, whose windows
        are at the guest-physical BASE: what of the guest's memory the process
        PID and its descendants have mapped or hold a descriptor of. BASE may be
        bar:ID, the largest BAR of the device ID.
claims  prints one KTAP result per claim on the facts in DIRECTORY/facts, and
        writes DIRECTORY/evidence.tsv. Exit status 1: a claim does not hold.
control the same for a run without windows: each backend must have refused.
leaks   the same for a run that is open on purpose: so many BYTES mapped of other
        guest memory, and so many DESCRIPTORS open, must have been found, and the
        claims of isolation must not hold.
canary  the same for searches of a stopped backend (canary.py): nothing may be
        found in a window, something must be found in mainline's pool.
iommu   the same for QEMU's trace of a virtio-iommu (iommu.py), DIRECTORY/trace.
table   puts the evidence.tsv of several directories together, into TSV and
        as a table for people.

A memory object is known by device and inode: names prove nothing, since every
memfd of QEMU has the same. Which object is behind a guest-physical address,
QEMU itself says (its own mapping there, by "gpa2hva").
"""

import os
import re
import socket
import stat
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", room) for room in ("engine", "iommu-proof")]
import qmp  # noqa: E402 (in another room)
from iommu import READ, WRITE, Endpoint, TraceError, joined, read_trace  # noqa: E402

MAPS_LINE = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)\s*(.*)")
FLAT_RAM = re.compile(r"^\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ram\): (\S+)")
HOST_ADDRESS = re.compile(r"Host virtual address for .* is (0x[0-9a-f]+)")
# Where boards have their RAM, by QEMU's name of the architecture; below it "virt" has
# flash, which is no memory of the guest.
RAM_BASE = {"aarch64": 0x40000000, "x86_64": 0}
# Backends that take no single regions: to make tables, a guard keeps those that passed.
ONLY_TABLES = {"net"}


class EvidenceError(Exception):
    pass


class Mapping:
    def __init__(self, match):
        self.start, self.end = int(match[1], 16), int(match[2], 16)
        self.offset = int(match[4], 16)
        self.object = (int(match[5], 16), int(match[6], 16), int(match[7]))
        self.path = match[8]


def mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
        return [Mapping(m) for m in map(MAPS_LINE.match, f) if m]


def descriptors(pid):
    """The object of each open descriptor."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            st = os.stat(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue  # closed since
        if stat.S_ISREG(st.st_mode):
            found.append((os.major(st.st_dev), os.minor(st.st_dev), st.st_ino))
    return found


def family(pid):
    """A process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                parent = int(f.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def union(ranges):
    """How many bytes the (start, end) ranges cover together."""
    return sum(end - start for start, end in joined(ranges))


class Window:
    """A range of the guest's memory, and where in which object it is."""

    def __init__(self, obj, offset, size, whole):
        self.object, self.offset, self.size = obj, offset, size
        # A descriptor gives all of the object: is that more than the window?
        self.whole = whole


class Guest:
    """QEMU's own account of where it keeps the guest's memory."""

    def __init__(self, path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(path)
        creds = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid = struct.unpack("3i", creds)[0]
        self.monitor = qmp.QMP(sock)
        self.maps = mappings(self.pid)
        # (first, last) of each piece of guest RAM.
        self.ram = set()
        ram_base = RAM_BASE[self.monitor.command("query-target")["arch"]]
        for m in map(FLAT_RAM.match, self._hmp("info mtree -f").splitlines()):
            if m and int(m[1], 16) >= ram_base:
                self.ram.add((int(m[1], 16), int(m[2], 16)))
        if not self.ram:
            raise EvidenceError("QEMU's memory map (info mtree -f) shows no RAM")
        # Bytes of guest memory in each object; private memory has none.
        self.objects = {}
        for first, last in self.ram:
            obj = self._place(first)[0]
            if obj:
                self.objects[obj] = self.objects.get(obj, 0) + last + 1 - first

    def _hmp(self, line):
        return self.monitor.command("human-monitor-command", **{"command-line": line})

    def _place(self, address):
        """(object, offset) of a guest-physical address; None: private."""
        m = HOST_ADDRESS.match(self._hmp(f"gpa2hva {address:#x}"))
        if not m:
            raise EvidenceError(f"QEMU does not say where guest address {address:#x} is")
        at = int(m[1], 16)
        for mapping in self.maps:
            if mapping.start <= at < mapping.end:
                return (mapping.object if mapping.object[2] else None,
                        mapping.offset + at - mapping.start)
        raise EvidenceError(f"QEMU has nothing mapped at {at:#x}")

    def file_behind(self, address):
        return self._place(address)[0]

    def address(self, text):
        """A guest-physical address: a number, or of a device's largest BAR."""
        if not text.startswith("bar:"):
            return int(text, 0)
        ident = text.removeprefix("bar:")
        for bus in self.monitor.command("query-pci"):
            for device in bus["devices"]:
                if device["qdev_id"] == ident and device["regions"]:
                    return max(device["regions"], key=lambda r: r["size"])["address"]
        raise EvidenceError(f"QEMU has no PCI device {ident} with a BAR")

    def window(self, base, size):
        if not any(first <= base and base + size - 1 <= last for first, last in self.ram):
            raise EvidenceError(f"no RAM at the window {base:#x}+{size:#x}")
        obj, offset = self._place(base)
        if not obj:
            raise EvidenceError(f"the window {base:#x}+{size:#x} is private memory of QEMU")
        return Window(obj, offset, size, self.objects[obj] == size)


def mapped(pid, guest):
    """The (start, end) of what pid's family has mapped of each of QEMU's objects."""
    ranges = {o: [] for o in guest.objects}
    for member in family(pid):
        for m in mappings(member):
            if m.object in ranges:
                ranges[m.object].append((m.offset, m.offset + m.end - m.start))
    return ranges


def look_at(pid, guest, window):
    """(own, other) bytes mapped, (own, other) descriptors of pid's family."""
    ranges = mapped(pid, guest)
    fds = [o for member in family(pid) for o in descriptors(member) if o in guest.objects]
    end = window.offset + window.size
    own = union([(max(a, window.offset), min(b, end)) for a, b in ranges[window.object]])
    own_fds = fds.count(window.object) if window.whole else 0
    return own, sum(map(union, ranges.values())) - own, own_fds, len(fds) - own_fds


def look(path, phase, *backends):
    guest = Guest(path)
    for spec in backends:
        name, place, pids = spec.split("=")
        base, size = place.split("+")
        pid, *guards = (int(p) for p in pids.split(","))
        window = guest.window(guest.address(base), int(size, 0))
        key = f"look.{phase}.{name}"
        for who, where in [(pid, key)] + [(g, key + ".guard") for g in guards]:
            facts = look_at(who, guest, window)
            for what, value in zip(("own_mapped", "other_mapped", "own_fds", "other_fds"), facts):
                print(f"{where}.{what} {value}")
        print(f"{name}.process {os.path.basename(os.readlink(f'/proc/{pid}/exe'))}")
        print(f"{name}.pid {pid}")


class Facts:
    """The "KEY VALUE" lines of a run; the last word on a key counts."""

    def __init__(self, directory):
        self.all = {}
        with open(os.path.join(directory, "facts"), encoding="utf-8") as f:
            for line in f:
                key, _, value = line.rstrip("\n").partition(" ")
                self.all[key] = value

    def text(self, key):
        return self.all.get(key, "")

    def number(self, key):
        """A count; one that is missing is never what a claim wants."""
        try:
            return int(self.all[key], 0)
        except (KeyError, ValueError):
            return -1

    def looks(self, name, what):
        """The same number as found by each look."""
        return [self.number(k) for k in self.all
                if re.fullmatch(rf"look\.[^.]+\.{re.escape(name)}\.{what}", k)]


# Bytes moved during a look from which on they are data, not housekeeping.
BUSY = 256 << 10
# The two ways that data goes.
WAYS = ("to_guest", "to_host")


def sums(facts, name):
    """Pairs of sums that must be equal: of both sides for both ways, or for a
    backend that echoes of what went out and what came back."""
    if facts.text(f"{name}.sent"):
        return [(facts.text(f"{name}.sent"), facts.text(f"{name}.echoed"))]
    return [(facts.text(f"{name}.{way}.host"), facts.text(f"{name}.{way}.guest"))
            for way in WAYS]


def verified(facts, name):
    return all(re.fullmatch(r"[0-9a-f]{64}", a) and a == b for a, b in sums(facts, name))


def backend_evidence(facts, name):
    """The keys of evidence.tsv for one backend; -1 is "not known"."""
    own = facts.looks(name, "own_mapped") or [-1]
    other = facts.looks(name, "other_mapped") or [-1]
    # All reasons to fail that the window counts; "full" is always among them.
    fails = [facts.number(k) for k in facts.all if k.startswith(f"{name}.fail_")]
    return {
        "process": facts.text(f"{name}.process"),
        # Of all looks the worst.
        "guest_bytes_mapped": max(o + f for o, f in zip(own, other)),
        "foreign_bytes_mapped": max(other),
        "foreign_descriptors": max(facts.looks(name, "other_fds") or [-1]),
        "window_bytes": facts.number(f"{name}.size"),
        "bytes_moved": facts.number(f"{name}.moved"),
        "sha256_ok": "yes" if verified(facts, name) else "no",
        "bounces": facts.number(f"{name}.maps"),
        "bytes_in": facts.number(f"{name}.bytes_in"),
        "bytes_out": facts.number(f"{name}.bytes_out"),
        "high_water": facts.number(f"{name}.high_water"),
        "map_failures": (sum(fails) if min(fails, default=-1) >= 0 and
                         f"{name}.fail_full" in facts.all else -1),
    }


class Claims:
    def __init__(self):
        self.results = []

    def claim(self, holds, text, found):
        self.results.append((bool(holds), text, found))

    def print(self):
        print(f"KTAP version 1\n1..{len(self.results)}")
        for number, (holds, text, found) in enumerate(self.results, 1):
            print(f"# {found}")
            print(f"{'ok' if holds else 'not ok'} {number} {text}")
        return all(holds for holds, _, _ in self.results)


def claim_backend(c, facts, name, e):
    window, moved = e["window_bytes"], e["bytes_moved"]
    own = facts.looks(name, "own_mapped")
    c.claim(len(own) >= 2 and window > 0 and set(own) == {window} and
            e["guest_bytes_mapped"] == window and e["foreign_bytes_mapped"] == 0,
            f"{name}: the backend maps its window and nothing else of the guest",
            f"window {window}, mapped of it {own}, of other guest memory "
            f"{facts.looks(name, 'other_mapped')}")
    c.claim(e["foreign_descriptors"] == 0,
            f"{name}: the backend has no other guest memory open",
            f"descriptors {facts.looks(name, 'other_fds')}")
    if facts.looks(name, "guard.own_mapped"):
        held = [n for what in ("own_mapped", "other_mapped", "other_fds")
                for n in facts.looks(name, "guard." + what)]
        fds = facts.looks(name, "guard.own_fds")
        kept, what = (1, " but one descriptor") if name in ONLY_TABLES else (0, "")
        c.claim(set(held) == {0} and set(fds) == {kept},
                f"{name}: the guard itself keeps no guest memory{what}",
                f"bytes and descriptors {held}, of the window {fds}")
    busy = [facts.number(f"{name}.copied_{when}_look") for when in ("before", "after")]
    c.claim(busy[0] >= 0 and busy[1] - busy[0] >= BUSY, f"{name}: that was seen while data moved",
            f"bytes copied before and after the look: {busy}")
    c.claim(e["sha256_ok"] == "yes" and moved > 0,
            f"{name}: data verified " + ("after the way there and back"
                                         if facts.text(f"{name}.sent") else "on both sides"),
            f"{moved} bytes, sums " + ", ".join(f"{a[:12] or 'missing'} {b[:12] or 'missing'}"
                                                for a, b in sums(facts, name)))
    c.claim(e["bounces"] > 0, f"{name}: bounces > 0", f"bounces {e['bounces']}")
    # As counted right after the verified data, before any other I/O.
    half = {way: facts.number(f"{name}.{way}.bytes") for way in WAYS}
    copied = {way: facts.number(f"{name}.{way}.copied") for way in WAYS}
    c.claim(all(0 < half[way] <= copied[way] for way in WAYS),
            f"{name}: every byte went through the window",
            ", ".join(f"{way} {half[way]}, copied {copied[way]}" for way in WAYS))
    c.claim(0 < e["high_water"] <= window, f"{name}: high-water mark within the window",
            f"{e['high_water']} of {window}")
    c.claim(e["map_failures"] == 0, f"{name}: no mapping failed", f"failures {e['map_failures']}")


def write_tsv(path, evidence):
    with open(path, "w", encoding="utf-8") as f:
        for key, value in evidence:
            f.write(f"{key}\t{value}\n")


def claims(directory, *names):
    facts = Facts(directory)
    c = Claims()
    out = []
    for name in names:
        e = backend_evidence(facts, name)
        claim_backend(c, facts, name, e)
        out += [(f"{name}.{key}", value) for key, value in e.items()]
    write_tsv(os.path.join(directory, "evidence.tsv"), out)
    if not c.print():
        sys.exit(1)


def control(directory, *names):
    facts = Facts(directory)
    c = Claims()
    out = []
    for name in names:
        refusal, done = facts.text(f"control.{name}.refusal"), facts.number(f"control.{name}.done")
        c.claim(refusal, f"control: without a window {name}'s backend refuses",
                refusal or "it said nothing")
        c.claim(done == 0, f"control: without a window {name} gets no I/O done",
                f"bytes {done}")
        out.append((f"control.{name}", refusal or "not refused"))
    refused = bool(names) and all(holds for holds, _, _ in c.results)
    write_tsv(os.path.join(directory, "evidence.tsv"),
              [("control.refused", "yes" if refused else "no")] + out)
    if not c.print():
        sys.exit(1)


def leaks(directory, *specs):
    facts = Facts(directory)
    c = Claims()
    for spec in specs:
        name, _, expected = spec.partition("=")
        mapped, fds = (int(n) for n in expected.split(","))
        e = backend_evidence(facts, name)
        found = [facts.looks(name, what) for what in ("other_mapped", "other_fds")]
        c.claim(found == [[mapped] * 2, [fds] * 2],
                f"{name}: {size_text(mapped)} of other guest memory in the backend are seen",
                "bytes {}, descriptors {}".format(*found))
        ordinary = Claims()
        claim_backend(ordinary, facts, name, e)
        # Isolation is claims 1 and 2; nothing else may be at fault.
        fails = [n for n, (holds, _, _) in enumerate(ordinary.results, 1) if not holds]
        c.claim(fails == ([1, 2] if fds else [1]), f"{name}: the claim of isolation fails on it",
                "; ".join(ordinary.results[n - 1][1] for n in fails) or "none fails")
    if not c.print():
        sys.exit(1)


# Bytes of a line; each line that the guest writes has the marker.
CANARY_LINE = 32
# Part of a sample of the guest's private memory that is at least the string; the
# rest is the kernel, and memory that the load has used.
ENOUGH = 1 / 4


def canary(directory, kind):
    facts = Facts(directory)
    c = Claims()
    rounds = sorted(m[1] for m in (re.fullmatch(r"canary\.([^.]+)\.reads_before", k)
                                   for k in facts.all) if m)
    c.claim("freed" in rounds and len(rounds) > 1,
            f"canary: {kind}: searched when the string was freed, and while it is alive",
            f"searches: {' '.join(rounds) or 'none'}")
    found = {"freed": -1, "alive": -1}
    for name in rounds:
        key = f"canary.{name}"
        n = {what: facts.number(f"{key}.{what}") for what in (
            "window", "searched", "strings", "markers", "reads_before", "reads_after",
            "sampled", "in_sample")}
        label = f"canary: {kind}: {name}"
        c.claim(facts.text(f"{key}.state") == "T T" and
                0 < n["reads_before"] <= n["reads_after"],
                f"{label}: the backend was stopped, with reads in flight",
                f"state {facts.text(key + '.state') or '?'}, reads {n['reads_before']} and "
                f"{n['reads_after']}, writes {facts.text(key + '.writes_before') or '?'}")
        c.claim(0 < n["window"] == n["searched"],
                f"{label}: all that it has mapped of the guest was searched, its window",
                f"{n['searched']} bytes of {n['window']}")
        c.claim(n["markers"] > 0, f"{label}: the search finds what the guest writes",
                f"{n['markers']} strings")
        c.claim(n["in_sample"] >= n["sampled"] * ENOUGH > 0,
                f"{label}: the guest's own memory is full of the string",
                f"{size_text(n['in_sample'])} of {size_text(n['sampled'])}")
        phase = name.rstrip("0123456789")
        if n["strings"] >= 0:
            found[phase] = max(found.get(phase, -1), 0) + n["strings"]
        where = facts.text(f"{key}.where")
        if kind == "window":
            c.claim(n["strings"] == 0, f"{label}: not one such string in what the backend has",
                    f"{n['strings']} strings {where and 'at ' + where}")
    if kind != "window":
        for phase, number in found.items():
            c.claim(number > 0, f"canary: {kind}: {phase}: the string is found",
                    f"{number} strings")
    c.claim(facts.text("canary.written") == "yes" and facts.number("canary.on_disk") == 0,
            f"canary: {kind}: the disk has what was written, and never had the string",
            f"right: {facts.text('canary.written') or '?'}, "
            f"strings on the disk: {facts.text('canary.on_disk') or '?'}")
    write_tsv(os.path.join(directory, "evidence.tsv"),
              [(f"canary.{kind}", found["freed"]), (f"canary.{kind}_alive", found["alive"])])
    if not c.print():
        sys.exit(1)


SECTOR = 512
# The sizes of I/O: of a page, and larger than any copybreak that is of use.
SMALL, LARGE = 4 << 10, 256 << 10


class Phase:
    """What happened between two cuts of the trace, to one device."""

    def __init__(self):
        # One request to unmap may end several mappings.
        self.maps, self.unmaps, self.unmapped = [], 0, 0
        # Bytes of each request to the disk, which must be one and the same.
        self.reads, self.writes, self.disks = [], [], set()
        # Most bytes that the device could reach at once, in all and outside the window.
        self.reach = self.outside = 0

    def io(self):
        return self.reads + self.writes

    def requests(self):
        return len(self.maps) + self.unmaps


class Recorded:
    """What the trace says of the device NAME."""

    def __init__(self, events, facts, name, window):
        self.endpoint = Endpoint(facts.number(f"{name}.endpoint"))
        self.faults = 0
        # Phases until the first cut and between two cuts, and the whole trace.
        self.before, self.small, self.large, self.all = (Phase() for _ in range(4))
        cuts = {phase: [facts.number(f"cut.{name}.{what}.{end}") for end in ("begin", "end")]
                for what, phase in (("small", self.small), ("large", self.large))}
        end = cuts[self.large][1]
        order = cuts[self.small] + cuts[self.large]
        if order[0] <= 0 or not order[0] < order[1] <= order[2] < order[3]:
            raise EvidenceError(f"{name}: the trace has no such cuts: {order}")
        for at, event, values in events:
            if at >= end:
                break
            self.endpoint.event(event, values)
            # Mappings that exist when a phase begins can be reached in this phase, too.
            now = [self.all] + [p for p, (a, b) in cuts.items() if a <= at < b]
            if at < order[0]:
                now.append(self.before)
            for phase in now:
                self.record(phase, event, values, window)
        # Mappings that exist at the end of the trace are left.
        self.left = joined(m.ram() for m in self.endpoint.mappings.values())

    def record(self, phase, event, values, window):
        if event == "virtio_iommu_report_fault":
            self.faults += values["endpoint"] == self.endpoint.number and phase is self.all
        elif event in ("virtio_blk_handle_read", "virtio_blk_handle_write"):
            which = phase.reads if event.endswith("read") else phase.writes
            which.append(values["nsectors"] * SECTOR)
            phase.disks.add(values["vdev"])
        elif self.endpoint.mine(values):
            if event == "virtio_iommu_map":
                phase.maps.append(self.endpoint.mappings[values["virt_start"]])
            elif event == "virtio_iommu_unmap":
                phase.unmaps += 1
            elif event == "virtio_iommu_unmap_done":
                phase.unmapped += 1
        ranges = [m.ram() for m in self.endpoint.mappings.values()]
        total = union(ranges)
        phase.reach = max(phase.reach, total)
        phase.outside = max(phase.outside, union(ranges + [window]) - (window[1] - window[0]))


def claim_large(c, facts, name, r):
    """What was in flight when the host searched: without it, it proves nothing."""
    size = facts.number(f"{name}.large.bytes")
    writes, markers = (facts.number(f"{name}.search.{what}") for what in ("writes", "markers"))
    c.claim(writes > 0 and markers >= size // CANARY_LINE > 0,
            f"{name}: searched with large writes in flight, all of their data found",
            f"{writes} requests, {markers} lines of data of {size // CANARY_LINE} in "
            f"{facts.number(f'{name}.search.readable')} bytes")
    c.claim(facts.text(f"{name}.large.written") == "yes" and max(r.large.io(), default=0) >= LARGE,
            f"{name}: large data verified on both sides",
            f"right: {facts.text(f'{name}.large.written') or '?'}, "
            f"{sum(r.large.io())} bytes, largest request {max(r.large.io(), default=0)}")


def claim_small(c, facts, name, r):
    sizes = set(r.small.io())
    c.claim(sizes == {SMALL} and len(r.small.disks) == 1 and r.small.reads and r.small.writes and
            verified(facts, name),
            f"{name}: small data verified on both sides",
            f"{len(r.small.reads)} reads and {len(r.small.writes)} writes of "
            f"{'/'.join(map(str, sorted(sizes))) or '?'} bytes, sums " +
            ", ".join(f"{a[:12] or 'missing'} {b[:12] or 'missing'}"
                      for a, b in sums(facts, name)))


def iommu(directory):
    facts = Facts(directory)
    base, size = facts.number("iommu.base"), facts.number("iommu.size")
    window = (base, base + size)
    events = read_trace(os.path.join(directory, "trace"))
    r, plain = (Recorded(events, facts, name, window) for name in ("iommu", "plain"))
    strings = {name: facts.number(f"{name}.search.strings") for name in ("iommu", "plain")}
    c = Claims()

    first = [(m.ram(), m.flags) for m in r.before.maps]
    c.claim(r.endpoint.attached == 1 and not r.endpoint.bypassed,
            "iommu: the device never goes past the IOMMU",
            f"attached {r.endpoint.attached} times, bypassed: {r.endpoint.bypassed}")
    c.claim(first == [(window, READ | WRITE)] and r.before.unmaps == 0,
            "iommu: the window is mapped, all of it, once, and nothing else",
            "requests " + ", ".join(f"{a:#x}-{b:#x} flags {f}" for (a, b), f in first))
    claim_small(c, facts, "iommu", r)
    c.claim(r.small.requests() == 0 and r.small.io(),
            "iommu: small reads and writes ask nothing of the IOMMU",
            f"{len(r.small.maps)} maps, {r.small.unmaps} unmaps")
    c.claim(r.small.reach == size and r.small.outside == 0,
            "iommu: small: the device can reach its window and nothing else",
            f"at most {r.small.reach} bytes, {r.small.outside} not in the window")
    claim_large(c, facts, "iommu", r)
    whole = [m for m in r.large.maps if not window[0] <= m.phys < window[1]]
    in_place, most = sum(m.size for m in whole), sum(r.large.io())
    piece = max((m.size for m in whole), default=0)
    c.claim(most // 2 <= in_place <= most and piece >= LARGE,
            "iommu: large: most of the data is mapped in place, in large pieces where it can be",
            f"{in_place} bytes of {most}, by {len(r.large.maps)} requests, the largest {piece}")
    c.claim(all(m.flags in (READ, WRITE) for m in whole) and strings["iommu"] == 0,
            "iommu: large: only pages that are data all over: nothing beside it can be read",
            f"{strings['iommu']} strings")
    # Mapped of each buffer: its size less one page, since the buffer shares two
    # pages. A table of descriptors for all buffers fills one page.
    size_large = facts.number("iommu.large.bytes")
    c.claim(0 < r.all.outside <= size_large,
            "iommu: large: beside its window it can reach what is in flight at most",
            f"{r.all.outside} bytes, {size_large} in flight")
    c.claim(len(r.large.maps) == r.large.unmapped > 0 and r.left == [list(window)],
            "iommu: large: all is unmapped again, and the window is what is left",
            f"{len(r.large.maps)} mappings, {r.large.unmapped} unmapped, left " +
            ", ".join(f"{a:#x}-{b:#x}" for a, b in r.left))
    c.claim(r.faults == 0, "iommu: it asked for nothing else", f"faults {r.faults}")

    claim_small(c, facts, "plain", plain)
    each = plain.small.requests() / max(len(plain.small.io()), 1)
    c.claim(each >= 2, "plain: without a region, each small read or write has its requests",
            f"{len(plain.small.maps)} maps, {plain.small.unmaps} unmaps, {each:.1f} each")
    claim_large(c, facts, "plain", plain)
    c.claim(strings["plain"] > 0, "plain: without a region, what is beside the data can be read",
            f"{strings['plain']} strings")

    write_tsv(os.path.join(directory, "evidence.tsv"), [
        ("iommu.window_bytes", size),
        ("iommu.window_maps", len(first)),
        ("iommu.small.ios", len(r.small.io())),
        ("iommu.small.requests", r.small.requests()),
        ("iommu.small.sha256_ok", "yes" if verified(facts, "iommu") else "no"),
        ("iommu.small.reach", r.small.reach),
        ("iommu.large.bytes", most),
        ("iommu.large.in_place", in_place),
        ("iommu.large.requests", r.large.requests()),
        ("iommu.reach", r.all.reach),
        ("iommu.large.strings", strings["iommu"]),
        ("iommu.left", union(r.left)),
        ("iommu.guest_bytes", facts.number("guest_bytes")),
        ("iommu.plain.ios", len(plain.small.io())),
        ("iommu.plain.requests", plain.small.requests()),
        ("iommu.plain.strings", strings["plain"]),
    ])
    if not c.print():
        sys.exit(1)


def size_text(n):
    """Bytes for people."""
    if n < 0:
        return "?"
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if n >= unit:
            return f"{n / unit:.1f} {name}".replace(".0 ", " ")
    return f"{n} B" if n else "0"


ROWS = [
    ("process", "backend process", str),
    ("guest_bytes_mapped", "guest memory it has mapped", size_text),
    ("window_bytes", "  its window", size_text),
    ("foreign_bytes_mapped", "  other guest memory", size_text),
    ("foreign_descriptors", "  other guest memory open", str),
    ("bytes_moved", "data moved", size_text),
    ("sha256_ok", "  sha256 equal at both ends", str),
    ("bounces", "bounces", str),
    ("bytes_in", "  copied into the window", size_text),
    ("bytes_out", "  copied out of it", size_text),
    ("high_water", "window in use at most", size_text),
    ("map_failures", "failed mappings", str),
]


def table(tsv, *directories):
    evidence = []
    for directory in directories:
        with open(os.path.join(directory, "evidence.tsv"), encoding="utf-8") as f:
            evidence += [tuple(line.rstrip("\n").split("\t")) for line in f]
    write_tsv(tsv, evidence)
    have = dict(evidence)
    names = [k.removesuffix(".process") for k in have if k.endswith(".process")]
    lines = [[""] + names]
    for key, label, show in ROWS:
        values = [have.get(f"{name}.{key}", "") for name in names]
        lines.append([label] + [show(int(v)) if show is size_text else v for v in values])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    for number, line in enumerate(lines):
        print("  ".join([line[0].ljust(widths[0])] +
                        [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]).rstrip())
        if number == 0:
            print(rule)
    print(rule)
    for key, value in evidence:
        if key.startswith("control."):
            if key == "control.refused":
                label = "control: without a window"
                value = "refused" if value == "yes" else "NOT refused"
            else:
                label = f"  {key.removeprefix('control.')}"
            print(f"{label.ljust(widths[0])}  {value}")
    for suffix, label in (("", "canary: strings of freed guest memory that a stopped backend "
                               "could read"),
                          ("_alive", "  of memory in use, under a mixed load")):
        here, there = (have.get(f"canary.{kind}{suffix}") for kind in ("window", "mainline"))
        if here and there:
            print(f"{label}: here {here}, mainline's pool {there}")
        elif here or there:
            print(f"{label}: {here or there}")
    iommu_table({key.removeprefix("iommu."): value for key, value in evidence
                 if key.startswith("iommu.")})


def iommu_table(have):
    """QEMU's own disk behind a virtio-iommu."""
    if not have:
        return
    n = {key: int(value) for key, value in have.items() if value.isdigit()}
    each = n["plain.requests"] / max(n["plain.ios"], 1)
    print("behind a virtio-iommu: a disk inside QEMU, as QEMU's own trace has it")
    for label, text in (
            ("can reach", f"{size_text(n['small.reach'])} of {size_text(n['guest_bytes'])}, "
             f"its window, mapped by {n['window_maps']} request; {size_text(n['reach'])} "
             f"at most with large I/O, {size_text(n['left'])} after it"),
            ("IOMMU requests", f"{n['small.requests']} in {n['small.ios']} reads and writes of "
             f"{size_text(SMALL)}, sha256 equal: {have['small.sha256_ok']}; "
             f"{each:.1f} each without a region"),
            ("strings beside writes in flight that it could read",
             f"{have['large.strings']}; {have['plain.strings']} without a region")):
        print(f"  {label}: {text}")


def main():
    commands = {"look": (look, 3), "claims": (claims, 2),
                "control": (control, 2), "leaks": (leaks, 2),
                "canary": (canary, 2), "iommu": (iommu, 1), "table": (table, 2)}
    command, least = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if not command or len(sys.argv) - 2 < least:
        sys.exit(__doc__.strip())
    try:
        command(*sys.argv[2:])
    except (EvidenceError, TraceError, qmp.QMPError, OSError, ValueError) as e:
        sys.exit(f"evidence.py {sys.argv[1]}: {e}")


if __name__ == "__main__":
    main()
