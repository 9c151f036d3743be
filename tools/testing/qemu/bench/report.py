#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tables, plots and the summary of what the benchmark's guests have printed.

usage: report.py OUT GUEST-DIRECTORY...
       report.py --rst OUT
       report.py --doc OUT FILE

Reads the channel of each guest, which is called as its directory. Written to
OUT: cost.tsv, rate.tsv and value.tsv (all that was measured), table.tsv (costs
side by side), profile.tsv (instructions per function), io.tsv (throughput),
iommu.tsv (costs behind an IOMMU), summary.tsv (a row per target), size.*, pool.*
and iommu-* (plots). A target that was not measured is "missed", with the reason in
its comment. --rst prints what the documentation has of these files, --doc puts it
there.
"""

import os
import re
import statistics
import subprocess
import sys
from collections import defaultdict

COST = ["guest", "op", "path", "pool", "dir", "size", "depth", "threads", "round",
        "ops", "first", "second", "rate"]
RATE = ["guest", "key", "path", "round", "bytes_per_second"]
VALUE = ["guest", "key", "path", "value"]
LINE = re.compile(r"^[0-9.]+ : # bench\t(cost|rate|value)\t(.*)$")

KIB = 1024
SIZES = [64, 256, KIB, 2 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB]
POOLS = ["0", "50", "90", "99", "frag50", "frag90", "frag99"]
COLUMNS = ["key", "value", "mainline", "ratio", "target", "status", "comment"]


# The guests with an IOMMU; where buffers begin there, and what they are for.
IOMMUS = ["virtio-iommu", "smmuv3"]
PLACES = ["at0", "at512"]
IOMMU_SIZES = [64, 256, KIB, 1500, 2 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB,
               128 * KIB, 256 * KIB, 512 * KIB, 1024 * KIB]


class NotMeasured(Exception):
    pass


class Data:
    def __init__(self, directories):
        self.rows = {"cost": [], "rate": [], "value": []}
        self.guests = []
        self.costs = {}
        self.rounds = defaultdict(dict)
        self.rates = defaultdict(dict)
        self.values = {}
        for d in directories:
            self.read(os.path.basename(d.rstrip("/")), os.path.join(d, "channel"))

    def read(self, guest, path):
        self.guests.append(guest)
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                m = LINE.match(line.rstrip("\n"))
                if m:
                    self.add(m.group(1), [guest] + m.group(2).split("\t"))

    def add(self, kind, row):
        self.rows[kind].append(row)
        if kind == "value":
            guest, key, path, value = row
            self.values[guest, key, path] = float(value)
        elif kind == "rate":
            _, key, path, rnd, rate = row
            self.rates[key, path][int(rnd)] = float(rate)
        else:
            guest, op, path, pool, way, size, depth, threads, rnd, _, first, second, rate = row
            key = (guest, op, path, pool, way, int(size), int(depth), int(threads))
            if first == "-":
                self.costs[key] = None
            else:
                self.costs[key] = (float(first), float(second))
                best = self.rounds[key]
                best[int(rnd)] = max(float(rate), best.get(int(rnd), 0))

    def value(self, guest, key, path):
        try:
            return self.values[guest, key, path]
        except KeyError:
            raise NotMeasured(f"guest {guest} has no {key} of {path}") from None

    def cost(self, op, path, pool, way, size, depth=1, guest="instructions"):
        """Of both halves; None if there was no room."""
        try:
            both = self.costs[guest, op, path, pool, way, size, depth, 1]
        except KeyError:
            raise NotMeasured(f"guest {guest} has no {op} of {size} bytes, {path}") from None
        return sum(both) if both else None

    def medians(self, key):
        """Throughput by path."""
        found = {p: self.rates[key, p].values() for p in ("direct", "mainline", "window")
                 if (key, p) in self.rates}
        if len(found) < 3:
            raise NotMeasured(f"no {key} of all paths")
        return {p: statistics.median(rounds) for p, rounds in found.items()}

    def to_direct(self, key, path):
        """Median of the rounds' ratios: what the host did meets both."""
        a, b = self.rates[key, path], self.rates[key, "direct"]
        return statistics.median(a[r] / b[r] for r in set(a) & set(b))

    def copy(self, size):
        return self.cost("memcpy", "direct", "0", "both", size)

    def overhead(self, path, pool, size, op="pair", depth=1):
        """Map and unmap to the device, without the copy and the empty call."""
        whole = self.cost(op, path, pool, "to", size, depth)
        if whole is None:
            return None
        return whole - self.copy(size) - self.cost(op, "direct", "0", "to", size, depth)


