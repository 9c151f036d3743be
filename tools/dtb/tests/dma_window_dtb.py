#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of dma-window-dtb, as one KTAP document: trees that dtc makes, the malformed ones
of the guest "attach", and blobs that are cut off or corrupted. Needs dtc and fdtoverlay.

usage: dma_window_dtb.py [TEST...]
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(os.path.dirname(HERE), "dma-window-dtb")
QEMU = os.path.join(HERE, "..", "..", "testing", "qemu")
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def eq(got, want, what=""):
    assert got == want, f"{what}: {got!r}, expected {want!r}"


def run(*args, stdin=None):
    return subprocess.run(args, input=stdin, capture_output=True, timeout=60)


def program(*args):
    r = run(sys.executable, PROGRAM, *args)
    assert b"Traceback" not in r.stderr, r.stderr.decode()
    return r.returncode, r.stdout.decode("utf-8", "replace"), r.stderr.decode()


def dtc(source, name="tree.dtb", *more):
    r = run("dtc", "-q", "-q", "-q", "-f", "-I", "dts", "-O", "dtb", "-o", name, *more,
            stdin=source.encode())
    assert not r.returncode and os.path.exists(name), r.stderr.decode()
    return name


BRIDGE = """pcie@10000000 {{ compatible = "pci-host-ecam-generic"; device_type = "pci";
    dma-coherent; #address-cells = <3>; #size-cells = <2>; bus-range = <0 255>;
    reg = <0 0x10000000 0 0x1000000>; {0} }};"""


def virt(regions="", nodes="", pci="", bridge=None, transports=2, incoherent=(),
         reserved="#address-cells = <2>; #size-cells = <2>; ranges;", head=""):
    """A tree as QEMU's machine virt has it, with 512 MiB"""
    mmio = "".join(
        f"virtio_mmio@{0xa000000 + n * 0x200:x} {{ compatible = \"virtio,mmio\"; "
        f"reg = <0 {0xa000000 + n * 0x200:#x} 0 0x200>; "
        + ("" if n in incoherent else "dma-coherent; ") + "};\n" for n in range(transports))
    return f"""/dts-v1/;
{head}
/ {{ #address-cells = <2>; #size-cells = <2>; compatible = "linux,dummy-virt";
    memory@40000000 {{ device_type = "memory"; reg = <0 0x40000000 0 0x20000000>; }};
    chosen {{ linux,initrd-start = <0x48000000>; linux,initrd-end = <0x48100000>; }};
    platform-bus@c000000 {{ compatible = "qemu,platform", "simple-bus"; ranges;
        #address-cells = <2>; #size-cells = <2>; }};
    reserved-memory {{ {reserved}
        {regions} }};
    {bridge or BRIDGE.format(pci)}
    {mmio}
    {nodes}
}};
"""


def window(label="win", at=0x5c000000, size=0x400000, more=""):
    return f"{label}: window@{at:x} {{ reg = <0 {at:#x} 0 {size:#x}>; {more} }};\n"


def pci(slot, more):
    return f"ep@{slot:x},0 {{ reg = <{slot << 11:#x} 0 0 0 0>; {more} }};\n"


USES = "restricted-dma-region = <&win>;"
POOL = 'compatible = "restricted-dma-pool"; '


def check(source, *args):
    rc, out, err = program("check", "--json", *args, dtc(source))
    assert rc in (0, 1) and not err, (rc, err)
    report = json.loads(out)
    eq(report["confined"], rc == 0, "JSON and status")
    rc2, out, err = program("check", *args, "tree.dtb")
    assert rc2 == rc and out and not err, (rc2, err)
    return rc, report


def one(report):
    eq(len(report["devices"]), 1, "devices")
    return report["devices"][0]


def verdicts(source, *args):
    """Status, and what both kernels do with the only device"""
    rc, report = check(source, *args)
    d = one(report)
    return rc, d["project"]["text"], d["mainline"]["text"]


