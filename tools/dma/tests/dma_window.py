#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of dma-window, as one KTAP document: windows, devices and logs in a made-up root,
traces in the forms that kernels and tools print, malformed ones, and a terminal.

usage: dma_window.py PROGRAM [TEST...]
"""

import fcntl
import json
import os
import pty
import random
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PAGES = os.path.join(HERE, "..", "..", "..", "Documentation", "core-api")
PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
TESTS = []
FINE, WARN, BAD, CANNOT, USAGE = range(5)


class Skip(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def eq(got, want, what=""):
    assert got == want, f"{what}: {got!r}, expected {want!r}"


def run(*args, status=FINE, env=None):
    """Standard output and error; the status has to be this one."""
    r = subprocess.run([PROGRAM, *args], capture_output=True, timeout=60, env=env,
                       stdin=subprocess.DEVNULL)
    out, err = r.stdout.decode("utf-8", "replace"), r.stderr.decode("utf-8", "replace")
    assert "Sanitizer" not in err and "runtime error" not in err, err
    assert r.returncode == status, \
        f"{' '.join(args)}: status {r.returncode}, expected {status}\n{out}{err}"
    return out, err


def document(*args, status=FINE):
    return json.loads(run(args[0], "--json", *args[1:], status=status)[0])


def has(text, *words):
    for w in words:
        assert w in text, f"no \"{w}\" in:\n{text}"


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text if isinstance(text, str) else f"{text}\n")


# --- A root: /sys and /proc of a guest

COUNTERS = {
    "io_tlb_nslabs": 2048, "io_tlb_used": 300, "io_tlb_used_hiwater": 900, "base": "0x50000000",
    "size": 4 << 20, "largest_free": 1 << 20, "metadata": 52000, "maps": 1000, "unmaps": 990,
    "floor_maps": 0, "allocs": 5, "frees": 1, "bytes_in": 1 << 20, "bytes_out": 3 << 20,
    "fail_full": 0, "fail_mask": 0, "fail_nomem": 0, "fail_iommu": 0, "fail_invalid": 0,
    "leaked": 0}


class Root:
    def __init__(self, where):
        self.dir = where
        os.makedirs(f"{where}/sys/module/dma_window/parameters")
        os.makedirs(f"{where}/sys/devices")
        os.makedirs(f"{where}/sys/kernel/debug/swiotlb")
        os.makedirs(f"{where}/sys/kernel/tracing/events/dma")
        os.makedirs(f"{where}/sys/kernel/tracing/instances")
        os.makedirs(f"{where}/sys/bus/virtio/devices")
        put(f"{where}/sys/kernel/debug/swiotlb/io_tlb_nslabs", 0)
        put(f"{where}/proc/cmdline", "console=ttyAMA0")
        put(f"{where}/dev/kmsg", "6,1,1,-;dma-window: window@50000000: 4096 KiB at 0x50000000, for 0000:00:02.0\n")

    def window(self, name="window@50000000", devices=(), **counters):
        d = f"{self.dir}/sys/kernel/debug/swiotlb/{name}"
        for key, value in {**COUNTERS, **counters}.items():
            if value is not None:
                put(f"{d}/{key}", value)
        put(f"{d}/devices", "".join(f"{x}\n" for x in devices))
        return d

    def device(self, slot, virtio=2, region=True, copybreak=None, iommu=None, platform=0,
               queues=2, driver="virtio_blk"):
        """A virtio device on PCI; returns its name."""
        name = f"0000:00:{slot:02x}.0"
        d = f"{self.dir}/sys/devices/pci0000:00/{name}"
        v = f"{d}/virtio{slot}"
        os.makedirs(v)
        put(f"{v}/device", f"0x{virtio:04x}")
        put(f"{v}/features", "".join("1" if b == 32 or (b == 33 and platform) else "0"
                                     for b in range(64)))
        for bus, dev, path in (("pci", name, d), ("virtio", f"virtio{slot}", v)):
            os.makedirs(f"{self.dir}/sys/bus/{bus}/devices", exist_ok=True)
            os.symlink(path, f"{self.dir}/sys/bus/{bus}/devices/{dev}")
        if driver:
            os.symlink(f"/drivers/{driver}", f"{v}/driver")
        if virtio == 2:
            for q in range(queues):
                os.makedirs(f"{v}/block/vd{chr(96 + slot)}/mq/{q}")
        if region:
            put(f"{d}/of_node/restricted-dma-region", "\0\0\0\1")
        if iommu:
            os.makedirs(f"{d}/iommu_group")
            os.symlink(f"/devices/{iommu}", f"{d}/iommu")
        if copybreak is not None:
            put(f"{d}/dma_window/copybreak", copybreak)
        return name


def root(function):
    def wrapped():
        with tempfile.TemporaryDirectory() as d:
            function(Root(d))
    wrapped.__name__ = function.__name__
    TESTS.append(wrapped)
    return wrapped


# --- Traces

def line(us, event, args, cpu=0, comm="dd-77"):
    return f"{comm:>22}     [{cpu:03d}] d..2. {us // 1000000:5d}.{us % 1000000:06d}: {event}: {args}\n"


DIRS = {"to": "TO_DEVICE", "from": "FROM_DEVICE", "both": "BIDIRECTIONAL"}
DEV = "0000:00:02.0"


def mapped(us, addr, size, to="to", phys=None, dev=DEV, cpu=0):
    return line(us, "dma_map_page", f"{dev} dir={DIRS[to]} dma_addr={addr:x} size={size} "
                f"phys_addr={addr if phys is None else phys:x} attrs=", cpu)


def unmapped(us, addr, size, to="to", dev=DEV, cpu=0):
    return line(us, "dma_unmap_page", f"{dev} dir={DIRS[to]} dma_addr={addr:x} size={size} attrs=",
                cpu)


def wmapped(us, addr, size, to="to-device", copied=0, dev=DEV):
    return line(us, "dma_window_map", f"{dev} addr={addr:#x} size={size} dir={to} attrs=0x0 "
                f"copied={copied}")


def wunmapped(us, addr, size, to="to-device", copied=0, dev=DEV):
    return line(us, "dma_window_unmap", f"{dev} addr={addr:#x} size={size} dir={to} attrs=0x0 "
                f"copied={copied}")


def requests(n, segments, size, step=1000, life=500, at=0x40000000, depth=1):
    """n requests of a disk that reads, depth of them in flight, each with an indirect table."""
    out, ends = [], []
    for r in range(n):
        us, base = r * step, at + (r % 64) * 0x100000
        parts = [(base, 16, "to")]
        parts += [(base + 0x1000 * (i + 1), size, "from") for i in range(segments)]
        parts += [(base + 0x80010, 1, "from"), (base + 0x90000, 16 * (segments + 2), "to")]
        for a, s, d in parts:
            out.append((us, mapped(us, a, s, d)))
        end = us + life + (depth - 1) * step
        for a, s, d in parts:
            ends.append((end, unmapped(end, a, s, d)))
    return "".join(text for _, text in sorted(out + ends, key=lambda x: x[0]))


def saved(text, name=None):
    f = tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) if not name else open(name, "w")
    with f:
        f.write(text)
    return f.name


def survey(text, *args, status=FINE):
    path = saved(text)
    try:
        return document("survey", "--from", path, *args, status=status)
    finally:
        os.unlink(path)


def survey_text(text, *args, status=FINE):
    path = saved(text)
    try:
        return run("survey", "--from", path, *args, status=status)
    finally:
        os.unlink(path)


# --- Command line

@test
def command_line():
    has(run("--help")[0], "survey", "doctor", "Exit status")
    has(run("status", "--help")[0], "usage")
    has(run("--version")[0], "dma-window ")
    run(status=USAGE)
    for args, word in ((["wash"], 'no verb "wash"'), (["status", "--wash"], "no option --wash"),
                       (["status", "--from", "x"], "--from is not for status"),
                       (["doctor", "here"], "takes no argument"),
                       (["survey", "-t", "soon"], "no time in seconds"),
                       (["survey", "-t", "-1"], "no time in seconds"),
                       (["survey", "-d", 'x" || 1'], "is no name"),
                       (["survey", "-d"], "needs a value"),
                       (["survey", "--buffer", "1"], "from 64K"),
                       (["survey", "--map-ns", "0"], "nanoseconds"),
                       (["survey", "--compare", "-t", "1"], "runs a command twice"),
                       (["survey", "--from", "x", "--", "dd"], "no command"),
                       (["survey", "--from", "x", "-t", "1"], "nothing is recorded"),
                       (["top", "-n", "0"], "no number from 1 on"),
                       (["status", "--json", "--prometheus"], "not both"),
                       (["status"] + ["x"] * 65, "more than 64"),
                       (["set", "copybreak", "x"], "set copybreak DEVICE BYTES"),
                       (["set", "windows", "x", "1"], "what can be set")):
        has(run(*args, status=USAGE)[1], word)


# --- status

@root
def status_fine(r):
    dev = r.device(2, iommu="smmu3.0x9050000", copybreak=16384)
    r.window(devices=[dev])
    out, err = run("status", "--root", r.dir, "-i", "0")
    has(out, "window@50000000: 4 MiB at 0x50000000, named by restricted-dma-region, built in",
        "0000:00:02.0     virtio-blk vdb, driver virtio_blk, copybreak 16 KiB, behind an IOMMU",
        "fill             15 % now, 44 % at most; largest free run 1 MiB",
        "mappings         10 live of 1000; coherent memory: 4 live of 5",
        "copied           1 MiB in, 3 MiB out", "failures         none")
    eq(err, "")
    doc = document("status", "--root", r.dir, "-i", "0")
    eq(doc["form"], "built in")
    w = doc["windows"][0]
    eq((w["name"], w["level"], w["io_tlb_used"], w["base"]),
       ("window@50000000", "fine", 300, 0x50000000))
    eq(w["devices"][0]["copybreak"], 16384)
    has(run("status", "--root", r.dir, "-i", "0.01")[0], "now 0 mappings/s")


@root
def status_failures(r):
    dev = r.device(2)
    r.window(devices=[dev], fail_full=12345, io_tlb_used_hiwater=2048)
    out, _ = run("status", "--root", r.dir, "-i", "0", status=WARN)
    has(out, "WARN 12.3k requests found no room: fail_full", "dma-window size")
    r.window(devices=[dev], fail_full=12345, fail_iommu=2)
    out, _ = run("status", "--root", r.dir, "-i", "0", status=BAD)
    has(out, "BAD  2 requests that the IOMMU did not map")
    eq(document("status", "--root", r.dir, "-i", "0", status=BAD)["windows"][0]["level"], "bad")
    for name in ("fail_mask", "fail_nomem", "fail_invalid", "leaked"):
        r.window(devices=[dev], **{name: 1})
        has(run("status", "--root", r.dir, "-i", "0", status=BAD)[0], name)


@root
def status_refused(r):
    r.window(devices=[r.device(2)])
    r.device(3, driver=None)
    out, _ = run("status", "--root", r.dir, "-i", "0", status=BAD)
    has(out, "0000:00:03.0: BAD  names a region (restricted-dma-region), and has no window")
    eq(document("status", "--root", r.dir, "-i", "0", status=BAD)["without_window"][0]["name"],
       "0000:00:03.0")
    run("status", "--root", r.dir, "-i", "0", "0000:00:02.0")
    run("status", "--root", r.dir, "-i", "0", "window@50000000")
    has(run("status", "--root", r.dir, "-i", "0", "0000:00:09.0", status=CANNOT)[1],
        "no device or window is called 0000:00:09.0")


@root
def status_without_counters(r):
    r.device(2)
    shutil.rmtree(f"{r.dir}/sys/kernel/debug/swiotlb")
    out, err = run("status", "--root", r.dir, status=CANNOT)
    has(out, "0000:00:02.0: names a region (restricted-dma-region), driver virtio_blk")
    has(err, "is debugfs mounted")
    shutil.rmtree(f"{r.dir}/sys/kernel/debug")
    has(run("status", "--root", r.dir, status=CANNOT)[1], "there is no debugfs")
    has(run("status", "--root", "/nonexistent", status=CANNOT)[1], "no debugfs")


@root
def status_older_kernel(r):
    """A file that is not there is not a zero."""
    r.window(devices=[r.device(2)], floor_maps=None, metadata=None)
    w = document("status", "--root", r.dir, "-i", "0")["windows"][0]
    assert "floor_maps" not in w and "maps" in w, w


@root
def status_prometheus(r):
    r.window('window@"5', devices=[r.device(2)], fail_full=7)
    out, _ = run("status", "--root", r.dir, "--prometheus", status=WARN)
    metrics = {}
    for text in out.splitlines():
        if text.startswith("#"):
            assert re.match(r"# (HELP|TYPE) dma_window_\w+ ", text), text
            continue
        m = re.fullmatch(r'(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\d+)', text)
        assert m, text
        metrics[m[1]] = (m[2], int(m[3]))
    eq(metrics["dma_window_fail_full_total"], ('window="window@\\"5"', 7))
    eq(metrics["dma_window_io_tlb_used"][1], 300)
    has(metrics["dma_window_device"][0], 'device="0000:00:02.0"', 'kind="virtio-blk"')


@root
def status_inherits(r):
    """A property of a bridge, a pool of mainline's, a window of an untrusted device."""
    dev = r.device(2, region=False)
    put(f"{r.dir}/sys/devices/pci0000:00/of_node/restricted-dma-region", "\0\0\0\1")
    r.window(devices=[dev])
    pool = r.device(3, region=False)
    put(f"{r.dir}/sys/devices/pci0000:00/{pool}/of_node/memory-region", "\0\0\0\2")
    put(f"{r.dir}/sys/firmware/devicetree/base/reserved-memory/pool@60000000/compatible",
        "restricted-dma-pool\0")
    r.window("pool@60000000", devices=[pool])
    r.window("untrusted-4")
    out, _ = run("status", "--root", r.dir, "-i", "0")
    has(out, "named by restricted-dma-region of a bridge",
        "named by memory-region (restricted-dma-pool)", "named by dma_window.untrusted")