def unit(size):
    for shift, name in ((20, "MiB"), (10, "KiB")):
        if size >> shift and not size % (1 << shift):
            return f"{size >> shift} {name}"
    return str(size)


class Summary:
    def __init__(self, data):
        self.data = data
        self.rows = []

    def row(self, key, target, measure):
        """MEASURE returns value, mainline, ratio, met, comment."""
        try:
            value, mainline, ratio, met, comment = measure()
        except NotMeasured as e:
            self.rows.append([key, "-", "-", "-", target, "missed", f"not measured: {e}"])
            return
        self.rows.append([key, number(value), number(mainline), number(ratio), target,
                          "met" if met else "missed", comment])

    def pool(self, pool, op="pair", depth=1):
        """The worst ratio, where it is, and how much more than in an empty pool."""
        worst = None
        own = 0.0
        each = []
        for size in SIZES:
            ours = self.data.overhead("window", pool, size, op, depth)
            theirs = self.data.overhead("mainline", pool, size, op, depth)
            if ours is None or theirs is None:
                each.append(f"{unit(size)} does not fit in {'it' if ours is None else 'mainline'}")
                continue
            each.append(f"{unit(size)} {ours / theirs:.3f}")
            own = max(own, ours / self.data.overhead("window", "0", size, op, depth))
            if worst is None or ours / theirs > worst[2]:
                worst = (ours, theirs, ours / theirs, size)
        if worst is None:
            raise NotMeasured("no size was mapped on both")
        return worst, own, f"worst at {unit(worst[3])}: " + ", ".join(each)

    def pool_empty(self, op="pair", depth=1):
        (ours, theirs, ratio, _), _, note = self.pool("0", op, depth)
        return ours, theirs, ratio, ratio <= 0.10, note

    def pool_full(self, op="pair", depth=1, pool="frag90"):
        (ours, theirs, ratio, _), own, note = self.pool(pool, op, depth)
        return (ours, theirs, ratio, ratio <= 0.04 and own <= 1.2,
                f"{note}; at most {own:.2f} times our own in an empty pool")

    def fromdev(self):
        ours = self.data.cost("pair", "window", "0", "from", 4 * KIB)
        theirs = self.data.cost("pair", "mainline", "0", "from", 4 * KIB)
        return (ours, theirs, ours / theirs, ours / theirs <= 0.32,
                f"direct: {number(self.data.cost('pair', 'direct', '0', 'from', 4 * KIB))}")

    def largest(self, key):
        ours = self.data.value("instructions", key, "window")
        theirs = self.data.value("instructions", key, "mainline")
        return ours, theirs, ours / theirs, ours >= 32 << 20, "bytes, of a pool of 64 MiB"

    def locks(self):
        ours = self.data.value("contention", "locks.shared", "window")
        theirs = self.data.value("contention", "locks.shared", "mainline")
        if not theirs:
            raise NotMeasured("the count finds none in mainline either: it does not work")
        taken = self.data.value("contention", "locks", "window")
        return (ours, theirs, ours / theirs, ours == 0,
                "per map + unmap of 4 KiB, 2 x 50000, by kprobes on all lock functions; "
                f"shared: taken by both CPUs; all locks of ours: {taken:g}")

    def scale(self, op, path, size):
        one, two = (self.data.rounds.get(("contention", op, path, "0", "to", size, 1, n), {})
                    for n in (1, 2))
        both = sorted(set(one) & set(two))
        if not both:
            raise NotMeasured(f"guest contention has no {op}, {path}")
        return statistics.median(two[r] / one[r] for r in both)

    def scale_2cpu(self, size):
        machine = self.scale("memcpy", "direct", size)
        ours = self.scale("pair", "window", size)
        theirs = self.scale("pair", "mainline", size)
        if machine < 1.7 or ours > 2.3:
            raise NotMeasured(f"the host was busy: copies alone scale by {machine:.2f}, "
                              f"the window by {ours:.2f}")
        return (ours, theirs, ours / theirs, ours >= 1.7,
                f"{size} bytes; the machine itself, copies only: "
                f"{machine:.2f}; "
                f"direct: {self.scale('pair', 'direct', size):.2f}")

    def meta(self):
        mib = 64
        ours = self.data.value("instructions", "meta", "window") / mib
        theirs = self.data.value("instructions", "meta", "mainline") / mib
        return (ours, theirs, ours / theirs, ours <= 13312,
                "bytes per MiB, as the page and per-CPU allocators see it, of 64 MiB")

    def others(self):
        def pair(guest):
            return self.data.cost("pair", "direct", "0", "to", 4 * KIB, guest=guest)

        def worst(ways):
            return max(self.data.cost(op, "direct", "0", way, 4 * KIB, depth) /
                       self.data.cost(op, "direct", "0", way, 4 * KIB, depth, "unpatched")
                       for op, way, depth in ways)
        ours, theirs = pair("instructions"), pair("unpatched")
        more = worst([("sg", "to", 16), ("sync", "both", 1), ("coherent", "both", 16)])
        return (ours, theirs, ours / theirs, ours / theirs <= 1.03,
                "map + unmap of 4 KiB, direct; \"mainline\" is the unpatched kernel; "
                f"worst of sg, sync, coherent: {more:.3f}")

    def mapping(self, key, rate):
        """How much of a window's time is map + unmap, in words; of reads from disks."""
        ways = {}
        for path in ("window", "direct"):
            best = self.data.rounds.get(("contention", "pair", path, "0", "from", 4 * KIB, 1, 1))
            if not best or not key.startswith("fio."):
                return ""
            ways[path] = 1 / statistics.median(best.values())
        cost = ways["window"] - ways["direct"]
        return (f"; map + unmap of a page, emulated, takes {cost * 1e6:.2f} us more than "
                f"unrestricted, or {100 * cost * rate / (4 * KIB):.0f} % of the window's time")

    def rate(self, key, target):
        medians = self.data.medians(key)
        ratio = self.data.to_direct(key, "window")
        return (medians["window"], medians["mainline"], ratio, ratio >= target,
                f"bytes/s; the ratio is to unrestricted ({number(medians['direct'])}), "
                f"mainline's is {self.data.to_direct(key, 'mainline'):.3f}"
                f"{self.mapping(key, medians['window'])}")

    def received(self, key):
        ours = self.data.value("io", key, "window")
        theirs = self.data.value("io", key, "mainline")
        # Frames of the protocols' own, an ARP now and then, are not counted.
        return ours, theirs, ours / theirs, ours <= 1.005, "bytes copied per byte of used.len"

    def iommu_worst(self, cases, measure, limit, worst=max):
        """Of CASES the one with the worst ratio, or value if mainline's is 0; LIMIT
        says what of a case is met."""
        rows = [(*measure(*case), case) for case in cases]
        ours, theirs, case = worst(rows, key=lambda row: row[0] / row[1] if row[1] else row[0])
        words = ", ".join(unit(x) if isinstance(x, int) else x for x in case)
        ratio = ours / theirs if theirs else 0
        return (ours, theirs, ratio, all(limit(a, b) for a, b, _ in rows),
                f"worst: {words}" if len(rows) > 1 else words)

    def iommu_ops(self):
        def operations(guest, path, place, way, size):
            return sum(self.data.value(guest, f"{what}.{place}.{way}.{size}", path)
                       for what in ("maps", "unmaps"))
        cases = [(guest, place, way, size) for guest in IOMMUS for place in PLACES
                 for way in ("to", "from") for size in IOMMU_SIZES
                 if size < self.data.value(guest, "copybreak", "window")]
        if not cases:
            raise NotMeasured("the copybreak is below the smallest size")
        return self.iommu_worst(cases, lambda guest, *case: (
            operations(guest, "window", *case), operations(guest, "untrusted", *case)),
            lambda ours, _: ours == 0)

    def iommu_value(self, key, limit, guests, worst=max):
        return self.iommu_worst([(guest,) for guest in guests], lambda guest: (
            self.data.value(guest, key, "window"), self.data.value(guest, key, "untrusted")),
            limit, worst)

    def iommu_instr(self, guest, op, places, size, depth, beside, limit):
        def cost(path, place, way):
            found = self.data.cost(op, path, place, way, size, depth, guest)
            if found is None:
                raise NotMeasured(f"{guest}: {unit(size)} are refused, {path}")
            return found
        return self.iommu_worst(
            [(place, way) for place in places for way in ("to", "from")],
            lambda *case: (cost("window", *case), cost(beside, *case)),
            lambda ours, theirs: ours <= limit * theirs)

    def iommu(self):
        self.row("iommu.ops.small", "0", self.iommu_ops)
        self.row("iommu.req.blk4k", "0", lambda: self.iommu_value(
            "req.blk4k", lambda ours, _: ours == 0, IOMMUS[:1]))
        self.row("iommu.copy.256k", "<= 8192", lambda: self.iommu_value(
            f"copied.at512.to.{256 * KIB}", lambda ours, _: ours <= 8192, IOMMUS))
        self.row("iommu.max", ">= 8388608", lambda: self.iommu_value(
            "max.at512", lambda ours, _: ours >= 8 << 20, IOMMUS, min))
        self.row("iommu.small.instr", "<= 0.1", lambda: self.iommu_instr(
            "virtio-iommu", "pair", PLACES, 1500, 1, "untrusted", 0.1))
        self.row("iommu.large.instr", "<= 0.3", lambda: self.iommu_instr(
            "smmuv3", "pair", PLACES[1:], 128 * KIB, 1, "untrusted", 0.3))
        self.row("iommu.aligned.instr", "<= 1.05", lambda: self.iommu_instr(
            "smmuv3", "sg", ["list"], 4 * KIB, 32, "trusted", 1.05))

    def make(self):
        self.row("pool.empty", "<= 0.10", self.pool_empty)
        self.row("pool.empty.batch", "<= 0.10", lambda: self.pool_empty("batch", 16))
        self.row("pool.full", "<= 0.04, 1.2x", self.pool_full)
        self.row("pool.full.batch", "<= 0.04, 1.2x", lambda: self.pool_full("batch", 16))
        self.row("pool.full.small", "<= 0.04, 1.2x", lambda: self.pool_full(pool="small90"))
        self.row("fromdev.4k", "<= 0.32", self.fromdev)
        self.row("net.rx.mtu", "1.0", lambda: self.received("net.rx.mtu"))
        self.row("net.rx.64", "1.0", lambda: self.received("net.rx.64"))
        self.row("max.map", ">= 33554432", lambda: self.largest("max.map"))
        self.row("max.coherent", ">= 33554432", lambda: self.largest("max.coherent"))
        self.row("locks.fast", "0", self.locks)
        self.row("scale.2cpu", ">= 1.7", lambda: self.scale_2cpu(4 * KIB))
        self.row("scale.2cpu.64", ">= 1.7", lambda: self.scale_2cpu(64))
        self.row("meta.idle", "<= 13312", self.meta)
        for key, target in (("fio.rr4k", 0.95), ("fio.seq1m", 0.85),
                            ("tcp.rx", 0.9), ("tcp.tx", 0.9),
                            ("udp.rx", 0.9), ("udp.tx", 0.9)):
            self.row(key, f">= {target}", lambda k=key, t=target: self.rate(k, t))
        self.row("others.cost", "<= 1.03", self.others)
        self.iommu()
        return self.rows