# --- check -------------------------------------------------------------------

UNUSED = "left reserved and unused, the device is not confined"
GIVEN_BACK = "given back to the page allocator while the host still shares it"
NEVER = "never reserved: the kernel's own memory while the host still shares it"


@test
def guest_attach():
    """Each malformed tree that the guest "attach" lists is judged as the kernel does."""
    run_dir = os.getcwd()
    r = run("bash", os.path.join(HERE, "attach.sh"), QEMU, run_dir)
    assert not r.returncode, r.stderr.decode()

    def lines(name):
        with open(name) as f:
            return f.read().splitlines()

    incoherent = [(int(line.split()[0].split("@")[1], 16) - 0xa000000) // 0x200
                  for line in lines("deleted") if line.endswith(" dma-coherent")]
    eq(len(incoherent), len(lines("deleted")), "deleted")
    with open("overlay.dts") as f:
        dtc(f.read(), "overlay.dtbo", "-@")
    dtc(virt(transports=32, incoherent=incoherent), "base.dtb", "-@")
    r = run("fdtoverlay", "-i", "base.dtb", "-o", "tree.dtb", "overlay.dtbo")
    assert not r.returncode, r.stderr.decode()
    rc, out, err = program("check", "--json", "--pools", "strict", "--image",
                           "0x40200000+32M", "--initrd", "0x48000000+1M", "--tree",
                           "0x48100000+64K", "tree.dtb")
    eq(rc, 1)
    report = json.loads(out)
    got = {d["device"]: f"{d['property']}: {d['region'] or d['holder']}: "
                        f"{d['project']['text']}" for d in report["devices"]}
    listed = set()
    for line in lines("refused"):
        kind, device, message = line.split(" ", 2)
        m = re.fullmatch(r"0000:00:(..)\.0", device)
        path = f"/pcie@10000000/ep@{int(m[1], 16):x},0" if m else \
            "/virtio_mmio@" + device.split(".")[0]
        listed.add(path)
        # What is in the slot, as a balloon, the tree does not say.
        if kind != "transport":
            eq(got[path].rsplit(": ", 1)[1], "window", path)
            continue
        prop, node, reason = message.split(": ", 2)
        eq(got[path], f"{prop}: {node}: refused: {reason}", path)
    assert len(listed) > 30, listed
    others = {d for d in got if not got[d].endswith(": window")} - listed
    eq(others, set(), "refused, but not by the kernel")
    patterns = [line.replace("dma-window: ", "") for line in lines("unread")]
    for p in patterns:
        # An empty slot, too.
        found = any(re.search("^" + p, problem) for problem in report["problems"])
        eq(found, "ep@1d,0" not in p, p)
    for problem in report["problems"]:
        assert any(re.search("^" + p, problem) for p in patterns), problem
    assert lines("forbidden")


@test
def windows():
    for nodes in ({"pci": pci(2, USES)}, {"bridge": BRIDGE.format(USES)},
                  {"nodes": f"dev@1000 {{ compatible = \"a,b\"; dma-coherent; {USES} }};"}):
        rc, ours, mainline = verdicts(virt(window(), **nodes))
        eq((rc, ours, mainline), (0, "window", UNUSED), str(nodes))
    rc, report = check(virt(window(), pci=pci(2, USES)), "--kernel", "mainline")
    eq(rc, 1, "mainline")


@test
def nothing_named():
    rc, report = check(virt(window()))
    eq((rc, report["devices"], report["regions"]), (1, [], []))
    rc, report = check(virt(window(more=POOL)))
    eq((rc, report["regions"][0]["state"]), (1, "left reserved and unused"))
    assert "nothing is confined" in program("check", "tree.dtb")[1]