# --- size

@root
def size_of_a_window(r):
    r.window(devices=[r.device(2)], io_tlb_used_hiwater=400)
    d = document("size", "--root", r.dir)[0]
    # Floors of two queues in 2048 slots have 256; 144 remain.
    eq((d["floor_slots"], d["minimum"], d["minimum_known"]), (256, 1 << 20, True))
    assert d["comfortable"] > d["minimum"]
    r.window(devices=["0000:00:02.0"], io_tlb_used_hiwater=1900)
    d = document("size", "--root", r.dir)[0]
    eq(d["minimum"], 4 << 20)
    has(run("size", "--root", r.dir)[0], "minimum 4 MiB, comfortable 8 MiB")
    r.window(devices=["0000:00:02.0"], fail_full=3)
    d = document("size", "--root", r.dir, status=WARN)[0]
    assert d["minimum"] > 4 << 20 and d["comfortable"] >= 8 << 20 and not d["minimum_known"], d
    has(run("size", "--root", r.dir, status=WARN)[0], "too small for that load")


@root
def size_of_a_load(r):
    d = r.window(devices=[r.device(2)], fail_full=3)
    script = f"echo 700 >{d}/io_tlb_used_hiwater"
    w = document("size", "--root", r.dir, "--", "sh", "-c", script)[0]
    eq((w["most_slots"], w["fail_full"]), (700, 0))
    script = f"cat {d}/io_tlb_used_hiwater; echo 9 >{d}/fail_full"
    out, _ = run("size", "--root", r.dir, "sh", "-c", script, status=WARN)
    assert out.startswith("0"), out
    has(out, "6 requests found no room")
    has(run("size", "--root", r.dir, "-d", "x", status=CANNOT)[1], "is called x")
    has(run("size", "--root", "/nonexistent", status=CANNOT)[1], "debugfs")
    _, err = run("size", "--root", r.dir, "false")
    has(err, "false ended with status 1")