def number(x):
    if isinstance(x, str):
        return x
    if abs(x) >= 100000 or x == int(x):
        return f"{x:.0f}"
    return f"{x:.1f}" if abs(x) >= 100 else f"{x:.3f}"


def write(out, name, columns, rows):
    with open(os.path.join(out, name), "w", encoding="utf-8") as f:
        f.write("\t".join(columns) + "\n")
        for row in rows:
            f.write("\t".join(str(x) for x in row) + "\n")


def side_by_side(data):
    """Every operation that was measured on more than one path, with ratios."""
    keys = []
    for key in data.costs:
        guest, op, _, pool, way, size, depth, threads = key
        row = (guest, op, pool, way, size, depth, threads)
        if guest in ("instructions", "unpatched") and op not in ("memcpy", "memset") and \
                row not in keys:
            keys.append(row)
    rows = []
    for guest, op, pool, way, size, depth, threads in keys:
        cells = {}
        for path in ("direct", "mainline", "window"):
            both = data.costs.get((guest, op, path, pool, way, size, depth, threads), ())
            cells[path] = "full" if both is None else sum(both) if both else "-"
        ratio = "-"
        if isinstance(cells["window"], float) and isinstance(cells["mainline"], float):
            ratio = f"{cells['window'] / cells['mainline']:.3f}"
        rows.append([guest, op, pool, way, size, depth] +
                    [c if isinstance(c, str) else f"{c:.1f}" for c in cells.values()] + [ratio])
    return rows