@test
def pools():
    """restricted-dma-pool and memory-region, in the three modes"""
    use = pci(2, "memory-region = <&win>;")
    good, small = virt(window(more=POOL), pci=use), virt(window(size=0x80000, more=POOL), pci=use)
    eq(verdicts(good), (0, "window", "mainline's pool"))
    eq(verdicts(good, "--kernel", "mainline"), (0, "window", "mainline's pool"))
    eq(verdicts(good, "--pools", "mainline"), (0, "mainline's pool", "mainline's pool"))
    why = "is too small: 512 KiB, it must have at least 1024 KiB"
    eq(verdicts(small), (0, f"left to mainline: {why}: mainline's pool", "mainline's pool"))
    eq(verdicts(small, "--pools", "strict"), (1, f"refused: {why}", "mainline's pool"))
    # Of several, the first that is not disabled; others are for drivers.
    off = window("off", 0x50000000, more=POOL + 'status = "disabled";')
    cma = window("cma", 0x51000000, more='compatible = "shared-dma-pool"; reusable;')
    three = pci(2, "memory-region = <&cma>, <&off>, <&win>;")
    rc, report = check(virt(window(more=POOL) + off + cma, pci=three))
    eq((rc, one(report)["region"]), (0, "/reserved-memory/window@5c000000"))
    states = {r["region"]: r["state"] for r in report["regions"]}
    eq(states["/reserved-memory/window@51000000"], "reserved, for drivers: no window")
    # memory-region of a bridge is for devices that have none.
    rc, report = check(virt(window(more=POOL) + cma, bridge=BRIDGE.format(
        "memory-region = <&win>;" + pci(2, "memory-region = <&cma>;") + pci(3, ""))))
    eq([d["device"] for d in report["devices"]],
       ["/pcie@10000000/ep@3,0", "each device below /pcie@10000000 that has no node"])
    # The property comes first.
    both = pci(2, "memory-region = <&win>; restricted-dma-region = <&new>;")
    rc, report = check(virt(window(more=POOL) + window("new", 0x50000000), pci=both))
    eq((rc, one(report)["region"]), (0, "/reserved-memory/window@50000000"))
    # A pool that a device needs which is not coherent
    rc, report = check(virt(window(more=POOL), pci=use, incoherent=[0],
                            nodes="dev@1 { compatible = \"a,b\"; memory-region = <&win>; };"))
    assert "is also the pool of /dev@1, which is not dma-coherent" in \
        report["devices"][0]["project"]["text"], report["devices"]


@test
def given_back():
    """Pools that mainline's init function rejects: the memory is the kernel's own."""
    for more in ("reusable;", "no-map;", "linux,dma-default;", "linux,cma-default;"):
        for use, prop in (("memory-region = <&win>;", "memory-region"), (USES, None)):
            rc, report = check(virt(window(more=POOL + more), pci=pci(2, use)))
            d = one(report)
            eq((rc, d["exposed"], d["mainline"]["text"]), (1, GIVEN_BACK, GIVEN_BACK), more)
            assert prop or d["project"]["verdict"] == "refused", d
            assert GIVEN_BACK in program("check", "tree.dtb")[1].split("    mainline:")[0]
        # No device names it: all the same.
        rc, report = check(virt(window(more=POOL + more)))
        eq((rc, report["regions"][0]["state"]), (1, GIVEN_BACK), more)
        # What works beside it does not make up for that.
        rc, report = check(virt(window(more=POOL + more) + window("ok", 0x50000000),
                                pci=pci(2, "restricted-dma-region = <&ok>;")))
        eq((rc, one(report)["project"]["text"]), (1, "window"), more)
        # No pool: nobody rejects it.
        rc, report = check(virt(window(more=more), pci=pci(2, USES)))
        eq((rc, one(report)["exposed"]), (1, None), more)
    # What another init function takes is kept, and what it rejects as well is not.
    for more, state in (("reusable;", None), ("reusable; no-map;", GIVEN_BACK)):
        compatible = 'compatible = "restricted-dma-pool", "shared-dma-pool";'
        rc, report = check(virt(window(more=compatible + more), pci=pci(2, USES)))
        eq(one(report)["exposed"], state, more)
    # A good region that overlaps one that is given back loses its memory.
    rc, report = check(virt(window() + window("bad", 0x5c200000, 0x400000, POOL + "reusable;"),
                            pci=pci(2, USES)))
    eq((rc, one(report)["exposed"]), (1, GIVEN_BACK))


