#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""All mutants of a kernel in one kernel, of which a parameter chooses one.

usage: schemata.py TREE SAVED TABLE [NAME...]

Rewrites the files that the mutants called NAME change, in this repository and in
TREE, a prepared kernel tree; the originals go to SAVED, by path. In place of a
function with mutants there are then the function itself, a clone of it for each
mutant with that mutant's change, and a function of the old name that calls the
clone whose number is dma_window.mutant= of the kernel's command line. (R. Untch,
A. Offutt, M. Harrold, "Mutation analysis using mutant schemata", 1993.)

TABLE gets a line for each NAME: its number, or 0 and why it has none.
"""

import os
import re
import sys

from mutants import EVERYWHERE, MutantError, definitions, named, read, source_of

VARIABLE = "dma_window_mutant"
# Where the variable is defined.
HOME = "kernel/dma/window/pool.c"
DEFINITION = f"""
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kernel.h>

int {VARIABLE} __read_mostly;
EXPORT_SYMBOL_GPL({VARIABLE});

static int __init {VARIABLE}_setup(char *text)
{{
	return kstrtoint(text, 0, &{VARIABLE});
}}
early_param("dma_window.mutant", {VARIABLE}_setup);
"""


class Unfit(Exception):
    """Why a mutant cannot be one of several in a kernel."""


def parameters(head):
    """The names of a function's parameters, by its declaration."""
    text = re.sub(r"/\*.*?\*/", " ", head)
    depth, start, end = 0, 0, len(text.rstrip())
    for at in range(end - 1, -1, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if depth == 0 and text[at] == "(":
            start = at
            break
    inside, parts, depth = text[start + 1:end - 1], [""], 0
    for c in inside:
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    names = []
    for part in (p.strip() for p in parts):
        if part in ("", "void"):
            continue
        if part == "...":
            raise Unfit("it takes any number of arguments")
        pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)\s*\(", part)
        name = pointer or re.search(r"(\w+)\s*(\[[^]]*\]\s*)*$", part)
        names.append(name.group(1))
    return names


def dispatcher(head, name, numbers):
    """The function of the old name."""
    arguments = ", ".join(parameters(head))
    cases = "".join(f"""	case {n}:
		printk_once(KERN_INFO "mutant {n} was reached\\n");
		return {name}__mutant{n}({arguments});
""" for n in numbers)
    return f"""{head}
{{
	extern int {VARIABLE};

	switch ({VARIABLE}) {{
{cases}	}}
	return {name}__mutant0({arguments});
}}"""


def clone(lines, name, number):
    """The function's text under another name, for this file only."""
    text = "\n".join(lines)
    if not re.match(r"(\w+\s+)*?static\b", text):
        text = "static __maybe_unused " + text
    return f"#define {name} {name}__mutant{number}\n{text}\n#undef {name}"


def check_boot(name, head, text):
    """Raise if a function may run before the command line has been read."""
    if "__init" in head.split() and not re.search(rf"_initcall\(\s*{name}\s*\)", text):
        raise Unfit(f"{name} may run before the parameter is known")


def check(mutant, scopes):
    """Raise if a mutant has to be built by itself."""
    if not mutant.file.startswith(("kernel/", "drivers/")):
        raise Unfit("its file is not one of a kernel's only")
    if any(t.startswith("check:") for t in mutant.targets()):
        raise Unfit("a check of the host looks at its file")
    for edit in mutant.edits:
        kinds = {d.kind for d in scopes if d.name == edit.where}
        if edit.where == EVERYWHERE or "function" not in kinds:
            raise Unfit(f"{edit.where} is not a function")


def rewrite(text, mutants):
    """TEXT with all MUTANTS, given as (number, mutant)."""
    lines, scopes = text.split("\n"), definitions(text)
    for d in sorted(scopes, key=lambda d: d.first, reverse=True):
        mine = [(n, m) for n, m in mutants if d.name in {e.where for e in m.edits}]
        if d.kind != "function" or not mine:
            continue
        body = next(i for i in range(d.first, d.last) if lines[i].startswith("{"))
        head = "\n".join(lines[d.first:body])
        parts = [clone(lines[d.first:d.last + 1], d.name, 0)]
        for number, mutant in mine:
            part = lines[d.first:d.last + 1]
            edits = [e for e in mutant.edits if e.where == d.name]
            spans = sorted(((e.span(lines, scopes), e) for e in edits),
                           key=lambda pair: pair[0], reverse=True)
            for (begin, end), edit in spans:
                part[begin - d.first:end - d.first] = edit.new
            parts.append(clone(part, d.name, number))
        parts.append(dispatcher(head, d.name, [n for n, _ in mine]))
        lines[d.first:d.last + 1] = "\n".join(parts).split("\n")
    return "\n".join(lines)


def replace(path, text):
    """Write PATH by rename: make has to see the change, also if it is a link."""
    path = os.path.realpath(path)
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path + ".new", os.stat(path).st_mode)
    os.rename(path + ".new", path)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__.strip())
    tree, saved, table = sys.argv[1:4]
    files, texts, out = {}, {}, []
    for number, mutant in enumerate(named(sys.argv[4:]), 1):
        try:
            if mutant.file not in texts:
                texts[mutant.file] = read(source_of(mutant.file, tree))
            scopes = definitions(texts[mutant.file])
            check(mutant, scopes)
            for edit in mutant.edits:
                d = next(d for d in scopes if d.name == edit.where and d.kind == "function")
                body = texts[mutant.file].split("\n")[d.first:d.last + 1]
                head = "\n".join(body).partition("\n{")[0]
                parameters(head)
                check_boot(edit.where, head, texts[mutant.file])
            rewrite(texts[mutant.file], [(number, mutant)])
            files.setdefault(mutant.file, []).append((number, mutant))
            out.append(f"{mutant.name}\t{number}\t")
        except (Unfit, MutantError) as e:
            out.append(f"{mutant.name}\t0\t{e}")
    if HOME not in texts:
        texts[HOME] = read(source_of(HOME, tree))
    for file in {HOME, *files}:
        path = source_of(file, tree)
        os.makedirs(os.path.join(saved, os.path.dirname(file)), exist_ok=True)
        with open(os.path.join(saved, file), "w", encoding="utf-8") as f:
            f.write(texts[file])
        text = rewrite(texts[file], files.get(file, []))
        replace(path, text + (DEFINITION if file == HOME else ""))
    with open(table, "w", encoding="utf-8") as f:
        f.write("".join(line + "\n" for line in out))


if __name__ == "__main__":
    try:
        main()
    except (MutantError, OSError) as problem:
        sys.exit(f"schemata.py: {problem}")