# --- set

@root
def set_copybreak(r):
    dev = r.device(2, iommu="virtio0", copybreak=65536)
    file = f"{r.dir}/sys/devices/pci0000:00/{dev}/dma_window/copybreak"
    has(run("set", "copybreak", dev, "16K", "--root", r.dir)[0], "copybreak 16384, was 65536")
    eq(open(file).read(), "16384\n")
    eq(document("set", "copybreak", dev, "all", "--root", r.dir)["copybreak"], 0xffffffff)
    run("set", "copybreak", dev, "0", "--root", r.dir)
    for bad in ("", "16X", "-1", "0x", "16KK", "1e3", "18446744073709551616", "17179869184G"):
        has(run("set", "--root", r.dir, "copybreak", "--", dev, bad, status=USAGE)[1], "no size")
    has(run("set", "copybreak", dev, "4G", "--root", r.dir, status=USAGE)[1], "too large")
    has(run("set", "copybreak", "../x", "1", "--root", r.dir, status=USAGE)[1], "no name of a device")
    has(run("set", "copybreak", "x", "1", "--root", r.dir, status=CANNOT)[1], "there is no device x")
    has(run("set", "copybreak", r.device(3), "1", "--root", r.dir, status=CANNOT)[1],
        "not behind an IOMMU")
    has(run("set", "copybreak", r.device(4, iommu="virtio0"), "1", "--root", r.dir,
            status=CANNOT)[1], "has no window")
    eq(open(file).read(), "0\n")