def show(columns, rows):
    rows = [columns] + [[str(x) for x in row] for row in rows]
    width = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        print("  ".join(x.ljust(w) for x, w in zip(row, width)).rstrip())
    print()


def for_people(rows):
    """The part of the table that fits on a screen or two."""
    for row in rows:
        _, op, pool, way, size, depth = row[:6]
        if row[0] == "instructions" and way in ("to", "from", "both") and \
                size in (64, 4 * KIB, 64 * KIB, 256 * KIB, 4 << 20) and \
                ((op == "pair" and way != "both" and (pool in POOLS or pool == "small90")) or
                 (op == "coherent" and pool in ("0", "frag90")) or
                 (op == "sg" and way == "to" and size == 4 * KIB)):
            yield [f"{op} x {depth}" if depth > 1 else op, way if op != "coherent" else "", size,
                   pool] + row[6:]


def gnuplot(out, name, text):
    for terminal, suffix in (("svg size 800,500 dynamic background rgb 'white'", "svg"),
                             ("pngcairo size 1200,750", "png")):
        script = f"set terminal {terminal}\nset output '{name}.{suffix}'\n" + text
        done = subprocess.run(["gnuplot"], input=script, text=True, cwd=out,
                              capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"gnuplot: {done.stderr}")


# One colour per path, whatever its direction or size.
COLOUR = {"mainline": "#c0392b", "window": "#1f5fa8", "direct": "#777777", "copy": "#000000"}