@test
def never_reserved():
    for regions, reserved in (
            (window(more='status = "disabled";'), None),
            ("win: window@5c000000 { reg = <0 0x5c000000 0>; };", None),
            (window(), "#address-cells = <2>; #size-cells = <2>;"),
            ("win: window@5c000000 { reg = <0x5c000000 0x400000>; };",
             "#address-cells = <1>; #size-cells = <1>; ranges;")):
        more = {"reserved": reserved} if reserved else {}
        rc, report = check(virt(regions, pci=pci(2, USES), **more))
        eq((rc, one(report)["exposed"], one(report)["mainline"]["text"]), (1, NEVER, NEVER),
           regions)
        eq(one(report)["project"]["verdict"], "refused")
        eq(len(report["problems"]), 1 if reserved else 0)


@test
def cells():
    """Cells that make no sense, of /reserved-memory and of the root"""
    for n in ("0", "5", "0xffffffff"):
        for regions in (window(), "win: window@5c000000 { reg; };"):
            rc, report = check(virt(regions, pci=pci(2, USES), reserved=f"ranges; "
                                    f"#address-cells = <{n}>; #size-cells = <{n}>;"))
            eq((rc, one(report)["project"]["verdict"], one(report)["exposed"]),
               (1, "refused", NEVER), n)
        source = virt(window(), pci=pci(2, USES))
        check(source.replace("<2>", f"<{n}>", 1))


@test
def by_size():
    size = "win: window { size = <0 0x400000>; alignment = <0 0x1000>; };"
    rc, report = check(virt(size, pci=pci(2, USES)))
    eq((rc, one(report)["project"]["text"], report["regions"][0]["by_kernel"]),
       (0, "window", True))
    assert "cannot know" in program("check", "tree.dtb")[1]
    no = "refused: was not reserved at boot"
    for bad in ("size = <0x400000>;", "size = <0 0x400000>; alignment = <0x1000>;",
                "size = <0 0x400000>; alloc-ranges = <0 0x60000000 0 0x10000000>;",
                "size = <0 0x400000>; alloc-ranges = <0 0>;",
                "size = <0 0x400000>; alloc-ranges;", "size = <0 0>;",
                "size = <0 0x20000000>;"):
        eq(verdicts(virt(f"win: window {{ {bad} }};", pci=pci(2, USES)))[:2], (1, no), bad)
    ok = "size = <0 0x400000>; alloc-ranges = <0 0x50000000 0 0x1000000>;"
    eq(verdicts(virt(f"win: window {{ {ok} }};", pci=pci(2, USES)))[0], 0)


@test
def inheritance():
    """The nearest node that names a region decides."""
    other = window("own", 0x50000000) + window("off", 0x51000000, more='status = "disabled";')
    bridge = BRIDGE.format(USES + pci(2, "restricted-dma-region = <&own>;") + pci(3, "") +
                           pci(4, "restricted-dma-region = <&off>;") + pci(5, """
        device_type = "pci"; #address-cells = <3>; #size-cells = <2>; ranges;
        restricted-dma-region = <&own>; ep@0,0 { reg = <0 0 0 0 0>; };"""))
    rc, report = check(virt(window() + other, bridge=bridge))
    got = {d["device"].replace("/pcie@10000000", ""): (d["region"][-8:], d["project"]["verdict"])
           for d in report["devices"]}
    eq((rc, got), (1, {
        "/ep@2,0": ("50000000", "window"), "/ep@3,0": ("5c000000", "window"),
        "/ep@4,0": ("51000000", "refused"), "/ep@5,0/ep@0,0": ("50000000", "window"),
        "each device below /ep@5,0 that has no node": ("50000000", "window"),
        "each device below  that has no node": ("5c000000", "window")}))


