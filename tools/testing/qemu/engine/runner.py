#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run one prepared guest and record what it says; judge.py judges later.

usage: runner.py DIRECTORY

DIRECTORY/spec describes the guest (README.md has the format). Written there:
  channel      the verdict channel, each line with seconds since the start
  console.log  QEMU's console
  exit         how the run ended; exists, as a failure, before QEMU starts

A guest hangs if it makes no progress for as long as its phase has: nothing on the
verdict channel or the console. What it may take in all is CEILING times that.
Both are seconds of the machine that limits are set for: a slower one has more,
by its speed at the start and when time seems to be up.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time

import hostops
import qmp
import spec
import speed


# Limits that a test may take in all, as in init.c.
CEILING = 3


class Patience:
    """The time of one phase. CLOCK and MEASURE are there for selftest.py."""

    def __init__(self, clock=time.monotonic, measure=speed.slowness):
        self.clock = clock
        self.measure = measure
        self.slow = measure()
        self.most = self.slow
        self.limit = 0
        self.began = self.last = clock()

    def begin(self, limit):
        """A phase that may be silent for LIMIT seconds."""
        self.limit = limit
        self.began = self.last = self.clock()

    def progress(self):
        self.last = self.clock()

    def at_least(self, slow):
        """The guest's own measure of the same."""
        self.slow = max(self.slow, slow)
        self.most = max(self.most, self.slow)

    def over(self):
        now = self.clock()
        limit = self.limit * self.slow
        return now - self.last > limit or now - self.began > CEILING * limit

    def lost(self):
        """Is the time over, by the speed of now if not by that of before?"""
        if not self.over():
            return False
        self.at_least(self.measure(0.5))
        return self.over()


class Run:
    def __init__(self, directory):
        self.dir = directory
        self.spec = spec.Spec(os.path.join(directory, "spec"))
        self.start = time.monotonic()
        self.patience = Patience()
        self.channel = open(os.path.join(directory, "channel"), "w", encoding="utf-8")
        self.phase = "boot"
        self.patience.begin(self.spec.limit["boot"])
        self.console_size = 0
        self.monitor = None
        self.verdict = None
        self.qemu = None
        self.buf = b""
        self.write_exit("failed the runner did not finish")

    def write_exit(self, text):
        with open(os.path.join(self.dir, "exit"), "w", encoding="utf-8") as f:
            f.write(text + "\n")

    def seconds(self):
        return time.monotonic() - self.start

    def start_qemu(self):
        mine, theirs = socket.socketpair()
        mon_mine, mon_theirs = socket.socketpair()
        # Kill QEMU when this process dies, however it dies.
        argv = ["setpriv", "--pdeathsig", "KILL"] + self.spec.args + [
            "-chardev", f"socket,id=verdict,fd={theirs.fileno()}",
            "-device", f"pci-serial,id=verdict0,chardev=verdict,bus=pcie.0,addr={self.spec.verdict}",
            "-chardev", f"socket,id=monitor,fd={mon_theirs.fileno()}",
            "-mon", "chardev=monitor,mode=control",
        ]
        with open(os.path.join(self.dir, "qemu.log"), "w", encoding="utf-8") as log:
            log.write(" ".join(argv) + "\n")
            log.flush()
            self.qemu = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[theirs.fileno(), mon_theirs.fileno()])
        theirs.close()
        mon_theirs.close()
        self.verdict = mine
        try:
            self.monitor = qmp.QMP(mon_mine)
        except (qmp.QMPError, OSError):
            # QEMU did not start; the loop finds it gone and says why.
            self.monitor = None

    def answer(self, request):
        """Do what the guest asked for; STATUS and text go back to it."""
        status, text = hostops.run(self, request)
        data = text.encode()
        self.record(f"answer {status} {text[:200].strip()!r}")
        self.verdict.sendall(f"host {status} {len(data)}\n".encode() + data)

    def record(self, line):
        self.channel.write(f"{self.seconds():.3f} {line}\n")
        self.channel.flush()

    def line(self, line):
        self.record(line)
        self.patience.progress()
        grace = self.spec.limit["grace"]
        word, _, rest = line.partition(" ")
        if word in ("boot", "end"):
            self.phase = "between tests"
            self.patience.begin(grace)
        elif word == "begin":
            test = self.spec.test(rest)
            self.phase = f"test {rest}"
            # PID 1 ends a test by itself, which says more.
            self.patience.begin((test.timeout if test else 0) + grace)
        elif word == "slow":
            self.patience.at_least(float(rest))
        elif word == "host":
            self.answer(rest)
            # The host's own time is not the guest's fault.
            self.patience.progress()
        elif word == "done":
            self.phase = "shutdown"
            self.patience.begin(self.spec.limit["shutdown"])

    def read_console(self):
        """What the kernel prints is progress, too."""
        try:
            size = os.stat(os.path.join(self.dir, "console.log")).st_size
        except FileNotFoundError:
            return
        if size != self.console_size:
            self.console_size = size
            self.patience.progress()

    def read_channel(self):
        try:
            data = self.verdict.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            return False
        self.buf += data
        while b"\n" in self.buf:
            raw, self.buf = self.buf.split(b"\n", 1)
            self.line(raw.decode("utf-8", "replace").rstrip("\r"))
        return True

    def loop(self):
        """Until QEMU is gone; returns what to write to the exit file."""
        is_open = True
        while True:
            if is_open:
                if select.select([self.verdict], [], [], 0.2)[0]:
                    is_open = self.read_channel()
            elif self.qemu.poll() is None:
                time.sleep(0.05)
            status = self.qemu.poll()
            if status is not None:
                while is_open:
                    is_open = self.read_channel()
                return f"qemu {status}"
            self.read_console()
            if self.patience.lost():
                return f"timeout {self.phase}"

    def stop_qemu(self):
        """By its own process id only, and never left behind."""
        if self.qemu and self.qemu.poll() is None:
            self.qemu.terminate()
            try:
                self.qemu.wait(5)
            except subprocess.TimeoutExpired:
                self.qemu.kill()
                self.qemu.wait()

    def run(self):
        try:
            self.start_qemu()
            result = self.loop()
        finally:
            self.stop_qemu()
        self.write_exit(f"{result}\nseconds {self.seconds():.1f}\n"
                        f"slow {self.patience.most:.1f}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    # An interrupted run must not leave its QEMU behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        Run(sys.argv[1]).run()
    except (spec.SpecError, OSError) as e:
        sys.exit(f"runner.py: {e}")


if __name__ == "__main__":
    main()
