# SPDX-License-Identifier: GPL-2.0-only
"""The description of one guest that scripts/guest hands to runner and judge.

One "KEYWORD VALUE" per line:
  name NAME                what the guest is called
  limit PHASE SECONDS      PHASE is boot, shutdown or grace: what a guest that
                           is over its time gets before QEMU is ended, because
                           PID 1 stops the test by itself, which says more
  arg WORD                 QEMU's command line, word by word
  test NAME SECONDS COMMAND
  allow REGEX              this kernel report is no failure
  expect REGEX             as allow, and it is a failure if it does not come
  forbid REGEX             a line of the kernel log that is a failure
  mustfail TEST REGEX      TEST (or boot, shutdown, guest) must be judged
                           failed with a reason that matches, and only then
                           counts as passed: for testing the harness itself
  action COMMAND           runs the guest file's host actions
  socket DIRECTORY         for sockets (paths there are short)
  verdict SLOT             of the PCI bus, where the verdict channel is
"""

import re
from dataclasses import dataclass


class SpecError(Exception):
    pass


@dataclass
class Test:
    name: str
    timeout: int
    command: str


class Spec:
    def __init__(self, path):
        self.name = ""
        self.limit = dict.fromkeys(("boot", "shutdown", "grace"), 20)
        self.args = []
        self.tests = []
        self.allow = []
        self.expect = []
        self.forbid = []
        self.mustfail = []
        self.action = ""
        self.socket = ""
        self.verdict = "0x1f"
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                try:
                    self._line(line.rstrip("\n"))
                except (ValueError, re.error) as e:
                    raise SpecError(f"{path}:{number}: {e}") from e

    def _line(self, line):
        word, _, value = line.partition(" ")
        if word in ("name", "action", "socket", "verdict"):
            setattr(self, word, value)
        elif word == "limit":
            phase, seconds = value.split()
            if phase not in self.limit:
                raise ValueError(f"unknown limit {phase}")
            self.limit[phase] = int(seconds)
        elif word == "arg":
            self.args.append(value)
        elif word == "test":
            name, timeout, command = value.split(" ", 2)
            self.tests.append(Test(name, int(timeout), command))
        elif word in ("allow", "expect", "forbid"):
            getattr(self, word).append(re.compile(value))
        elif word == "mustfail":
            name, regex = value.split(" ", 1)
            self.mustfail.append((name, re.compile(regex)))
        elif line:
            raise ValueError(f"unknown keyword \"{word}\"")

    def test(self, name):
        for test in self.tests:
            if test.name == name:
                return test
        return None
