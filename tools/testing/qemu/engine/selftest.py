#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Is the judge just, the runner patient, a mutant where it says? In KTAP.

A harness that passes everything is worse than none: each canned run here is a way
in which a guest can go wrong, and the word that its failure must contain. One that
fails what is only slow is not much better: for the runner's patience, clock and
speed of the machine are made up. A mutant in the wrong place proves nothing, nor
does one of many that another one's number chooses.
"""

import os
import subprocess
import sys
import tempfile

import judge
import runner

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", room) for room in ("mutants",)]
import mutants  # noqa: E402 (in another room)
import schemata  # noqa: E402

SPEC = "name canned\ntest one 10 true\n"
BOOT = "0.5 boot 0.1\n"
GOOD = ": KTAP version 1\n: 1..2\n: ok 1 first\n: ok 2 second\n"
LOG = ("[    0.1] Linux\n[    0.2] check: begin one\n{}"
       "[    0.4] check: end one 0.2 s\n[    0.5] check: done\n[    0.6] reboot: Power down\n")


def channel(body, end="end one exit:0\n", done="done 1\n"):
    text = "begin one\n" + body + end + done
    return BOOT + "".join(f"{1 + n / 10:.1f} {line}\n" for n, line in enumerate(text.splitlines()))


def log(line=""):
    return LOG.format(line)


WARN = ("[    0.3] ------------[ cut here ]------------\n"
        "[    0.3] WARNING: CPU: 0 PID: 9 at kernel/x.c:3 boo+0x1/0x2\n"
        "[    0.3] Call trace:\n[    0.3]  boo+0x1/0x2\n"
        "[    0.3] ---[ end trace 0000000000000000 ]---\n")

# name, spec, channel, console, exit; then (passed, skipped) and a regular
# expression-free piece of every failure that must be there.
CASES = [
    ("a good run", SPEC, channel(GOOD), log(), "qemu 0", (2, 0), []),
    ("a skipped result", SPEC, channel(": 1..1\n: ok 1 first # SKIP no disk\n"), log(), "qemu 0",
     (0, 1), []),
    ("everything skipped by plan", SPEC, channel(": 1..0 # SKIP no disk\n", "end one exit:4\n"),
     log(), "qemu 0", (0, 1), []),
    ("a skip without KTAP", SPEC, channel(": # no disk\n", "end one exit:4\n"), log(), "qemu 0",
     (0, 1), []),
    ("subtests count, their summary does not", SPEC,
     channel(": 1..1\n:     1..2\n:     ok 1 a\n:     ok 2 b\n: ok 1 suite\n"), log(), "qemu 0",
     (2, 0), []),
    ("an expected warning", SPEC + "expect x\\.c:3 boo\n", channel(GOOD), log(WARN), "qemu 0",
     (2, 0), []),
    ("an allowed warning", SPEC + "allow x\\.c:3 boo\n", channel(GOOD), log(WARN), "qemu 0",
     (2, 0), []),

    ("a failing result", SPEC, channel(": 1..2\n: ok 1 a\n: not ok 2 b\n", "end one exit:1\n"),
     log(), "qemu 0", (1, 0), [""]),
    ("a failing result and exit status 0", SPEC, channel(": 1..2\n: ok 1 a\n: not ok 2 b\n"),
     log(), "qemu 0", (1, 0), [""]),
    ("a failing subtest below a good summary", SPEC,
     channel(": 1..1\n:   1..1\n:   not ok 1 a\n: ok 1 suite\n"), log(), "qemu 0", (0, 0), [""]),
    ("a bad summary above good subtests", SPEC,
     channel(": 1..1\n:   1..1\n:   ok 1 a\n: not ok 1 suite\n"), log(), "qemu 0",
     (1, 0), ["although no subtest did"]),
    ("fewer results than planned", SPEC, channel(": 1..3\n: ok 1 a\n: ok 2 b\n"), log(), "qemu 0",
     (2, 0), ["plan says 3 results, 2 came"]),
    ("more results than planned", SPEC, channel(": 1..1\n: ok 1 a\n: ok 2 b\n"), log(), "qemu 0",
     (2, 0), ["plan says 1 results, 2 came"]),
    ("fewer subtests than planned", SPEC, channel(": 1..1\n:  1..2\n:  ok 1 a\n: ok 1 s\n"), log(),
     "qemu 0", (1, 0), ["plan says 2 results, 1 came"]),
    ("no plan", SPEC, channel(": ok 1 a\n"), log(), "qemu 0", (1, 0), ["no plan line"]),
    ("two plans", SPEC, channel(": 1..2\n: ok 1 a\n: 1..2\n: ok 2 a\n"), log(), "qemu 0",
     (2, 0), ["a second plan"]),
    ("a missing number", SPEC, channel(": 1..2\n: ok 1 a\n: ok 3 b\n"), log(), "qemu 0",
     (2, 0), ["numbered 3"]),
    ("bail out", SPEC, channel(": 1..2\n: ok 1 a\n: Bail out! no disk\n", "end one exit:1\n"),
     log(), "qemu 0", (1, 0), ["no disk"]),
    ("a plan of nothing", SPEC, channel(": 1..0\n"), log(), "qemu 0",
     (0, 0), ["no KTAP result"]),
    ("no output at all", SPEC, channel(""), log(), "qemu 0", (0, 0), ["no KTAP result"]),
    ("good results, bad exit status", SPEC, channel(GOOD, "end one exit:3\n"), log(), "qemu 0",
     (2, 0), ["exit status 3"]),
    ("good results, killed", SPEC, channel(GOOD, "end one signal:11\n"), log(), "qemu 0",
     (2, 0), ["signal 11"]),
    ("a test that hangs", SPEC, channel(": 1..2\n: ok 1 a\n", "end one timeout\n"), log(),
     "qemu 0", (1, 0), ["timed out", "plan says 2"]),

    ("a warning", SPEC, channel(GOOD), log(WARN), "qemu 0", (2, 0), ["kernel log: WARNING"]),
    ("a warning where another is allowed", SPEC + "allow y\\.c\n", channel(GOOD), log(WARN),
     "qemu 0", (2, 0), ["kernel log: WARNING"]),
    ("two warnings, one of them allowed", SPEC + "allow x\\.c\n", channel(GOOD),
     log(WARN + WARN.replace("x.c", "y.c")), "qemu 0", (2, 0), ["y.c"]),
    ("a bare call trace", SPEC, channel(GOOD), log("[    0.3] Call trace:\n"), "qemu 0",
     (2, 0), ["Call trace"]),
    ("a KASAN report", SPEC, channel(GOOD),
     log("[    0.3] BUG: KASAN: slab-out-of-bounds in boo\n"), "qemu 0", (2, 0), ["KASAN"]),
    ("a lockdep report", SPEC, channel(GOOD),
     log("[    0.3] WARNING: possible circular locking dependency detected\n"), "qemu 0",
     (2, 0), ["circular locking"]),
    ("a leak", SPEC, channel(GOOD),
     log("[    0.3] kmemleak: 3 new suspected memory leaks (see ...)\n"), "qemu 0",
     (2, 0), ["kmemleak"]),
    ("a warning at boot", SPEC, channel(GOOD), WARN + log(), "qemu 0",
     (2, 0), ["kernel log: WARNING"]),
    ("a warning at power-off", SPEC, channel(GOOD), log() + WARN, "qemu 0",
     (2, 0), ["kernel log: WARNING"]),
    ("an expected line that does not come", SPEC + "expect refused\n", channel(GOOD), log(),
     "qemu 0", (2, 0), ["nothing matches"]),
    ("a forbidden line", SPEC + "forbid unrestricted\n", channel(GOOD),
     log("[    0.3] unrestricted DMA\n"), "qemu 0", (2, 0), ["unrestricted"]),

    ("a panic in a test", SPEC, channel(": 1..2\n: ok 1 a\n", "", ""),
     "[ 0.2] check: begin one\n[ 0.3] Kernel panic - not syncing: boo\n", "qemu 0",
     (1, 0), ["did not end", "plan says 2", "Kernel panic"]),
    ("a panic after the last test", SPEC, channel(GOOD),
     log() + "[    0.7] Kernel panic - not syncing: boo\n", "qemu 0", (2, 0), ["Kernel panic"]),
    ("a panic at boot", SPEC, "", "[ 0.1] Kernel panic - not syncing: no init\n", "qemu 0",
     (0, 0), ["Kernel panic", "did not run"]),
    ("a silent guest", SPEC, "", "", "qemu 0", (0, 0), ["never reported", "did not run"]),
    ("a reboot before the verdict", SPEC, channel(GOOD, done=""), log(), "qemu 0",
     (2, 0), ["without a verdict"]),
    ("a boot that hangs", SPEC, "", "", "timeout boot", (0, 0), ["time-out in phase \"boot\""]),
    ("a power-off that hangs", SPEC, channel(GOOD), log(), "timeout shutdown",
     (2, 0), ["time-out in phase \"shutdown\""]),
    ("QEMU that crashes after all", SPEC, channel(GOOD), log(), "qemu -11",
     (2, 0), ["ended with \"qemu -11\""]),
    ("a runner that did not finish", SPEC, channel(GOOD), log(), "failed the runner",
     (2, 0), ["failed the runner"]),
    ("a test that was left out", SPEC + "test two 10 true\n", channel(GOOD), log(), "qemu 0",
     (2, 0), ["2 tests were asked for", "did not run"]),
    ("a slow machine", SPEC, channel(GOOD.replace(": ok 2", "slow 7.5\n: ok 2")), log(),
     "qemu 0\nseconds 9.9\nslow 7.5", (2, 0), []),
    ("a stray line", SPEC, BOOT + "0.6 ok 1 boo\n" + channel(GOOD)[len(BOOT):], log(), "qemu 0",
     (2, 0), ["stray line"]),
    ("no tests at all", "name canned\n", BOOT + "0.6 done 0\n", "", "qemu 0",
     (0, 0), ["nothing was tested"]),
    ("mustfail without a failure", SPEC + "mustfail one boo\n", channel(GOOD), log(), "qemu 0",
     (2, 0), ["should have been judged failed"]),
    ("mustfail with its failure", SPEC + "mustfail one signal\n",
     channel(GOOD, "end one signal:9\n"), log(), "qemu 0", (1, 0), []),
]


def check(case):
    """What is wrong with the verdict on this case, or nothing."""
    _, spec_text, channel_text, log_text, exit_text, (passed, skipped), failures = case
    with tempfile.TemporaryDirectory() as directory:
        for name, text in (("spec", spec_text), ("channel", channel_text),
                           ("console.log", log_text), ("exit", exit_text + "\n")):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
                f.write(text)
        _, results = judge.judge(directory, [])
    have = {s: [r for r in results if r.status == s] for s in ("ok", "skip", "fail")}
    if (len(have["ok"]), len(have["skip"])) != (passed, skipped):
        return f"{len(have['ok'])} passed and {len(have['skip'])} skipped"
    if bool(failures) != bool(have["fail"]):
        return f"{len(have['fail'])} failed: {[r.reason for r in have['fail']]}"
    for piece in failures:
        if not any(piece in r.reason for r in have["fail"]):
            return f"no failure says \"{piece}\": {[r.reason for r in have['fail']]}"
    return ""


# name; the limit; how slow the machine is, by the second from which on it is that;
# seconds in which there is progress; when the runner must give up, or not by the end.
PATIENCE = [
    ("a hang from the start", 10, {0: 1}, [], 11),
    ("a hang in the middle", 10, {0: 1}, [4, 8], 19),
    ("progress past the limit", 10, {0: 1}, [9, 18, 25], None),
    ("progress for ever", 10, {0: 1}, range(1, 100, 3), 31),
    ("a slow machine", 10, {0: 5}, [], 51),
    ("a machine that gets slow", 10, {0: 1, 5: 5}, [], 51),
    ("a machine that was slow", 10, {0: 5, 20: 1}, [], 51),
    ("progress for ever on a slow machine", 2, {0: 5}, range(1, 100, 3), 31),
]


def check_patience(case):
    """What is wrong with the runner's patience in this case, or nothing."""
    _, limit, speeds, steps, expected = case
    second = 0

    def measure(_=None):
        return speeds[max(s for s in speeds if s <= second)]

    patience = runner.Patience(lambda: second, measure)
    patience.begin(limit)
    gave_up = None
    for second in range(expected + 10 if expected else 30):
        if second in steps:
            patience.progress()
        if patience.lost():
            gave_up = second
            break
    return "" if gave_up == expected else f"gave up at {gave_up}, not {expected}"