@test
def iommu_inherits_nothing():
    """A bridge's region is for the devices behind an IOMMU on its bus, not for that."""
    for iommu in (pci(1, "#iommu-cells = <1>;"), "mmu: " + pci(1, "")):
        mapped = "iommu-map = <0 &mmu 0 8>, <9 &mmu 9 0xfff7>;" if "mmu:" in iommu else ""
        rc, report = check(virt(window(), bridge=BRIDGE.format(
            USES + mapped + iommu + pci(2, ""))))
        eq((rc, [d["device"] for d in report["devices"]]),
           (0, ["/pcie@10000000/ep@2,0", "each device below /pcie@10000000 that has no node"]))


@test
def virtio_nodes():
    node = f'device {{ compatible = "virtio,device2"; {USES} }};'
    rc, report = check(virt(window(), pci=pci(2, node)))
    eq((rc, one(report)["device"], one(report)["holder"]),
       (0, "/pcie@10000000/ep@2,0", "/pcie@10000000/ep@2,0/device"))


@test
def iommus():
    iommu = 'mmu: iommu@9000000 { compatible = "arm,smmu-v3"; #iommu-cells = <1>; %s };'
    mapped = "iommu-map = <0 &mmu 0 0x10000>;"
    pool = pci(2, "memory-region = <&win>;")
    left = "left reserved and unused behind an IOMMU"
    left = f"left to mainline: the device is behind an IOMMU: {left}"
    src = virt(window(more=POOL), bridge=BRIDGE.format(mapped + pool), nodes=iommu % "")
    eq(verdicts(src)[:2], (1, left))
    # A region works behind an IOMMU; one that is disabled, or not for this ID, is none.
    src = virt(window(), bridge=BRIDGE.format(mapped + pci(2, USES)), nodes=iommu % "")
    eq(verdicts(src)[:2], (0, "window"))
    for m, off in ((mapped, 'status = "disabled";'), ("iommu-map = <0 &mmu 0 8>;", ""),
                   ("iommu-map-mask = <0>; iommu-map = <1 &mmu 0 0x10000>;", "")):
        src = virt(window(more=POOL), bridge=BRIDGE.format(m + pool), nodes=iommu % off)
        eq(verdicts(src), (0, "window", "mainline's pool"), m + off)
    src = virt(window(), nodes=iommu % ("dma-coherent;" + USES))
    eq(verdicts(src)[1], "refused: the device is an IOMMU, which cannot be confined")


@test
def status():
    """A device that is disabled names nothing; okay, ok and none are the same."""
    for status, n in (("okay", 1), ("ok", 1), ("disabled", 0), ("fail", 0), ("", 0)):
        rc, report = check(virt(window(), pci=pci(2, f'status = "{status}"; {USES}')))
        eq((len(report["devices"]), rc), (n, 1 - n), status)
        eq(report["problems"], [], status)


@test
def problems():
    for source, want in (
            (virt(window(), pci=f"ep@2,0 {{ {USES} }};"), "no device reads it"),
            (virt(window(), pci=pci(2, "") + f"two@2,0 {{ reg = <0x1000 0 0 0 0>; {USES} }};"),
             "two@2,0: restricted-dma-region: no device"),
            (virt(window(), nodes=f"bus {{ compatible = \"simple-bus\"; {USES} }};"),
             "is on a bus"),
            (virt(window(), pci=pci(2, "memory-region = <0x99>;")), "dangling phandle 0x99"),
            (virt(window(), pci=pci(2, USES),
                  nodes="a { phandle = <0x77>; }; b { phandle = <0x77>; };"),
             "/b: phandle 0x77 is that of /a")):
        rc, report = check(source)
        eq((rc, len(report["problems"])), (1, 1), want)
        assert want in report["problems"][0], report["problems"]