def curve(path, n, using, title):
    return (f"{using} with linespoints linecolor rgb '{COLOUR[path]}' linewidth 2 "
            f"dashtype {n} pointtype {2 * n + 3} title '{title}'")


def plot_sizes(data, out):
    sizes = sorted({k[5] for k in data.costs if k[0] == "instructions" and k[1] == "pair"})
    if not sizes:
        return
    curves = [("mainline", "to"), ("mainline", "from"), ("window", "to"), ("window", "from"),
              ("direct", "to")]
    with open(os.path.join(out, "size.dat"), "w", encoding="utf-8") as f:
        for size in sizes:
            cells = []
            for path, way in curves:
                cost = data.cost("pair", path, "0", way, size)
                cells.append("?" if cost is None else f"{cost:.1f}")
            print(size, *cells, f"{data.copy(size):.1f}", file=f)
    lines = []
    for i, (path, way) in enumerate(curves):
        title = "unrestricted" if path == "direct" else f"{path}, {way} device"
        lines.append(curve(path, 2 if way == "from" else 1, f"'size.dat' using 1:{i + 2}", title))
    lines.append(curve("copy", 3, f"'size.dat' using 1:{len(curves) + 2}", "one copy alone"))
    tics = ", ".join(f"'{unit(s)}' {s}" for s in sizes[::2])
    gnuplot(out, "size", "\n".join([
        "set datafile missing '?'", "set logscale x 2", "set logscale y", "set key left top",
        f"set xtics ({tics})", "set rmargin 4",
        "set xlabel 'size'", "set ylabel 'instructions, map + unmap'", "set grid",
        "set title 'Empty pool'", "plot " + ", ".join(lines), ""]))