SOURCE = """\
#define TWICE(x)	\\
	((x) * 2)

static const struct {
	const char *name;
} table[] = {
	{ "one" },
	{ "two" },
};

/* int one(int a); */
__printf(1, 2)
static int one(int (*call)(int), int a)
	__must_hold(&lock)
{
	a++;
	return a;
}

static int two(int a)
{
	a++;
	if (a)
		a++;
	return a;
}

#ifdef CONFIG_THREE
int three(void) { return 3; }

int four(void)
{
	return 4;
}
#else
static inline int four(void)
{
	return -4;
}
#endif

TRACE_EVENT(five,
	TP_printk("%d)",
		  __entry->five)
);
"""

# name; edits (where, old lines, new lines); (old, new) of the whole text, or a piece
# of the reason why there is none.
EDITS = [
    ("a function with a twin", [("two", ["\treturn a;"], ["\treturn 0;"])],
     ("if (a)\n\t\ta++;\n\treturn a;", "if (a)\n\t\ta++;\n\treturn 0;")),
    ("a function with attributes", [("one", ["\ta++;"], [])],
     ("__must_hold(&lock)\n{\n\ta++;", "__must_hold(&lock)\n{")),
    ("one of two definitions", [("four", ["\treturn -4;"], ["\treturn 4;"])], ("-4", "4")),
    ("a table", [("table", ["\t{ \"two\" },"], [])], ("\t{ \"two\" },\n", "")),
    ("a macro", [("TWICE", ["\t((x) * 2)"], ["\t((x) * 3)"])], ("2)", "3)")),
    ("a trace event", [("five", ["\t\t  __entry->five)"], ["\t\t  0)"])],
     ("__entry->five", "0")),
    ("the whole file", [("*", ["#else"], ["#elif 0"])], ("#else", "#elif 0")),
    ("two edits, the later one first",
     [("two", ["\treturn a;"], []), ("two", ["\tif (a)", "\t\ta++;"], [])],
     ("\ta++;\n\tif (a)\n\t\ta++;\n\treturn a;\n", "\ta++;\n")),
    ("old text that is there twice", [("two", ["\t\ta++;", "\treturn a;"], []),
                                      ("four", ["{"], [])], "2 times"),
    ("old text that is elsewhere", [("one", ["\tif (a)"], [])], "0 times"),
    ("a part of a line", [("two", ["\tif"], [])], "0 times"),
    ("a function that is gone", [("six", ["\ta++;"], [])], "no six"),
    ("a function in a comment", [("int", ["\ta++;"], [])], "no int"),
    ("two edits of a line", [("two", ["\tif (a)", "\t\ta++;"], []),
                             ("two", ["\t\ta++;"], ["\t\ta--;"])], "same lines"),
]


