#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Judge what a guest left behind: passed only if it said so itself.

usage: judge.py DIRECTORY [FILE.tap...]
       judge.py --program DIRECTORY NAME STATUS

Reads spec, channel, console.log and exit in DIRECTORY (see runner.py), and
what the guest file's host functions reported as KTAP (*.tap). Writes
results.tsv (status, test, seconds, reason) and ktap, prints a line per
result, and exits with 0 only if there is a result and none failed.

The second form judges DIRECTORY/output of a program that ran on the host: its
KTAP, or without any its exit status alone.
"""

import os
import re
import sys
from dataclasses import dataclass

import spec

# Messages of the kernel when something is wrong: of a report with several lines,
# the first.
REPORT = re.compile("|".join([
    r"WARNING: ", r"\bBUG: ", r"\bBUG at ", r"kernel BUG", r"Oops", r"Kernel panic",
    r"Internal error:", r"Unable to handle kernel", r"UBSAN:", r"KASAN:",
    r"INFO: (task|lockdep|rcu|trying|possible)", r"INFO: .*(held|suspicious)",
    r"kmemleak: \d+ new", r"DMA-API: .*(disabling|failed)", r"list_(add|del) corruption",
    r"ODEBUG: ", r"refcount_t:", r"soft lockup", r"rcu: INFO:", r"=+ .* =+ inconsistent",
    r"bad: scheduling from", r"scheduling while atomic", r"bad page state",
    r"Unhandled fault", r"workqueue lockup",
    # PID 1's own word that it cannot go on.
    r"check: giving up"]))
TRACE = re.compile(r"Call [Tt]race:")
# A report ends here, or after this many lines without its call trace.
REPORT_END = re.compile(r"---\[ end trace|^\[[^]]*\]\s*={20,}$")
REPORT_REACH = 80
STAMP = re.compile(r"^\[\s*\d+\.\d+\](\[[^]]*\])? ?")
RESULT = re.compile(r"^(ok|not ok)(?: (\d+))?(?: (.*))?$")
PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*(?:SKIP|skip)\s*(.*))?$")


@dataclass
class Result:
    status: str  # ok, fail or skip
    name: str
    seconds: float = 0.0
    reason: str = ""


class Level:
    """The results of one indentation level of a KTAP document."""

    def __init__(self):
        self.plan = None
        self.skip_all = None
        self.count = 0
        self.failed = False
        self.problems = []

    def result(self, number):
        self.count += 1
        if number and int(number) != self.count:
            self.problems.append(f"result {self.count} is numbered {number}")

    def close(self):
        if self.plan is None:
            self.problems.append("no plan line")
        elif self.plan != self.count:
            self.problems.append(f"plan says {self.plan} results, {self.count} came")


class Ktap:
    """A KTAP document of one program; counts the innermost results."""

    def __init__(self, name, lines):
        self.name = name
        self.results = []
        self.levels = {}
        self.bailed = None
        self.diagnostic = ""
        self.last_time = None
        for when, line in lines:
            if self.last_time is None:
                self.last_time = when
            self._line(when, line)
        self._finish()

    def _line(self, when, line):
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        plan = PLAN.match(text)
        result = RESULT.match(text)
        if plan:
            level = self.levels.setdefault(indent, Level())
            if level.plan is not None:
                level.problems.append("a second plan line")
            level.plan = int(plan.group(1))
            level.skip_all = plan.group(2)
        elif result:
            self._result(when, indent, *result.groups())
            self.diagnostic = ""
        elif text.startswith("Bail out!"):
            self.bailed = text[len("Bail out!"):].strip() or "bailed out"
        elif text.startswith("#"):
            # The last thing said is the reason if a failure has none.
            self.diagnostic = text.lstrip("# ")

    def _result(self, when, indent, word, number, rest):
        rest = rest or ""
        text, hash_, directive = rest.partition("#")
        text = text.strip().removeprefix("- ").strip()
        directive = directive.strip() if hash_ else ""
        level = self.levels.setdefault(indent, Level())
        level.result(number)
        inner = [i for i in self.levels if i > indent]
        failed = word == "not ok"
        if inner:
            # Subtests of this result were counted: the result's line must agree with them.
            below = [self.levels.pop(i) for i in sorted(inner)]
            for sub in below:
                sub.close()
                self._problems(text, sub)
            if failed and not any(sub.failed for sub in below):
                self._add(when, "fail", text, "failed although no subtest did")
            level.failed |= failed or any(sub.failed for sub in below)
            return
        if directive.upper().startswith("SKIP") and not failed:
            reason = directive[4:].strip(" :")
            self._add(when, "skip", text or reason, reason or "no reason given")
        elif failed:
            level.failed = True
            self._add(when, "fail", text, directive or self.diagnostic)
        else:
            self._add(when, "ok", text, "")

    def _add(self, when, status, text, reason):
        self.results.append(Result(status, f"{self.name}: {text}" if text else self.name,
                                   when - self.last_time, reason))
        self.last_time = when

    def _problems(self, where, level):
        for problem in level.problems:
            self.results.append(Result("fail", f"{self.name}: {where}" if where else self.name,
                                       0.0, problem))

    def _finish(self):
        if self.bailed:
            self.results.append(Result("fail", self.name, 0.0, self.bailed))
            return
        if not self.levels:
            return
        for indent in sorted(self.levels):
            level = self.levels[indent]
            if indent:
                level.problems.append("subtests without their summary line")
            if level.plan == 0 and not level.count and level.skip_all is not None:
                self.results.append(Result("skip", self.name, 0.0,
                                           level.skip_all or "no reason given"))
            level.close()
            self._problems("", level)


@dataclass
class Program:
    """What one test program said on the channel."""
    name: str
    start: float
    lines: list
    end: str = ""
    seconds: float = 0.0


class Channel:
    """The guest's side of the story."""

    def __init__(self, path):
        self.booted = False
        self.done = None
        self.stray = []
        self.programs = []
        current = None
        for raw in read_lines(path):
            stamp, _, line = raw.partition(" ")
            when = float(stamp)
            word, _, rest = line.partition(" ")
            if word == ":" and current:
                current.lines.append((when, rest))
            elif word == "begin" and not current:
                current = Program(rest, when, [])
                self.programs.append(current)
            elif word == "end" and current and rest.startswith(current.name + " "):
                current.end = rest[len(current.name) + 1:]
                current.seconds = when - current.start
                current = None
            elif word == "boot" and not self.programs:
                self.booted = True
            elif word == "done" and not current:
                self.done = int(rest)
            elif word not in ("host", "answer", "slow"):
                self.stray.append(line)