@test
def overlaps():
    src = virt(window(), pci=pci(2, USES), head="/memreserve/ 0x5c3ff000 0x1000;")
    eq(verdicts(src)[:2],
       (1, "refused: overlaps the /memreserve/ of 0x1000 bytes at 0x5c3ff000"))
    src = virt(window(at=0x48000000), pci=pci(2, USES))
    eq(verdicts(src)[:2], (1, "refused: overlaps the initrd"))
    eq(verdicts(src, "--initrd", "0x44000000+1M")[:2], (0, "window"))
    # A neighbour that is disabled, or only touches, is none.
    near = window("a", 0x5c400000) + window("b", 0x5c000000, more='status = "disabled";').replace(
        "b: window@", "b: off@")
    eq(verdicts(virt(window() + near, pci=pci(2, USES)))[:2], (0, "window"))


@test
def page_sizes():
    src = virt(window(size=0x200000), pci=pci(2, USES))
    eq(verdicts(src)[0], 0)
    eq(verdicts(src, "--page-size", "64K")[:2],
       (1, "refused: is too small: 2048 KiB, it must have at least 4096 KiB"))


# --- the blob ----------------------------------------------------------------


def tries(blob):
    with open("bad.dtb", "wb") as f:
        f.write(blob)
    rc, out, err = program("check", "bad.dtb")
    assert rc in (0, 1) or (rc == 2 and err.startswith("dma-window-dtb: bad.dtb ") and
                            not out and err.count("\n") == 1), (rc, out, err)
    return rc, err


@test
def truncated():
    with open(dtc(virt(window(), pci=pci(2, USES))), "rb") as f:
        blob = f.read()
    for n in [0, 1, 39, 40, 41, 100, *range(200, len(blob), 97), len(blob) - 1]:
        rc, err = tries(blob[:n])
        assert rc == 2 and ("truncated" in err or n < 40), (n, rc, err)
    # What QEMU dumps is padded.
    eq(tries(blob + bytes(1000))[0], 0)


@test
def corrupted():
    with open(dtc(virt(window(), pci=pci(2, USES))), "rb") as f:
        blob = f.read()

    def word(at, value):
        return blob[:at] + value.to_bytes(4, "big") + blob[at + 4:]

    for at, value, says in ((0, 0x7f454c46, "begins with 0x7f454c46"),
                            (4, 0xffffffff, "truncated"),
                            (8, 0xfffffff0, "structure"), (8, 0x3b, "structure"),
                            (12, 0xffffff00, "strings"), (16, 0xffffff00, "reservations"),
                            (20, 2, "version 2"), (24, 99, "version"),
                            (36, 0xffffff00, "structure"), (36, 16, "no end"), (32, 1, "no end")):
        rc, err = tries(word(at, value))
        assert rc == 2 and says in err, (at, value, err)
    body = int.from_bytes(blob[8:12], "big")
    rc, err = tries(word(body + 12, 0xffff))
    assert rc == 2 and "/: #address-cells has 65535 bytes" in err, err
    for value in (0, 2, 3, 9, 0xffffffff):
        eq(tries(word(body, value))[0], 2, f"first token {value}")
    random.seed(1)
    # In one process, which a thousand starts of the program are not worth.
    sys.path.insert(0, os.path.dirname(HERE))
    sys.dont_write_bytecode = True
    import fdt
    import judge
    good = 0
    for i in range(3000):
        bad = bytearray(blob)
        for _ in range(random.randint(1, 4)):
            bad[random.randrange(len(bad))] = random.choice((0, 1, 2, 3, 9, 0xff,
                                                             random.randrange(256)))
        try:
            tree = fdt.read(bytes(bad))
        except fdt.FdtError:
            continue
        judge.Judge(tree).report()
        fdt.read(tree.blob())
        good += 1
    assert 100 < good < 3000, good