def check_edits(case):
    """What is wrong with a mutant of these edits, or nothing."""
    _, edits, expected = case
    mutant = mutants.Mutant("canned", "canned.c", edits=[mutants.Edit(*e) for e in edits])
    try:
        result = mutant.apply(SOURCE)
    except mutants.MutantError as e:
        return "" if isinstance(expected, str) and expected in str(e) else f"broken: {e}"
    if isinstance(expected, str):
        return "it applies"
    old, new = expected
    return "" if result == SOURCE.replace(old, new, 1) else f"it makes:\n{result}"


# The kernel's words that the result of schemata.py needs, and what calls it.
KERNEL = """
#include <stdio.h>
#include <stdlib.h>

#define __maybe_unused	__attribute__((unused))
#define printk_once(...)
int dma_window_mutant;
"""
MAIN = """
int main(int argc, char **argv)
{
	char text[] = "abc";

	(void)argc;
	dma_window_mutant = atoi(argv[1]);
	printf("%d %d\\n", sum(1, 2, text), visit(twice, 5));
	return 0;
}
"""

# Functions of all shapes: static, of pointers to functions, of arrays, without result.
SHAPES = """
static int sum(int a,
	       /* a, comma */ int b, char text[3])
{
	return a + b + (text[0] == 'a');
}

static void store(int *to, int value)
{
	*to = value;
}

static int twice(int n)
{
	int result = 0;

	store(&result, n);
	return 2 * result;
}

int visit(int (*what)(int), int n);
int visit(int (*what)(int), int n)
{
	return what(n);
}
"""

