#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How slow is this machine now?

usage: speed.py [SECONDS]

Prints how many times longer some work takes than on the machine that the
time-outs were set for, at least 1; SECONDS is how long that machine would
measure, 0.1 by default.
"""

import sys
import time

# Seconds that work() takes on that machine, when nothing else runs there.
WORK_SECONDS = 0.0075


def work():
    x = 1
    for _ in range(100000):
        x = (x * 1103515245 + 12345) & 0xffffffff
    return x


def slowness(seconds=0.1):
    rounds = max(1, round(seconds / WORK_SECONDS))
    start = time.monotonic()
    for _ in range(rounds):
        work()
    return max(1.0, (time.monotonic() - start) / (rounds * WORK_SECONDS))


if __name__ == "__main__":
    print(f"{slowness(float(sys.argv[1]) if len(sys.argv) > 1 else 0.1):.1f}")
