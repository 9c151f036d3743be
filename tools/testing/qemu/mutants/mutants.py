#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Faults put into the code on purpose: read them, apply them, see what has none.

usage: mutants.py list
       mutants.py apply NAME SOURCE RESULT
       mutants.py check TREE [NAME...]
       mutants.py uncovered
       mutants.py functions SOURCE

list prints NAME, FILE and TARGETS, with tabs between. apply writes SOURCE with
the fault to RESULT, or says why not. check does that to all or some, without writing;
FILE is one of this repository, or in TREE, a prepared kernel tree, one that
hooks change. uncovered prints the functions of the product without a mutant.

The format of *.mutants is in ../README.md.
"""

import os
import re
import sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(HERE))))
MUTANTS = HERE

# The whole file, in place of the name of a definition.
EVERYWHERE = "*"


class MutantError(Exception):
    pass


# --- C, as the kernel's style has it -----------------------------------------

# Attributes that may stand before or behind a function's parameters, in parentheses.
ATTRIBUTES = {"__printf", "__attribute__", "__must_hold", "__acquires", "__releases",
              "__aligned", "__section", "__no_sanitize", "__counted_by"}
NAMED_BLOCK = re.compile(r"\b(?:struct|union|enum)\s+(\w+)\s*\{")
INITIALIZER = re.compile(r"(\w+)\s*(?:\[[^=]*\])*\s*(?:__\w+\s*)*=\s*\{")
MACRO = re.compile(r"#\s*define\s+(\w+)")
MACRO_CALL = re.compile(r"[A-Z][A-Z0-9_]*\(\s*(\w+)")


@dataclass
class Definition:
    """Lines FIRST to LAST, from 0, of something at the top level of a file."""
    name: str
    kind: str  # function, data, macro or call
    first: int
    last: int


def parentheses(text):
    """(identifier before it) of each outermost pair of parentheses."""
    depth, found = 0, []
    for at, c in enumerate(text):
        if c == "(":
            if depth == 0:
                before = re.search(r"(\w+)\s*$", text[:at])
                found.append(before.group(1) if before else "")
            depth += 1
        elif c == ")":
            depth -= 1
    return found


def function_name(head):
    names = [n for n in parentheses(head) if n and n not in ATTRIBUTES]
    return names[-1] if names else ""


def first_line(lines, at):
    """Where the declaration begins that line AT is a part of."""
    while at > 0:
        before = lines[at - 1]
        if (not before.strip() or before[0] in "}#" or before.rstrip().endswith((";", "*/"))
                or before.startswith((" *", "//", "/*"))):
            break
        at -= 1
    return at


def last_line(lines, at, ends):
    while at < len(lines) - 1 and not ends(lines[at]):
        at += 1
    return at


def call_end(lines, at):
    """The line that closes the parenthesis which line AT opens."""
    depth = 0
    for last in range(at, len(lines)):
        bare = re.sub(r'"(\\.|[^"\\])*"', "", lines[last])
        depth += bare.count("(") - bare.count(")")
        if depth <= 0:
            return last
    return len(lines) - 1


def block_end(lines, at):
    """The line that closes the brace which line AT opens, in column 0."""
    last = last_line(lines, at + 1, lambda l: l.startswith("}"))
    # A type with its initializer: struct { ... } name[] = { ... };
    return block_end(lines, last) if lines[last].rstrip().endswith("{") else last


def block_name(lines, first, at, last):
    """Of the data or the type that line AT opens: there, or behind the type's end."""
    heads = [lines[at], " ".join(lines[first:at + 1])]
    heads += [l for l in lines[at + 1:last] if l.startswith("}")]
    for head in heads:
        match = INITIALIZER.search(head) or NAMED_BLOCK.search(head)
        if match:
            return match.group(1)
    return ""


def definitions(text):
    """All functions, initialized data, types, macros and calls of macros.

    What the kernel's style promises is enough: nothing but a definition begins in
    column 0, and what opens a brace ends with the next one in column 0.
    """
    lines = text.split("\n")
    found, at, comment = [], 0, False
    while at < len(lines):
        line = lines[at]
        first = last = at
        name = kind = ""
        if comment or line.startswith("/*"):
            comment = "*/" not in line
        elif line.startswith("{"):
            first, last = first_line(lines, at), block_end(lines, at)
            name, kind = function_name(" ".join(lines[first:at])), "function"
        elif MACRO.match(line):
            last = last_line(lines, at, lambda l: not l.endswith("\\"))
            name, kind = MACRO.match(line).group(1), "macro"
        elif re.match(r"[A-Za-z_]", line) and line.rstrip().endswith("{"):
            first, last = first_line(lines, at), block_end(lines, at)
            name, kind = block_name(lines, first, at, last), "data"
        elif MACRO_CALL.match(line):
            last = call_end(lines, at)
            name, kind = MACRO_CALL.match(line).group(1), "call"
        if name:
            found.append(Definition(name, kind, first, last))
        at = last + 1
    return found