# Name, edits by mutant, what the program prints for each number.
SCHEMATA = [
    ("no mutant", [], ["4 10"]),
    ("two mutants of a function",
     [[("sum", ["\treturn a + b + (text[0] == 'a');"], ["\treturn a;"])],
      [("sum", ["\treturn a + b + (text[0] == 'a');"], ["\treturn b;"])]],
     ["4 10", "1 10", "2 10"]),
    ("a mutant of two functions, and one without result",
     [[("sum", ["\treturn a + b + (text[0] == 'a');"], ["\treturn 0;"]),
       ("visit", ["\treturn what(n);"], ["\treturn what(n + 1);"])],
      [("store", ["\t*to = value;"], [])]],
     ["4 10", "0 12", "4 0"]),
]


def check_schemata(case):
    """What is wrong with a program that has all mutants, or nothing."""
    _, edits, expected = case
    numbered = [(n, mutants.Mutant(f"m{n}", "kernel/canned.c",
                                   edits=[mutants.Edit(*e) for e in mine]))
                for n, mine in enumerate(edits, 1)]
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "canned")
        text = KERNEL + schemata.rewrite(SHAPES, numbered) + MAIN
        built = subprocess.run(["gcc", "-Wall", "-Werror", "-xc", "-o", program, "-"], input=text,
                               capture_output=True, text=True, check=False)
        if built.returncode:
            return built.stderr
        for number, line in enumerate(expected):
            said = subprocess.run([program, str(number)], capture_output=True, text=True,
                                  check=False).stdout.strip()
            if said != line:
                return f"mutant {number} prints {said}, not {line}"
    return ""