# --- events

@test
def events_forms():
    """The kernel's form, that of trace-cmd, that of perf; names with anything in them."""
    args = f"{DEV} dir=TO_DEVICE dma_addr=41000010 size=16 phys_addr=41000010 attrs="
    text = ("# tracer: nop\n#\n"
            f"  kworker/0:1H: [1] -31      [000] d..2.     1.000001: dma_map_page: {args}\n"
            f"              dd-77      (     70) [001] d..2.     1.000002: dma_map_page: {args}\n"
            f"              dd-77    [001]     1.000003: dma_map_page:         {args}\n"
            f"            dd    77 [001]     1.000004: dma:dma_map_page: {args}\n"
            "              dd-77      [001] .....     1.000005: sched_switch: prev_comm=dd\n")
    path = saved(text)
    out, _ = run("events", "--from", path)
    eq(len(out.splitlines()), 5)
    for words in ("1.000001   0      31", "1.000002   1      77", "1.000003   1      77",
                  "1.000004   1      77"):
        has(out, words)
    eq(out.count("0x41000010       16 to buffer=0x41000010"), 4)
    docs = [json.loads(x) for x in run("events", "--from", path, "--json")[0].splitlines()]
    eq([d["ns"] for d in docs], [1000001000, 1000002000, 1000003000, 1000004000])
    eq(docs[0]["event"], "map")
    os.unlink(path)


@test
def events_of_windows():
    text = (line(1, "dma_window_attach", f"{DEV} window=window@50000000 base=0x50000000 size=4194304")
            + wmapped(2, 0x50000800, 100, copied=100) + wunmapped(3, 0x50000800, 100)
            + line(4, "dma_window_sync", f"{DEV} addr=0x50000800 size=64 dir=from-device for=cpu copied=64")
            + line(5, "dma_window_alloc", f"{DEV} addr=0x50300000 size=8192")
            + line(6, "dma_window_free", f"{DEV} addr=0x50300000 size=8192")
            + line(7, "dma_window_fail", f"{DEV} reason=full size=65536")
            + line(8, "dma_window_refuse", f"{DEV} error=-22"))
    path = saved(text)
    out, _ = run("events", "--from", path)
    has(out, "window attach", "0x50000800      100 to copied=100", "window sync",
        "0x50300000     8192", "65536 full", "window refuse")
    os.unlink(path)


# --- survey

@test
def survey_facts():
    d = survey(requests(100, 4, 4096))["devices"][0]
    eq((d["device"], d["maps"], d["unmaps"]), (DEV, 700, 700))
    eq((d["to_device"], d["from_device"]), (200, 500))
    eq(d["size"], {"p50": 4096, "p99": 4096, "most": 4096})
    eq(d["lifetime_ns"], {"p50": 500000, "p99": 500000, "most": 500000})
    eq(d["in_flight"], {"p50": 4, "p99": 7, "most": 7})
    # Header, status and table share their granules; the data is whole pages.
    eq((d["share_granule"], d["cover_none_whole"]), (300, 300))
    eq(d["exposed_bytes"], 100 * (4096 - 16 + 4095 + 4096 - 96))
    eq((d["requests"], d["requests_exact"], d["segments"]["p99"]), (100, True, 6))
    eq(d["largest_request"], 4 * 4096 + 17)
    eq((d["pages"], d["different_pages"]), (700, 7 * 64))
    eq(d["began_in_seen_page"], 700 - 7 * 64)
    eq(sum(b["count"] for b in d["size_histogram"]), 700)
    # In flight: 4 * 2 + 3 slots. The kernel's own minimum rules.
    eq((d["peak_slots"], d["answers"]["minimum"]), (11, 1 << 20))
    assert d["answers"]["minimum_is_the_kernels"]
    assert d["answers"]["copy_ns_per_kib"] > 0