def plot_pools(data, out):
    curves = [(p, s) for p in ("mainline", "window") for s in (64, 4 * KIB, 64 * KIB)]
    with open(os.path.join(out, "pool.dat"), "w", encoding="utf-8") as f:
        for pool in POOLS:
            cells = []
            for path, size in curves:
                over = data.overhead(path, pool, size)
                # A logarithm needs something above zero.
                cells.append("?" if over is None else f"{max(over, 1):.1f}")
            print(f'"{pool} %"' if pool.isdigit() else f'"{pool[4:]} %\\nfragm."', *cells, file=f)
    gnuplot(out, "pool", "\n".join([
        "set datafile missing '?'", "set logscale y", "set key left top", "set grid",
        "set xlabel 'occupied'", "set ylabel 'instructions, map + unmap, without the copy'",
        "set title 'To the device'", "set xrange [-0.5:6.5]",
        "plot " + ", ".join(
            curve(p, 1 + i % 3, f"'pool.dat' using 0:{i + 2}:xtic(1)", f"{p}, {unit(s)}")
            for i, (p, s) in enumerate(curves)), ""]))


# Cases of the profile, by their names in bench.c.
CASES = {
    "to4k": "map + unmap of 4 KiB to the device, empty pool",
    "from4k": "map + unmap of 4 KiB from the device, empty pool",
    "full64": "map + unmap of 64 bytes to the device, 90 % occupied and fragmented",
    "small": "map + unmap of 1500 bytes from the device, behind a virtio-iommu",
    "large": "map + unmap of 128 KiB at offset 512 to the device, behind an SMMUv3",
}
# Row of the summary that each case explains, if the row's target is missed.
EXPLAINS = {"to4k": "pool.empty", "from4k": "fromdev.4k", "full64": "pool.full",
            "small": "iommu.small.instr", "large": "iommu.large.instr"}
PATHS = ["direct", "mainline", "window"]
# Around the tables in the documentation.
BEGIN = ".. From here: scripts/bench --doc\n"
END = ".. To here: scripts/bench --doc\n"


def paths_of(case):
    """What the columns of a profile are."""
    return ["trusted", "untrusted", "window"] if case in ("small", "large") else PATHS


def profile(directories, out):
    """Side by side, the largest first; instructions per pair."""
    costs = defaultdict(lambda: defaultdict(dict))
    for d in directories:
        path = os.path.join(d, "profile.tsv")
        if not os.path.exists(path):
            continue
        with open(path, encoding="ascii") as f:
            for line in f:
                case, which, function, n = line.rstrip("\n").split("\t")
                costs[case][function][which] = float(n)
    every = []
    for case, title in CASES.items():
        if case not in costs:
            continue
        paths = paths_of(case)
        rows = [[function] + [c.get(p, 0.0) for p in paths]
                for function, c in costs[case].items()]
        rows.sort(key=lambda row: (-row[3], -row[2], row[0]))
        rows.append(["all"] + [sum(row[i] for row in rows) for i in (1, 2, 3)])
        every += [[case] + row for row in rows]
        print(f"Where they are, for {title}:\n")
        show(["function"] + paths, rows)
    if every:
        write(out, "profile.tsv", ["case", "function", "direct or trusted",
                                   "mainline or untrusted", "window"], every)


def io(data, out):
    """Throughput side by side: medians, and the median of the ratios to direct."""
    rows = []
    for key in sorted({key for key, _ in data.rates}):
        try:
            row = [data.medians(key)[p] / 1e6 for p in PATHS]
            row += [data.to_direct(key, p) for p in PATHS[1:]]
        except NotMeasured:
            continue
        rows.append([key] + [f"{x:.1f}" for x in row[:3]] + [f"{x:.3f}" for x in row[3:]])
    if not rows:
        return
    columns = ["key", *PATHS, "mainline/direct", "window/direct"]
    write(out, "io.tsv", columns, rows)
    print("Real data, MB/s:\n")
    show(columns, rows)