# Name, text of a file, where, a piece of the reason why it is built by itself.
UNFIT = [
    ("any number of arguments", "int f(int a, ...)\n{\n\treturn a;\n}\n", "f",
     "any number of arguments"),
    ("a macro", "#define f(a) \\\n\t(a)\n", "f", "not a function"),
    ("the whole file", "int f;\n", "*", "not a function"),
    ("what runs early", "static void __init f(int a)\n{\n}\nlate_initcall(g);\n", "f",
     "before the parameter is known"),
    ("an initcall", "static int __init f(void)\n{\n}\nlate_initcall(f);\n", "f", ""),
]


def check_unfit(case):
    """What is wrong with what cannot be one of several, or nothing."""
    _, text, where, expected = case
    mutant = mutants.Mutant("canned", "kernel/canned.c", edits=[mutants.Edit(where, ["x"], [])])
    try:
        schemata.check(mutant, mutants.definitions(text))
        head = text.partition("\n{")[0]
        schemata.parameters(head)
        schemata.check_boot(where, head, text)
    except schemata.Unfit as e:
        return "" if expected and expected in str(e) else f"it says: {e}"
    return "it fits" if expected else ""


# Name, arguments of scripts/guest, what it must print; the folder has two files.
GUESTS = {"single": "describe one\n", "twin": "variants left right\nflavours base debug\n"}
VARIANTS = [
    ("the list", ["--list"], "single@base\ntwin-left@base\ntwin-left@debug\n"
                             "twin-right@base\ntwin-right@debug\n"),
    ("the name of the file", ["--prepare", "twin"], "twin comes as twin-left, twin-right\n"),
    ("an unknown variant", ["--prepare", "twin-up"], "twin comes as twin-left, twin-right\n"),
    ("a variant of a file without", ["--prepare", "single-left"], 'no guest "single-left"'),
]


def check_variants(case):
    """What is wrong with how scripts/guest takes names, or nothing."""
    _, arguments, expected = case
    script = os.path.join(HERE, "..", "..", "..", "..", "scripts", "guest")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in GUESTS.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        result = subprocess.run([script] + arguments, env=os.environ | {"GUESTS": folder},
                                capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr
    return "" if expected in said else f"it says: {said}"


def main():
    cases = [(f"judge of {case[0]}", check, case) for case in CASES]
    cases += [(f"patience with {case[0]}", check_patience, case) for case in PATIENCE]
    cases += [(f"mutant in {case[0]}", check_edits, case) for case in EDITS]
    cases += [(f"kernel with {case[0]}", check_schemata, case) for case in SCHEMATA]
    cases += [(f"{'no ' if case[3] else 'a '}kernel with {case[0]}", check_unfit, case)
              for case in UNFIT]
    cases += [(f"guest by {case[0]}", check_variants, case) for case in VARIANTS]
    print(f"KTAP version 1\n1..{len(cases)}")
    failed = 0
    for number, (name, test, case) in enumerate(cases, 1):
        problem = test(case)
        if problem:
            failed += 1
            print(f"# {problem}")
        print(f"{'not ok' if problem else 'ok'} {number} {name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