@test
def survey_window():
    """A load that needs more than the least; in half of it there is no room."""
    text = requests(64, 64, 4096, step=10, life=20, depth=48)
    note = f"# dma-window: device={DEV} kind=virtio-blk queues=1 ring=0 iommu=-\n"
    a = survey(text + note)["devices"][0]
    peak, answers = a["peak_slots"], a["answers"]
    assert 5000 < peak < 7000, peak
    least = peak * 2048
    assert least * 16 / 15 < answers["minimum"] < least * 1.6, (least, answers)
    assert answers["comfortable"] > answers["minimum"]
    assert answers["half_without_room"] > 100 and not answers["half_refused"]
    out, _ = survey_text(text + note)
    has(out, "0000:00:02.0: virtio-blk", "in half of it, ", "would find no room")
    # Without floors it is less.
    b = survey(text)["devices"][0]["answers"]
    assert b["minimum"] < answers["minimum"], (b, answers)
    has(survey_text(text)[0], "--kind")
    eq(survey(text, "--kind", "virtio-blk")["devices"][0]["answers"]["minimum"],
       answers["minimum"])


@test
def survey_reserve():
    """The last sixteenth is not for streaming: 460 slots, and a sixteenth more, need it."""
    text = "".join(mapped(i, 0x41000000 + 4096 * i, 2048) for i in range(460))
    text += "".join(unmapped(999, 0x41000000 + 4096 * i, 2048) for i in range(460))
    eq(survey(text)["devices"][0]["answers"]["minimum"], 1280 << 10)


@test
def survey_length():
    """Mapped against delivered: from the window's copies, or from the device's counter."""
    net = f"# dma-window: device={DEV} kind=virtio-net queues=1 ring=256 iommu=-"
    text = "".join(wmapped(i * 10, 0x50000000 + 2048 * i, 1536, "from-device")
                   + wunmapped(i * 10 + 5, 0x50000000 + 2048 * i, 1536, "from-device", copied=64)
                   for i in range(50))
    d = survey(text + net + "\n")["devices"][0]
    eq(d["answers"]["mapped_per_delivered"], 24)
    has(survey_text(text + net + "\n")[0], "24 bytes mapped for each one delivered: length-aware",
        "of receive buffers that were never used")
    assert "granule" not in d
    text = "".join(mapped(i * 10, 0x41000000 + 4096 * i, 1536, "from")
                   + unmapped(i * 10 + 5, 0x41000000 + 4096 * i, 1536, "from") for i in range(50))
    d = survey(text + net + " delivered=76800\n")["devices"][0]
    eq(d["answers"]["mapped_per_delivered"], 1)
    has(survey_text(text + net + " delivered=76800\n")[0], "hardly help")
    has(survey_text(text)[0], "used bytes  not known")


@test
def survey_both_groups():
    """A device with a window has events of both groups: a mapping counts once."""
    text = "".join(wmapped(i * 10, 0x50000000, 512, copied=512) + mapped(i * 10, 0x50000000, 512, phys=0x41000200)
                   + wunmapped(i * 10 + 5, 0x50000000, 512) + unmapped(i * 10 + 5, 0x50000000, 512)
                   for i in range(10))
    d = survey(text)["devices"][0]
    eq((d["maps"], d["unmaps"], d["copied_in"], d["share_granule"]), (10, 10, 5120, 10))


@test
def survey_iommu():
    note = f"# dma-window: device={DEV} kind=virtio-blk queues=1 ring=0 iommu=smmu3.0x9050000\n"
    text = requests(20, 2, 65536) + note
    d = survey(text, "--map-ns", "50000")["devices"][0]["answers"]
    assert d["copybreak"] >= 4096 and d["copybreak"] & (d["copybreak"] - 1) == 0, d
    eq(d["map_ns_guessed"], False)
    has(survey_text(text)[0], "copybreak   ", "a guess; --map-ns says better", "behind an SMMU")
    more = survey(text, "--map-ns", "900000000")["devices"][0]["answers"]["copybreak"]
    eq(more, 1 << 20)


@test
def survey_lists():
    """dma_map_sg tells bus addresses, its unmap the buffers."""
    text = (line(10, "dma_map_sg", "0000:00:05.0 dir=TO_DEVICE nents=3/3 ents=3/3 "
                 "dma_addrs={0x9000,0xa000,0xb000} sizes={0x1000,0x1000,0x200} "
                 "phys_addrs={0x41000000,0x42000000,0x43000000} attrs=")
            + line(70, "dma_unmap_sg", "0000:00:05.0 dir=TO_DEVICE "
                   "phys_addrs={0x41000000,0x42000000,0x43000000} attrs="))
    d = survey(text)["devices"][0]
    eq((d["maps"], d["unmaps"], d["bytes"], d["segments"]["most"]), (3, 3, 0x2200, 3))
    eq((d["lifetime_ns"]["p50"], d["mapped_after"]), (60000, 0))
    _, err = survey_text(text.replace("ents=3/3 dma", "ents=128/300 [TRUNCATED] dma"), status=WARN)
    has(err, "1 lists were longer than the kernel tells")