def behind_iommu(data, out):
    """Costs behind each IOMMU, and where it takes less to map than to copy."""
    columns = ["guest", "op", "begins", "dir", "size", "trusted", "untrusted", "window",
               "copied", "mapped", "ratio"]
    rows = []
    for guest in IOMMUS:
        def cells(op, place, way, size, depth, guest=guest):
            for path, how in (("trusted", ""), ("untrusted", ""), ("window", ""),
                              ("window", "copy."), ("window", "map.")):
                both = data.costs.get((guest, op, path, how + place, way, size, depth, 1), ())
                yield None if both is None else sum(both) if both else "-"
        if guest not in data.guests:
            continue
        kinds = [("pair", place, way, size, 1) for place in PLACES for way in ("to", "from")
                 for size in IOMMU_SIZES]
        kinds += [("sg", "list", way, 4 * KIB, 32) for way in ("to", "from")]
        for kind in kinds:
            found = list(cells(*kind))
            ratio = "-"
            if all(isinstance(found[i], float) for i in (1, 2)):
                ratio = f"{found[2] / found[1]:.3f}"
            rows.append([guest, f"{kind[0]} x {kind[4]}" if kind[4] > 1 else kind[0], *kind[1:4]] +
                        ["full" if x is None else x if isinstance(x, str) else f"{x:.1f}"
                         for x in found] + [ratio])
        cross(data, guest)
        plot_iommu(guest, out, [(size, list(cells("pair", "at512", "to", size, 1)))
                                for size in IOMMU_SIZES])
    if rows:
        write(out, "iommu.tsv", columns, rows)
        print("Behind an IOMMU; the ratio is window / untrusted:\n")
        show(columns, rows)


def cross(data, guest):
    for place in PLACES:
        for way in ("to", "from"):
            first = None
            for size in IOMMU_SIZES:
                copied, mapped = (data.costs.get((guest, "pair", "window", how + place, way,
                                                  size, 1, 1), ()) for how in ("copy.", "map."))
                if not mapped or copied == ():
                    break
                # If nothing was copied, the size may be too large to be copied.
                if copied and sum(mapped) >= sum(copied):
                    first = None
                elif first is None:
                    first = size
            else:
                print(f"{guest}, {place}, {way} the device: it takes fewer instructions to map "
                      f"{'from ' + unit(first) + ' on' if first else 'at no size'}")


def plot_iommu(guest, out, rows):
    """Where copy and map meet, of buffers that do not begin at a page."""
    name = f"iommu-{guest}"
    with open(os.path.join(out, f"{name}.dat"), "w", encoding="utf-8") as f:
        for size, found in rows:
            print(size, *(f"{x:.1f}" if isinstance(x, float) else "?" for x in found), file=f)
    curves = [("direct", 1, 2, "mainline, trusted"), ("mainline", 1, 3, "mainline, untrusted"),
              ("window", 1, 5, "window, copied"), ("window", 2, 6, "window, mapped")]
    # A column of nothing but gaps is an error to gnuplot.
    curves = [c for c in curves if any(isinstance(found[c[2] - 2], float) for _, found in rows)]
    tics = ", ".join(f"'{unit(s)}' {s}" for s in IOMMU_SIZES if s.bit_count() == 1)
    gnuplot(out, name, "\n".join([
        "set datafile missing '?'", "set logscale x 2", "set logscale y", "set key left top",
        f"set xtics ({tics}) rotate by -45", "set rmargin 4",
        "set xlabel 'size'", "set ylabel 'instructions, map + unmap'", "set grid",
        f"set title 'To the device, behind {guest}, at offset 512'",
        "plot " + ", ".join(curve(path, n, f"'{name}.dat' using 1:{column}", title)
                            for path, n, column, title in curves), ""]))