# --- Mutants -----------------------------------------------------------------

@dataclass
class Edit:
    """OLD lines become NEW ones, within the definition called WHERE."""
    where: str
    old: list = field(default_factory=list)
    new: list = field(default_factory=list)

    def span(self, lines, scopes):
        """(first, last + 1) of the one place where OLD is."""
        scope = [(0, len(lines) - 1)]
        if self.where != EVERYWHERE:
            scope = [(d.first, d.last) for d in scopes if d.name == self.where]
            if not scope:
                raise MutantError(f"there is no {self.where}")
        n = len(self.old)
        places = [at for first, last in scope for at in range(first, last + 2 - n)
                  if lines[at:at + n] == self.old]
        if len(places) != 1:
            raise MutantError(f"{self.where}: the old text is there {len(places)} times, "
                              f"not once: {self.old[0].strip()}")
        return places[0], places[0] + n


@dataclass
class Mutant:
    name: str
    file: str
    sentence: str = ""
    fields: dict = field(default_factory=dict)
    edits: list = field(default_factory=list)

    def targets(self):
        """Guests, and check:NAME for checks on the host."""
        checks = ["check:" + c for c in self.fields.get("Check", "").split()]
        return self.fields.get("Guest", "").split() + checks

    def apply(self, text):
        lines = text.split("\n")
        scopes = definitions(text)
        end = len(lines)
        for span, edit in sorted(((e.span(lines, scopes), e) for e in self.edits),
                                 key=lambda pair: pair[0], reverse=True):
            if span[1] > end:
                raise MutantError(f"{edit.where}: two edits of the same lines")
            lines[span[0]:span[1]] = edit.new
            end = span[0]
        return "\n".join(lines)

    def complaint(self):
        """What is missing, if anything."""
        if not self.sentence:
            return "does not say what is broken"
        if not re.fullmatch(r"I\d( I\d)*", self.fields.get("Guards", "")):
            return "no \"Guards:\" line that names invariants"
        if not self.targets():
            return "no \"Guest:\" or \"Check:\" line"
        if not self.edits:
            return "changes nothing"
        for edit in self.edits:
            if not edit.old:
                return f"{edit.where}: no old text; an insertion has a line beside it"
            if edit.old == edit.new:
                return f"{edit.where}: old and new text are the same"
        return ""


FIELDS = ("Guards", "Guest", "Check", "In")


class Reader:
    """One .mutants file."""

    def __init__(self, path):
        self.path = path
        self.mutants = []
        self.file = ""
        self.where = ""
        self.edit = None
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                try:
                    self.line(line.rstrip("\n"))
                except MutantError as e:
                    raise MutantError(f"{os.path.relpath(path, TOP)}:{number}: {e}") from e

    def line(self, line):
        word, colon, value = line.partition(":")
        if line.startswith("#"):
            return
        if line.startswith("== "):
            self.mutants.append(Mutant(line[3:].strip(), self.file))
            self.where, self.edit = "", None
        elif not self.mutants:
            self.header(line)
        elif line[:1] in (" ", "-", "+") and self.where:
            self.text(line)
        elif not line.strip():
            self.edit = None
        elif colon and word == "In":
            self.where, self.edit = value.strip(), None
        elif colon and word in FIELDS:
            self.mutants[-1].fields[word] = value.strip()
        elif not self.where:
            mutant = self.mutants[-1]
            mutant.sentence = f"{mutant.sentence} {line.strip()}".strip()
        else:
            raise MutantError(f"neither an edit nor a field: {line}")

    def header(self, line):
        if line.startswith("File:"):
            self.file = line[5:].strip()
        elif line.strip():
            raise MutantError("before the first mutant only File: PATH is expected")

    def text(self, line):
        if not self.edit:
            self.edit = Edit(self.where)
            self.mutants[-1].edits.append(self.edit)
        if line[0] != "+":
            self.edit.old.append(line[1:])
        if line[0] != "-":
            self.edit.new.append(line[1:])