@test
def survey_odd_ends():
    """Mapped before, mapped still, failed, twice at one address."""
    text = (unmapped(1, 0x41000000, 4096) + mapped(2, 0x41000000, 4096)
            + mapped(3, 0x41000000, 4096) + unmapped(4, 0x41000000, 4096)
            + line(5, "dma_map_page", f"{DEV} dir=TO_DEVICE dma_addr=ffffffffffffffff size=64 "
                   "phys_addr=41000000 attrs=")
            + line(6, "dma_alloc", f"{DEV} dir=BIDIRECTIONAL dma_addr=42000000 size=10000 "
                   "virt_addr=00000000abcdef flags=GFP_KERNEL attrs="))
    d = survey(text)["devices"][0]
    eq((d["mapped_before"], d["mapped_after"], d["failed"], d["in_flight"]["most"]), (1, 1, 1, 2))
    # How long the one that was mapped before has lived, nobody knows.
    eq(sum(b["count"] for b in d["lifetime_histogram"]), 1)


@test
def survey_lost():
    text = requests(10, 1, 4096) + "CPU:1 [LOST 120 EVENTS]\n"
    out, err = survey_text(text, status=WARN)
    has(out, "lost events: 120")
    has(err, "dropped 120 events")
    eq(survey(text, status=WARN)["lost"], 120)
    text = "# entries-in-buffer/entries-written: 140/250   #P:2\n" + requests(10, 1, 4096)
    eq(survey(text, status=WARN)["lost"], 110)
    eq(survey(requests(3, 1, 512) + "CPU:0 [7 EVENTS DROPPED]\n", status=WARN)["lost"], 7)
    # An unmap is missing: the next map at the address ends the old mapping.
    text = mapped(1, 0x1000, 64) + mapped(2, 0x1000, 64) + "CPU:0 [LOST 1 EVENTS]\n"
    eq(survey(text, status=WARN)["devices"][0]["in_flight"]["most"], 1)


@test
def survey_malformed():
    good = requests(3, 1, 4096)
    for bad, why in ((mapped(1, 0x1000, 64).replace("size=64 ", ""), "no size="),
                     (mapped(1, 0x1000, 64).replace("size=64", "size=6x"), "no size="),
                     (mapped(1, 0x1000, 64).replace("TO_DEVICE", "UPWARDS"), "no dir="),
                     (mapped(1, 0x1000, 64).replace("dma_addr=1000", "dma_addr=here"), "no dma_addr="),
                     (mapped(1, 0x1000, 64).replace("phys_addr", "physaddr"), "no phys_addr="),
                     (mapped(1, 0x1000, 64).replace(DEV + " ", ""), "no name of a device"),
                     (mapped(1, 0x1000, 1 << 33), "more than 4 GiB"),
                     (mapped(1, 0x1000, 64)[:63] + "\n", "ends in its name"),
                     (mapped(1, 0x1000, 64)[:80] + "\n", "no dir="),
                     (wmapped(1, 0x1000, 64).replace("copied=0", ""), "no copied="),
                     ("dd: dma_map_page: cut off\n", "before it"),
                     (line(1, "dma_window_fail", f"{DEV} size=1"), "no reason="),
                     (line(1, "dma_map_sg", f"{DEV} dir=TO_DEVICE phys_addrs={{}}"), "no dma_addrs="),
                     (f"# dma-window: device={DEV} kind=\n", "no kind=")):
        out, err = survey_text(good + bad, status=WARN)
        has(err, ".txt:" + str(good.count("\n") + 1) + ": ", why, "1 lines could not be decoded")
        has(out, DEV)
    # A time without a dot is another clock.
    has(survey_text("dd-1 [000] d..2. 123456: dma_map_page: x\n", status=CANNOT)[1], "no event of dma:*")
    has(survey_text("", status=CANNOT)[1], "no event of dma:* or dma_window:* in its 0 lines")
    has(survey_text("hello\nworld\n", status=CANNOT)[1], "in its 2 lines")
    has(survey_text("a\0b\n", status=CANNOT)[1], ".txt:1: not a text")
    has(run("survey", "--from", "/nonexistent", status=CANNOT)[1], "/nonexistent: No such file")
    has(run("survey", "--from", HERE, status=CANNOT)[1], "Is a directory")
    has(survey_text(good, "-d", "0000:00:09.0", status=CANNOT)[1], "0000:00:09.0 mapped nothing")


@test
def survey_garbage():
    """Lines that are cut, joined and changed at random end in no crash."""
    rng = random.Random(14)
    base = requests(6, 3, 5000) + wmapped(9, 0x50000000, 700) + wunmapped(12, 0x50000000, 700)
    base += line(10, "dma_map_sg", f"{DEV} dir=TO_DEVICE nents=1/1 ents=1/1 dma_addrs={{0x9000}} "
                 "sizes={0x1000} phys_addrs={0x41000000} attrs=")
    for _ in range(60):
        text = bytearray(base.encode())
        for _ in range(rng.randrange(1, 40)):
            at = rng.randrange(len(text))
            choice = rng.randrange(4)
            if choice == 0:
                text[at] = rng.choice(b"0123456789abcdefx={}[]: -,\n#")
            elif choice == 1:
                del text[at:at + rng.randrange(1, 80)]
            elif choice == 2:
                text[at:at] = text[rng.randrange(len(text)):][:rng.randrange(1, 200)]
            else:
                text[at:at] = b"99999999999999999999"
        path = saved(text.decode("ascii", "replace"))
        r = subprocess.run([PROGRAM, "survey", "--json", "--from", path], capture_output=True,
                           timeout=60)
        os.unlink(path)
        assert r.returncode in (FINE, WARN, CANNOT), r.stderr.decode()
        if r.returncode != CANNOT:
            json.loads(r.stdout)