@test
def deep():
    nodes = "".join(f"n{i} {{ " for i in range(70)) + "};" * 70
    with open(dtc(virt(nodes=nodes)), "rb") as f:
        rc, err = tries(f.read())
    assert rc == 2 and "levels" in err, err


@test
def no_file():
    for path, says in (("nowhere.dtb", "No such file"), (".", "Is a directory")):
        rc, out, err = program("check", path)
        assert rc == 2 and says in err, err


@test
def arguments():
    for args in ((), ("check",), ("check", "--page-size", "5K", "x"),
                 ("check", "--pools", "x", "x"),
                 ("check", "--image", "1", "x"), ("check", "--image", "1+x", "x"), ("frob", "x"),
                 ("add", "x"),
                 ("add", "--device", "/x", "--region", "1+99999999999999999999", "x")):
        rc, out, err = program(*args)
        assert rc == 2 and "--help" in err and not out, (args, rc, err)
    for args in (("--help",), ("check", "--help"), ("add", "--help")):
        rc, out, err = program(*args)
        assert rc == 0 and "Exit status" in out, args


# --- add ---------------------------------------------------------------------


def add(device, region, *args, file="tree.dtb"):
    return program("add", "--device", device, "--region", region, *args, file)


@test
def add_new():
    """Into a tree that has nothing, by address, by path, and on a transport"""
    source = virt().replace("reserved-memory {", "nothing {")
    for device, path in (("00:02.0", "ep@2,0"), ("0000:00:02.1", "ep@2,1"), ("00:1e.0", "ep@1e,0"),
                         ("/pcie@10000000/ep@2,0", "ep@2,0"), ("/pcie@10000000/disk@3", "disk@3"),
                         ("/pcie@10000000", None), ("/virtio_mmio@a000200", None)):
        before = open(dtc(source), "rb").read()
        rc, out, err = add(device, "0x5c000000+64M", "-o", "new.dtb")
        eq((rc, out, err), (0, "", ""), device)
        eq(open("tree.dtb", "rb").read(), before, "the input")
        rc, out, err = program("check", "--json", "new.dtb")
        names = [d["device"] for d in json.loads(out)["devices"]]
        assert rc == 0 and (not path or names == ["/pcie@10000000/" + path]), (device, names)
        # dtc and fdtget read what was written.
        r = run("fdtget", "-t", "x", "new.dtb", "/reserved-memory/window@5c000000", "reg")
        eq(r.stdout.split(), [b"0", b"5c000000", b"0", b"4000000"], r.stderr)
        r = run("dtc", "-I", "dtb", "-O", "dts", "new.dtb")
        assert not r.returncode and b"restricted-dma-region" in r.stdout, r.stderr
    r = run("fdtget", "-t", "x", "new.dtb", "/reserved-memory", "#size-cells")
    eq(r.stdout, b"2\n")


@test
def add_more():
    """In place, one after the other; a second device shares only when told to."""
    dtc(virt(transports=4, head="/memreserve/ 0x41000000 0x1000;"))
    os.chmod("tree.dtb", 0o640)
    for n, device in enumerate(("00:02.0", "00:03.0", "/virtio_mmio@a000400")):
        eq(add(device, f"{0x50000000 + n * 0x1000000:#x}+16M"), (0, "", ""))
    eq(os.stat("tree.dtb").st_mode & 0o777, 0o640)
    rc, out, err = add("00:04.0", "0x51000000+16M")
    assert rc == 1 and "--share" in err, err
    eq(add("00:04.0", "0x51000000+16M", "--share"), (0, "", ""))
    rc, out, err = program("check", "--json", "tree.dtb")
    report = json.loads(out)
    eq((rc, len(report["devices"]), len(report["regions"])), (0, 4, 3))
    r = run("dtc", "-I", "dtb", "-O", "dts", "tree.dtb")
    assert b"/memreserve/" in r.stdout, r.stdout
    rc, out, err = add("00:05.0", "0x54000000+16M", "-o", "-")
    assert rc == 0 and not err, err