def read_lines(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return [line.rstrip("\r\n") for line in f]
    except FileNotFoundError:
        return []


class KernelLog:
    """The console, split at PID 1's marks into what each test is answerable for."""

    def __init__(self, path):
        self.segments = {"boot": []}
        where = "boot"
        for line in read_lines(path):
            mark = re.search(r"check: (begin|done) ?(\S*)", line)
            if mark and mark.group(1) == "begin":
                where = mark.group(2)
            self.segments.setdefault(where, []).append(line)
            if mark and mark.group(1) == "done":
                where = "shutdown"

    @staticmethod
    def reports(lines):
        """Each report as a list of lines."""
        found = []
        open_at = None
        for number, line in enumerate(lines):
            if open_at is not None:
                found[-1].append(line)
                if REPORT_END.search(line) and len(found[-1]) > 3:
                    open_at = None
                elif number - open_at > REPORT_REACH:
                    open_at = None
                elif TRACE.search(line):
                    # The trace itself follows; the next one is another report.
                    open_at = number
                continue
            if REPORT.search(line) or TRACE.search(line):
                found.append([line])
                open_at = number
        return found


def plain(line):
    return STAMP.sub("", line)


def judge_log(guest, log):
    """Failures for what the kernel reported and the guest does not expect."""
    results = []
    seen = set()
    for where, lines in log.segments.items():
        for number, line in enumerate(lines):
            seen.update(r.pattern for r in guest.expect if r.search(line))
            if any(r.search(line) for r in guest.forbid):
                results.append(Result("fail", where, 0.0, f"kernel log: {plain(line)}"))
        for report in log.reports(lines):
            known = guest.allow + guest.expect
            if any(r.search(line) for r in known for line in report):
                continue
            results.append(Result("fail", where, 0.0, f"kernel log: {plain(report[0])}"))
    for regex in guest.expect:
        if regex.pattern not in seen:
            results.append(Result("fail", "guest", 0.0,
                                  f"kernel log: nothing matches \"{regex.pattern}\""))
    return results


def judge_program(program):
    """Every result of one test program, and its own end."""
    ktap = Ktap(program.name, [(program.start, "")] + program.lines)
    results = ktap.results
    failed = any(r.status == "fail" for r in results)
    last = next((line for _, line in reversed(program.lines) if line.strip()), "")
    kind, _, code = program.end.partition(":")
    if not program.end:
        results.append(Result("fail", program.name, 0.0, "it did not end"))
    elif kind == "timeout":
        results.append(Result("fail", program.name, program.seconds,
                              f"timed out after {program.seconds:.0f} s; last line: {last}"))
    elif kind == "signal":
        results.append(Result("fail", program.name, program.seconds, f"killed by signal {code}"))
    elif code == "4" and not results:
        results.append(Result("skip", program.name, program.seconds, last.lstrip("# ")))
    elif code not in ("0", "4") and not failed:
        results.append(Result("fail", program.name, program.seconds,
                              f"exit status {code}; last line: {last}"))
    elif not results:
        results.append(Result("fail", program.name, program.seconds,
                              "no KTAP result came from it"))
    return results


def judge_end(guest, channel, log, exit_lines):
    """Did the guest get to its end, and by itself?"""
    results = []
    how = exit_lines[0] if exit_lines else "failed no exit file"
    running = next((p.name for p in channel.programs if not p.end), "")
    if how.startswith("timeout"):
        phase = how[len("timeout "):]
        where = running or ("boot" if phase == "boot" else "shutdown")
        results.append(Result("fail", where, 0.0, f"time-out in phase \"{phase}\""))
    elif how != "qemu 0":
        results.append(Result("fail", "guest", 0.0, f"ended with \"{how}\" (qemu.log)"))
    panic = next((plain(l) for lines in log.segments.values() for l in lines
                  if "Kernel panic" in l), "")
    if not channel.booted:
        results.append(Result("fail", "boot", 0.0, panic or "PID 1 never reported"))
    elif channel.done is None:
        results.append(Result("fail", running or "guest", 0.0,
                              panic or "the guest ended without a verdict"))
    elif channel.done != len(guest.tests) or len(channel.programs) != len(guest.tests):
        results.append(Result("fail", "guest", 0.0,
                              f"{len(guest.tests)} tests were asked for, "
                              f"{len(channel.programs)} ran, {channel.done} were reported"))
    for test in guest.tests:
        if test.name not in [p.name for p in channel.programs]:
            results.append(Result("fail", test.name, 0.0, "did not run"))
    for line in channel.stray[:5]:
        results.append(Result("fail", "guest", 0.0, f"stray line on the verdict channel: {line}"))
    return results


def invert(guest, results):
    """For the tests of the harness itself: a failure that must come."""
    for name, regex in guest.mustfail:
        mine = [r for r in results if r.name == name or r.name.startswith(name + ":")]
        hits = [r for r in mine if r.status == "fail" and regex.search(r.reason)]
        if hits:
            results = [r for r in results if r not in mine]
            results.append(Result("ok", f"{name}: judged failed, as it must be",
                                  0.0, hits[0].reason))
        else:
            results.append(Result("fail", name, 0.0,
                                  f"should have been judged failed with \"{regex.pattern}\""))
    return results


def judge(directory, taps):
    guest = spec.Spec(os.path.join(directory, "spec"))
    channel = Channel(os.path.join(directory, "channel"))
    log = KernelLog(os.path.join(directory, "console.log"))
    exit_lines = read_lines(os.path.join(directory, "exit"))
    results = []
    for program in channel.programs:
        results += judge_program(program)
    for path in taps:
        name = os.path.basename(path).removesuffix(".tap")
        lines = [(0.0, line) for line in read_lines(path)]
        host = Ktap(name, lines).results
        results += host or [Result("fail", name, 0.0, "no KTAP result came from it")]
    results += judge_log(guest, log)
    results += judge_end(guest, channel, log, exit_lines)
    if not results:
        results.append(Result("fail", "guest", 0.0, "nothing was tested"))
    return guest, invert(guest, results)


# Slower than this is worth a word.
SLOW = 3.0


def slowness(directory):
    """How many times slower than limits take it to be was the machine?"""
    for line in read_lines(os.path.join(directory, "exit")):
        word, _, value = line.partition(" ")
        if word == "slow":
            return float(value)
    return 1.0


def judge_host_program(directory, name, status):
    """A check on the host; its own log says more than its last line."""
    lines = read_lines(os.path.join(directory, "output"))
    results = Ktap(name, [(0.0, line) for line in lines]).results
    if status and not any(r.status == "fail" for r in results):
        last = (read_lines(os.path.join(directory, "log")) or lines or [""])[-1]
        results.append(Result("fail", name, 0.0, f"exit status {status}; last line: {last}"))
    return results or [Result("ok", name)]


def write(directory, prefix, results):
    with open(os.path.join(directory, "results.tsv"), "w", encoding="utf-8") as f:
        for r in results:
            f.write(f"{r.status}\t{prefix}{r.name}\t{r.seconds:.1f}\t{r.reason}\n")
    with open(os.path.join(directory, "ktap"), "w", encoding="utf-8") as f:
        f.write(f"KTAP version 1\n1..{len(results)}\n")
        for number, r in enumerate(results, 1):
            word = "not ok" if r.status == "fail" else "ok"
            tail = f" # SKIP {r.reason}" if r.status == "skip" else ""
            if r.status == "fail" and r.reason:
                f.write(f"# {r.reason}\n")
            f.write(f"{word} {number} {r.name.replace('#', '')}{tail}\n")
    for r in results:
        word = {"ok": "ok  ", "fail": "FAIL", "skip": "skip"}[r.status]
        print(f"{word} {r.seconds:6.1f} s  {prefix}{r.name}"
              + (f"  ({r.reason})" if r.reason else ""))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    try:
        if sys.argv[1] == "--program":
            _, _, directory, name, status = sys.argv
            prefix = ""
            results = judge_host_program(directory, name, int(status))
        else:
            directory = sys.argv[1]
            guest, results = judge(directory, sys.argv[2:])
            prefix = guest.name + "/"
            slow = slowness(directory)
            if slow >= SLOW:
                print(f"note           {prefix.rstrip('/')}: a machine {slow:.1f} times slower "
                      "than limits are for")
    except (spec.SpecError, OSError, ValueError) as e:
        sys.exit(f"judge.py: {sys.argv[1]}: {e}")
    write(directory, prefix, results)
    sys.exit(1 if any(r.status == "fail" for r in results) else 0)


if __name__ == "__main__":
    main()