@root
def survey_live_errors(r):
    r.device(2)
    has(run("survey", "--root", r.dir, "-t", "0", status=CANNOT)[1], "cannot write")
    eq(os.listdir(f"{r.dir}/sys/kernel/tracing/instances"), [])
    has(run("survey", "--root", r.dir, "-d", "x", "-t", "0", status=CANNOT)[1], "there is no device x")
    has(run("survey", "--root", r.dir, "-d", "virtio2", "-t", "0", status=USAGE)[1], "its transport's")
    has(run("survey", "--root", "/nonexistent", "-t", "0", status=CANNOT)[1], "is tracefs mounted")


@test
def plots():
    if not shutil.which("gnuplot"):
        raise Skip("no gnuplot here")
    with tempfile.TemporaryDirectory() as d:
        path, svg = saved(requests(50, 4, 4096)), f"{d}/it's.svg"
        run("survey", "--from", path, "--plot", svg)
        text = open(svg).read()
        has(text, "<svg", "sizes: 0000:00:02.0", "copy against map", "fill of a window")
        has(run("survey", "--from", path, "--plot", f"{d}/no/x.svg", status=CANNOT)[1], "gnuplot failed")
        os.unlink(path)
        r = Root(f"{d}/r")
        r.window(devices=[r.device(2)])
        for verb in (["status", "-i", "0"], ["size"], ["top", "-i", "0.01", "-n", "3"]):
            svg = f"{d}/{verb[0]}.svg"
            run(*verb, "--root", r.dir, "--plot", svg)
            has(open(svg).read(), "<svg", "window")


@test
def plot_without_gnuplot():
    path = saved(requests(5, 4, 4096))
    with tempfile.TemporaryDirectory() as d:
        os.symlink(shutil.which("sh"), f"{d}/sh")
        _, err = run("survey", "--from", path, "--plot", f"{d}/x.svg", status=CANNOT,
                     env={**os.environ, "PATH": d})
    os.unlink(path)
    has(err, "is gnuplot-nox installed?")


# --- top

@root
def top_batch(r):
    r.window(devices=[r.device(2)], fail_full=2)
    r.window("window@60000000", devices=[r.device(3)], io_tlb_used=2000)
    out, _ = run("top", "--root", r.dir, "-b", "-n", "2", "-i", "0.01")
    has(out, "dma-window: 2 windows, 2 devices", "WINDOW, DEVICE", "window@50000000", "  0000:00:02.0")
    for text in out.splitlines():
        assert len(text) < 80, text
    docs = [json.loads(x) for x in
            run("top", "--root", r.dir, "-n", "2", "-i", "0.01", "--json")[0].splitlines()]
    eq(len(docs), 2)
    rows = {x.get("window") or x["device"]: x for x in docs[1]["rows"]}
    eq((rows["window@60000000"]["slots"], rows["window@50000000"]["failed"]), (2000, 2))
    has(run("top", "--root", "/nonexistent", status=CANNOT)[1], "debugfs")
    out, _ = run("top", "--root", r.dir, "-n", "1", "-i", "0.01", "0000:00:03.0")
    assert "window@60000000" in out and "window@50000000" not in out, out


class Screen:
    """As much of a terminal as a serial console's is used."""

    def __init__(self, rows, columns):
        self.size = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.wrapped = False

    def feed(self, text):
        for m in re.finditer(r"\x1b\[([?0-9;]*)([A-Za-z])|(.)", text, re.S):
            if m[3] is None:
                self.control(m[1], m[2])
            elif m[3] == "\n":
                if self.row == self.size[0] - 1:
                    self.wrapped = True
                self.row = min(self.row + 1, self.size[0] - 1)
            elif m[3] == "\r":
                self.column = 0
            else:
                if self.column == self.size[1]:
                    self.wrapped = True
                    self.column = 0
                self.cells[self.row][self.column] = m[3]
                self.column += 1

    def control(self, args, what):
        if what == "H":
            n = [int(x or 1) for x in (args or "1;1").split(";")]
            self.row, self.column = n[0] - 1, n[1] - 1
        elif what == "K":
            self.cells[self.row][self.column:] = [" "] * (self.size[1] - self.column)
        elif what == "J":
            start = 0 if args == "2" else self.row + (self.column > 0)
            for i in range(start, self.size[0]):
                self.cells[i] = [" "] * self.size[1]
        else:
            assert what in "mhl", what

    def lines(self):
        return ["".join(c).rstrip() for c in self.cells]


def terminal(args, keys, rows=24, columns=80):
    """What is on the screen after the keys, just before the program ends."""
    pid, fd = pty.fork()
    if not pid:
        os.environ["TERM"] = "vt100"
        os.execv(PROGRAM, [PROGRAM, *args])
    # A serial console says that it has no size.
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    screen, last, raw = Screen(rows, columns), None, ""
    end = time.time() + 30
    keys = list(keys)
    wait = time.time() + 0.5
    while time.time() < end:
        if select.select([fd], [], [], 0.05)[0]:
            try:
                text = os.read(fd, 65536).decode("utf-8", "replace")
            except OSError:
                break
            raw += text
            screen.feed(text)
        if keys and time.time() > wait:
            last = screen.lines()
            os.write(fd, keys.pop(0).encode())
            wait = time.time() + 0.3
    _, status = os.waitpid(pid, 0)
    assert not screen.wrapped, f"the screen scrolled:\n{raw[:2000]!r}"
    return last, os.waitstatus_to_exitcode(status), raw