@test
def add_refuses():
    two = BRIDGE.format("") + BRIDGE.format("").replace("10000000", "20000000")
    off = 'off { status = "disabled"; compatible = "a,b"; };'
    for source, device, region, says in (
            (virt(), "00:02.0", "0x5c000000+512K", "too small"),
            (virt(), "00:02.0", "0x5c000800+4M", "whole pages"),
            (virt(), "00:02.0", "0x20000000+4M", "not mapped RAM"),
            (virt(), "00:02.0", "0x5fe00000+4M", "not mapped RAM"),
            (virt(), "00:02.0", "0x48000000+4M", "overlaps the initrd"),
            (virt(window()), "00:02.0", "0x5c200000+4M",
             "overlaps /reserved-memory/window@5c000000"),
            (virt(window()), "00:02.0", "0x5c000000+8M", "of another size"),
            (virt(window(), pci=pci(2, USES)), "00:02.0", "0x50000000+4M", "already"),
            (virt(window(), pci=pci(2, USES)), "00:03.0", "0x5c3ff000+4M", "overlaps"),
            (virt(), "00:20.0", "0x50000000+4M", "32 slots"),
            (virt(), "/pcie@10000000/ep@2,9", "0x50000000+4M", "no such node"),
            (virt(), "/nowhere", "0x50000000+4M", "no such node"),
            (virt(), "nowhere", "0x50000000+4M", "expected a path"),
            (virt(pci=pci(2, "")), "/pcie@10000000/disk@2", "0x50000000+4M", "ep@2,0"),
            (virt(bridge=two), "00:02.0", "0x50000000+4M", "--bridge"),
            (virt(bridge=" "), "00:02.0", "0x50000000+4M", "no PCI host bridge"),
            (virt(), "/platform-bus@c000000", "0x50000000+4M", "is on a bus"),
            (virt(), "/memory@40000000", "0x50000000+4M", "no device reads it"),
            (virt(nodes=off), "/off", "0x50000000+4M", "no device reads it"),
            (virt(incoherent=[0]), "/virtio_mmio@a000000", "0x50000000+4M", "dma-coherent"),
            (virt(reserved="#address-cells = <1>; #size-cells = <1>;"), "00:02.0",
             "0x50000000+4M", "reg has 16 bytes"),
            (virt(), "00:02.0", "0xffffffffffe00000+4M", "wrap around")):
        before = open(dtc(source), "rb").read()
        rc, out, err = add(device, region)
        assert rc == 1 and says in err and not out, (device, region, says, rc, err)
        eq(open("tree.dtb", "rb").read(), before, f"{device} {region}: the file")
    dtc(virt(bridge=two))
    eq(add("00:02.0", "0x50000000+4M", "--bridge", "/pcie@20000000"), (0, "", ""))
    # What was wrong before is no reason, unless it is about the same memory.
    dtc(virt(window(more='status = "disabled";'), pci=pci(2, USES)))
    eq(add("00:03.0", "0x50000000+4M"), (0, "", ""))


def main():
    names = [function.__name__ for function in TESTS]
    unknown = set(sys.argv[1:]) - set(names)
    if unknown:
        sys.exit(f"no test is called {', '.join(unknown)}; there are: {', '.join(names)}")
    tests = [f for f in TESTS if f.__name__ in (sys.argv[1:] or names)]
    print(f"KTAP version 1\n1..{len(tests)}")
    failed = 0
    for i, function in enumerate(tests, 1):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                function()
                print(f"ok {i} {function.__name__}")
            except Exception as e:  # whatever it is, the next test runs
                where = e.__traceback__
                while where.tb_next:
                    where = where.tb_next
                print(f"# {type(e).__name__} in line {where.tb_lineno}: {e}".replace("\n", " "))
                print(f"not ok {i} {function.__name__}")
                failed = 1
            os.chdir("/")
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(main())
