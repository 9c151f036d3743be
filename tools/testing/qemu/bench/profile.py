#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Instructions per function of map + unmap, from QEMU's log of all of them.

usage: profile.py SYSTEM-MAP LOG...

A log is called SOMETHING.CASE.PATH and has a line for each instruction that was
executed (-singlestep, "log exec,nochain"). What counts is from the entry of
dma_map_page_attrs() or dma_unmap_page_attrs() until something outside of the
kernel's text is executed, which is the module that has called it. Prints CASE,
PATH, FUNCTION and instructions per pair, separated by tabs, largest first.
"""

import bisect
import re
import sys
from collections import Counter

PC = re.compile(r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")
MARK = re.compile(r"^_.*_(start|end)$")
MAP, UNMAP = "dma_map_page_attrs", "dma_unmap_page_attrs"


def symbols(path):
    best = {}
    limits = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            address, kind, name = line.split()
            if name in ("_stext", "_etext"):
                limits[name] = int(address, 16)
            # Skip labels inside functions of assembly, and the linker's marks.
            if name[0] in ".$" or MARK.match(name):
                continue
            if kind in "tTwW":
                # Of several names, the plainest: memcpy, not __pi_memmove.
                rank = (name[0] == "_", len(name), name)
                a = int(address, 16)
                best[a] = min(rank, best.get(a, rank))
    addresses = sorted(best)
    names = [best[a][2] for a in addresses]
    return addresses, names, limits["_stext"], limits["_etext"]


def count(log, addresses, names, start, end):
    by_name = dict(zip(names, addresses))
    found = Counter()
    pairs = 0
    inside = False
    cache = {}
    with open(log, encoding="ascii", errors="replace") as f:
        for line in f:
            m = PC.match(line)
            if not m:
                continue
            pc = int(m.group(1), 16)
            if pc in (by_name[MAP], by_name[UNMAP]):
                inside = True
                pairs += pc == by_name[UNMAP]
            elif not start <= pc < end:
                inside = False
            if inside:
                if pc not in cache:
                    cache[pc] = names[bisect.bisect_right(addresses, pc) - 1]
                found[cache[pc]] += 1
    return found, pairs


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    table = symbols(sys.argv[1])
    for log in sys.argv[2:]:
        found, pairs = count(log, *table)
        if not pairs:
            sys.exit(f"{log}: nothing was mapped while it was written")
        for name, n in found.most_common():
            print(*log.split(".")[-2:], name, f"{n / pairs:.1f}", sep="\t")


if __name__ == "__main__":
    main()