@root
def top_screen(r):
    for n in range(12):
        r.window(f"window@{0x50 + n:x}000000", devices=[r.device(2 + n)], fail_full=n,
                 maps=123456789012, bytes_in=1 << 50)
    args = ["top", "--root", r.dir, "-i", "0.05"]
    lines, status, raw = terminal(args, "fmpq")
    eq(status, FINE)
    assert lines[0].startswith("dma-window: 12 windows, 12 devices"), lines
    has(lines[1], "WINDOW, DEVICE", "P99")
    has(lines[-1], "q quit")
    has(raw, "\x1b[?25h")
    assert all(len(x) < 80 for x in lines), lines
    lines, _, _ = terminal(args, "f q")
    has(lines[2], "window@5b000000")


# --- doctor

@root
def doctor_fine(r):
    r.window(devices=[r.device(2)])
    out, _ = run("doctor", "--root", r.dir)
    has(out, "ok   kernel: has restricted DMA windows, built in", "ok   devices: 1 in 1 windows",
        "ok   log: no complaint", "none failed")
    assert "WARN" not in out and "BAD" not in out, out
    assert all(x["level"] == "fine" for x in document("doctor", "--root", r.dir))


@root
def doctor_finds(r):
    r.window(devices=[r.device(2), r.device(3, iommu="virtio0", driver=None)], fail_full=9, leaked=4096)
    r.device(4)
    r.device(5, region=False)
    put(f"{r.dir}/proc/cmdline", "dma_window.pools=all iommu.passthrough=1 dma_window.untrusted=4k")
    put(f"{r.dir}/sys/firmware/devicetree/base/reserved-memory/window@60000000/phandle", "\0\0\0\1")
    put(f"{r.dir}/dev/kmsg", "3,9,9,-;virtio-pci 0000:00:04.0: restricted-dma-region: "
        "/reserved-memory/window@60000000: is too small: 512 KiB, it must have at least 1024 KiB\n"
        "3,9,9,-;something overlaps nothing of ours\n")
    out, _ = run("doctor", "--root", r.dir, status=BAD)
    has(out, "BAD  parameters: dma_window.pools=all", "BAD  parameters: iommu.passthrough=1",
        "BAD  parameters: dma_window.untrusted=4k",
        "BAD  0000:00:04.0: names region window@60000000 by restricted-dma-region, and has no window",
        "BAD  log: virtio-pci 0000:00:04.0", "at least 1 MiB, or 64 pages",
        "WARN virtio: 1 not confined, whose back ends may need all memory: 0000:00:05.0 (virtio-blk)",
        "WARN window@50000000: was too full for 9 requests", "did not let go of 4096 bytes",
        "does not offer VIRTIO_F_ACCESS_PLATFORM, so it does not go through its IOMMU",
        "0000:00:03.0: has a window, but no driver", "shares window@50000000 with")
    assert "overlaps nothing" not in out
    doc = document("doctor", "--root", r.dir, status=BAD)
    assert {x["level"] for x in doc} >= {"fine", "warn", "bad"}


@root
def doctor_nothing(r):
    shutil.rmtree(f"{r.dir}/sys/module/dma_window")
    shutil.rmtree(f"{r.dir}/sys/kernel/debug/swiotlb")
    out, _ = run("doctor", "--root", r.dir, status=CANNOT)
    has(out, "has no restricted DMA windows", "?    counters:")
    has(run("doctor", "--root", r.dir, "--log", "/nonexistent", status=CANNOT)[1], "/nonexistent")


@root
def doctor_messages(r):
    """Each message is one of the page, and an example of each is found in a log."""
    source = open(os.path.join(HERE, "..", "doctor.c")).read()
    rules = re.findall(r'^\t\{ "((?:[^"\\]|\\.)*)", EXIT_', source, re.M)
    assert len(rules) > 40, len(rules)
    page = open(f"{PAGES}/dma-window-troubleshooting.rst").read()
    page = page.replace('"<compatible>": it', "it")
    entries = re.findall(r"^``(.+)``$", page, re.M)
    prefix = "virtio-pci 0000:00:04.0: restricted-dma-region: /reserved-memory/window@60000000: "
    for rule in rules:
        found = [e for e in entries if rule.lstrip(": ").rstrip() in e]
        assert found, f"\"{rule}\" is no message of the page"
        put(f"{r.dir}/dev/kmsg", f"3,9,9,-;{prefix}{re.sub('<[a-z]+>', '7', found[0])}\n")
        out, _ = run("doctor", "--root", r.dir, status=BAD)
        assert "log: virtio-pci" in out, f"{rule}\n{found[0]}\n{out}"


def main():
    names = sys.argv[2:]
    tests = [t for t in TESTS if not names or t.__name__ in names]
    print(f"KTAP version 1\n1..{len(tests)}")
    failed = 0
    for i, t in enumerate(tests, 1):
        try:
            t()
            print(f"ok {i} {t.__name__}", flush=True)
        except Skip as e:
            print(f"ok {i} {t.__name__} # SKIP {e}", flush=True)
        except Exception as e:
            failed += 1
            for text in f"{type(e).__name__}: {e}".splitlines()[:20]:
                print(f"# {text}")
            print(f"not ok {i} {t.__name__}", flush=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