def read_all():
    """All, in the order of the files."""
    mutants, seen = [], {}
    for entry in sorted(os.listdir(MUTANTS)):
        path = os.path.join(MUTANTS, entry)
        if entry.endswith(".py") or os.path.isdir(path):
            continue
        if not entry.endswith(".mutants"):
            raise MutantError(f"{os.path.relpath(path, TOP)}: what is that? Mutants are in *.mutants")
        reader = Reader(path)
        if not reader.file:
            raise MutantError(f"{os.path.relpath(path, TOP)}: no File: PATH")
        if seen.setdefault(reader.file, entry) != entry:
            raise MutantError(f"{entry} and {seen[reader.file]} are both for {reader.file}")
        mutants += reader.mutants
    names = [m.name for m in mutants]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise MutantError(f"two mutants are called {', '.join(sorted(twice))}")
    for mutant in mutants:
        if mutant.complaint():
            raise MutantError(f"{mutant.name}: {mutant.complaint()}")
    return mutants


# --- Commands ----------------------------------------------------------------

def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def named(names):
    mutants = {m.name: m for m in read_all()}
    for name in names:
        if name not in mutants:
            raise MutantError(f"no mutant is called {name}")
    return [mutants[name] for name in names or mutants]


def command_list():
    for m in read_all():
        print(f"{m.name}\t{m.file}\t{' '.join(m.targets())}")
    return 0


def command_apply(name, source, result):
    text = named([name])[0].apply(read(source))
    with open(result, "w", encoding="utf-8") as f:
        f.write(text)
    return 0


def source_of(file, tree):
    """FILE of this repository, or of TREE if hooks change it."""
    if os.path.isfile(os.path.join(TOP, file)):
        return os.path.join(TOP, file)
    if os.path.isfile(os.path.join(tree + ".state", "pristine", file)):
        return os.path.join(tree, file)
    raise MutantError(f"{file} is neither a file of ours nor a hooked one")


def command_check(tree, *names):
    mutants = named(names)
    broken, texts = 0, {}
    for m in mutants:
        try:
            if m.file not in texts:
                texts[m.file] = read(source_of(m.file, tree))
            m.apply(texts[m.file])
        except MutantError as e:
            print(f"{m.name}: {e}")
            broken += 1
    print(f"{len(mutants) - broken} apply, {broken} do not")
    return 1 if broken else 0


# Where functions of the product are; tests are not among it.
PRODUCT = ("kernel/dma/window", "include/linux/dma-window.h", "tools/vhost")
NOT_PRODUCT = re.compile(r"_test\.c$|/(test|fuzz)-[^/]*$")


def product_files():
    for place in PRODUCT:
        path = os.path.join(TOP, place)
        names = [place] if os.path.isfile(path) else sorted(
            f"{place}/{n}" for n in os.listdir(path) if n.endswith((".c", ".h")))
        yield from (n for n in names if not NOT_PRODUCT.search(n))


def is_stub(lines):
    """Nothing in it but a constant to return: what !CONFIG_... has."""
    body = " ".join(l.strip() for l in lines).partition("{")[2].rpartition("}")[0].strip()
    return bool(re.fullmatch(r"(return [\w-]*;)?", body))


def command_uncovered():
    covered = {(m.file, e.where) for m in read_all() for e in m.edits}
    bare = total = 0
    for file in product_files():
        text = read(os.path.join(TOP, file))
        lines = text.split("\n")
        functions = [d for d in definitions(text) if d.kind == "function"
                     and not is_stub(lines[d.first:d.last + 1])]
        total += len(functions)
        for d in functions:
            if (file, d.name) not in covered:
                bare += 1
                print(f"{file}:{d.first + 1}: {d.name}, {d.last - d.first + 1} lines")
    print(f"{bare} of {total} functions have no mutant")
    return 0


def command_functions(source):
    for d in definitions(read(source)):
        print(f"{d.first + 1}-{d.last + 1} {d.kind} {d.name}")
    return 0


# How many arguments each needs, and may have.
COMMANDS = {"list": (command_list, 0, 0), "apply": (command_apply, 3, 3),
            "check": (command_check, 1, 9999), "uncovered": (command_uncovered, 0, 0),
            "functions": (command_functions, 1, 1)}


def main():
    command, least, most = COMMANDS.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0, 0))
    if not command or not least <= len(sys.argv) - 2 <= most:
        sys.exit(__doc__.strip())
    try:
        sys.exit(command(*sys.argv[2:]))
    except (MutantError, OSError) as e:
        sys.exit(f"mutants.py: {e}")


if __name__ == "__main__":
    main()