def read_table(out, name):
    """Rows of a table that an earlier run wrote, without its head."""
    with open(os.path.join(out, name), encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f][1:]


def rst_table(columns, rows):
    """A simple table; in its first column nothing is empty."""
    rows = [columns] + rows
    width = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    rule = "  ".join("=" * w for w in width)
    lines = ["  ".join(x.ljust(w) for x, w in zip(row, width)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


def rst(out):
    """The part of the documentation that is measured."""
    with open(os.path.join(out, "about.tsv"), encoding="utf-8") as f:
        about = dict(line.rstrip("\n").split("\t", 1) for line in f)
    summary = read_table(out, "summary.tsv")
    missed = {row[0] for row in summary if row[5] == "missed"}
    processors, load = about["processors"].split(", load ")
    compiler = about["compiler"].split()
    text = [f"Measured on {about['date']} with ``make bench`` at commit {about['commit']}: Linux "
            f"{about['kernel']},\n{compiler[0]} {compiler[-1]}, QEMU {about['qemu'].split()[0]} "
            f"without KVM, on {processors} processors\n(load before: {load}).\n",
            rst_table(["key", "value", "mainline", "ratio", "target", "is"],
                      [[f"``{row[0]}``"] + row[1:6] for row in summary])]
    if os.path.exists(os.path.join(out, "io.tsv")):
        text += ["MB/s, and what is left of the throughput without restriction:\n",
                 rst_table(["key", "direct", "mainline", "window", "mainline", "window"],
                           [[f"``{row[0]}``"] + row[1:] for row in read_table(out, "io.tsv")])]
    if os.path.exists(os.path.join(out, "profile.tsv")):
        every = read_table(out, "profile.tsv")
        for case, key in EXPLAINS.items():
            if key not in missed or case not in [row[0] for row in every]:
                continue
            # The small ones are in the file; the sum is of all.
            rows = [row[1:] for row in every if row[0] == case]
            least = [share * float(x) for share, x in zip((.04, .04, .02), rows[-1][1:])]
            rows = [row for row in rows if any(float(x) >= y for x, y in zip(row[1:], least))]
            text += [f"Instructions by function, {CASES[case]}:\n",
                     rst_table(["function"] + paths_of(case),
                               [[f"``{row[0]}``" if row[0] != "all" else row[0]] +
                                [f"{float(x):.0f}" for x in row[1:]] for row in rows])]
    return "\n".join(text)


def update(path, text):
    """Put it between the marks."""
    with open(path, encoding="utf-8") as f:
        before, found_begin, rest = f.read().partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        sys.exit(f"{path} has no place for the tables")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    if sys.argv[1:2] == ["--rst"] and len(sys.argv) == 3:
        print(rst(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--doc"] and len(sys.argv) == 4:
        missing = [row[0] for row in read_table(sys.argv[2], "summary.tsv") if row[1] == "-"]
        if missing:
            sys.exit(f"not measured, so not for the documentation: {', '.join(missing)}")
        update(sys.argv[3], rst(sys.argv[2]))
        return
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out = sys.argv[1]
    data = Data(sys.argv[2:])
    write(out, "cost.tsv", COST, data.rows["cost"])
    write(out, "rate.tsv", RATE, data.rows["rate"])
    write(out, "value.tsv", VALUE, data.rows["value"])
    table = side_by_side(data)
    columns = ["op", "dir", "size", "pool", "direct", "mainline", "window", "ratio"]
    write(out, "table.tsv", ["guest", "op", "pool", "dir", "size", "depth", "direct",
                             "mainline", "window", "ratio"], table)
    summary = Summary(data).make()
    write(out, "summary.tsv", COLUMNS, summary)
    if "instructions" in data.guests:
        print("Instructions of map + unmap, or of alloc + free; the ratio is window / mainline:\n")
        show(columns, for_people(table))
        plot_sizes(data, out)
        plot_pools(data, out)
    profile(sys.argv[2:], out)
    io(data, out)
    behind_iommu(data, out)
    show(COLUMNS, summary)


if __name__ == "__main__":
    main()
