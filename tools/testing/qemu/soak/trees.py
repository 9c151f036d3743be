#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A random device tree, most of it malformed, for the guest "tree" of make soak.

usage: trees.py SEED DIRECTORY

Writes to DIRECTORY
  tree.regions   children of /reserved-memory
  tree.pci       endpoint nodes below the host bridge
  tree.bridge    properties of the bridge
  tree.mmio      virtio-mmio nodes: TRANSPORT PROPERTIES
  tree.devices   what the test expects: NAME KIND, where KIND is

    region  names something by restricted-dma-region, itself or through the bridge
    pool    names something by memory-region, and nothing by the other
    none    names nothing

The same SEED makes the same tree. What would keep any kernel from booting is left out:
no-map of the kernel's own memory, and regions that leave it too little. With an even
SEED the guest has dma_window.pools=strict; with an odd one, what a window cannot serve is
left to mainline, which clears a pool wherever it is: such are in free memory only.
"""

import os
import random
import sys

PCI_SLOTS = range(1, 13)
TRANSPORTS = range(0, 8)

# Memory that nobody uses: of 512 MiB from 0x40000000 on the upper half.
FREE = range(0x50000000, 0x5f000000, 0x400000)
# The kernel, initrd and tree where QEMU puts them, devices, nothing, the ends.
TAKEN = [0x40000000, 0x40200000, 0x48000000, 0x4a000000, 0, 0x9000000, 0xa000000,
         0x20000000, 0x5fe00000, 0x60000000, 0x8000000000, 0xffff00000000,
         0xfffffffffffff000, 0xffffffffffe00000]
SIZES = [0, 1, 2048, 4095, 4096, 0x80000, 0xfffff, 0x100000, 0x200000, 0x3ff800, 0x400000,
         0x400001]
FAR = [0x80000000, 0x4000000000, 0xfffffffffffff000, 0xffffffffffffffff]


def cells(*numbers):
    return " ".join(f"{n >> 32:#x} {n & 0xffffffff:#x}" for n in numbers)


class Tree:
    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.strict = seed % 2 == 0
        self.labels = []
        self.pools = set()
        self.regions = []

    def chance(self, n):
        return self.rnd.randrange(n) == 0

    def reg(self):
        rnd = self.rnd
        free = rnd.random() < 0.7
        base = rnd.choice(FREE if free else TAKEN)
        if self.chance(6):
            base += rnd.choice([1, 0x400, 0x800, 0x1000, 0x100000])
        size = 0x400000 if rnd.random() < 0.6 else rnd.choice(SIZES + ([] if base < 1 << 32
                                                                       else FAR))
        forms = {
            "one": f"reg = <{cells(base & (1 << 64) - 1, size)}>;",
            "two": f"reg = <{cells(base & (1 << 64) - 1, size, rnd.choice(FREE), 0x200000)}>;",
            "short": f"reg = <{cells(base & (1 << 64) - 1)}>;",
            "odd": f"reg = <{cells(base & (1 << 64) - 1, size)} 0x0>;",
            "bytes": "reg = [50 00 00 00 00 00 40];",
            "empty": "reg;",
            "dynamic": f"size = <{cells(rnd.choice([0, 0x1000, 0x80000, 0x100000, 0x400000, 0x80000000]))}>;"
                       + rnd.choice(["", " alignment = <0 0x1000>;", " alignment = <0 0x3000>;",
                                     f" alloc-ranges = <{cells(rnd.choice(FREE), 0x400000)}>;"]),
            "none": "",
        }
        form = "one" if rnd.random() < 0.7 else rnd.choice(list(forms))
        return forms[form], free

    def region(self, number):
        rnd = self.rnd
        reg, free = self.reg()
        props = []
        if self.chance(4):
            props = ['compatible = "restricted-dma-pool";']
            if not free and not self.strict:
                props = []
        elif self.chance(3):
            choices = ["reusable;", 'status = "disabled";', 'status = "okay";', 'status = "";',
                       'status = "fail-sss";', "status = <1>;", "status = [6f 6b];",
                       'compatible = "restricted-dma-pool";',
                       'compatible = "shared-dma-pool";', 'compatible = "";',
                       'compatible = "foo,bar", "restricted-dma-pool";',
                       "compatible = <0xffffffff>;", "linux,dma-default;", "phandle-name = <1>;",
                       "#address-cells = <1>; #size-cells = <1>;", "ranges;"]
            if free:
                choices += ["no-map;", "no-map; reusable;"]
            props = rnd.sample(choices, rnd.randrange(1, 3))
            if not free and not self.strict:
                props = [p for p in props if "restricted-dma-pool" not in p]
            names = [p.split(" ")[0].rstrip(";") for p in props]
            if len(set(names)) < len(names):
                props = props[:1]
        label = f"soak{number}"
        self.labels.append(label)
        if any("restricted-dma-pool" in p for p in props):
            self.pools.add(label)
        self.regions.append(f"{label}: soak-region-{number} {{ {reg} {' '.join(props)} }};")

    def value(self, name):
        """A property that is to name a region."""
        rnd = self.rnd
        if rnd.random() < 0.7:
            return f"{name} = <&{rnd.choice(self.labels)}>;"
        one, two = rnd.choice(self.labels), rnd.choice(self.labels)
        return rnd.choice([
            f"{name};", f"{name} = <0xdead>;", f"{name} = <0>;", f"{name} = <0xffffffff>;",
            f"{name} = <&{one} 0>;", f"{name} = <&{one}>, <&{two}>;", f'{name} = "{one}";',
            f"{name} = [00 00 01];", f"{name} = <&soak_stray>;", f"{name} = <&soak_parent>;",
        ])

    def device(self):
        """(properties, kind) of one device."""
        r = self.rnd.random()
        if r < 0.15:
            return "", "none"
        if r < 0.3:
            props = self.value("memory-region")
            named = props.removeprefix("memory-region = <&").removesuffix(">;")
            # With pools=strict, a pool is a region.
            return props, "region" if self.strict and named in self.pools else "pool"
        props = self.value("restricted-dma-region")
        if self.chance(6):
            props += " " + self.value("memory-region")
        return props, "region"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    tree = Tree(int(sys.argv[1]))
    out = {name: [] for name in ("regions", "pci", "bridge", "mmio", "devices")}
    for number in range(tree.rnd.randrange(4, 17)):
        tree.region(number)
    out["regions"] = tree.regions
    bridge = ""
    if tree.chance(6):
        bridge = tree.value(tree.rnd.choice(["restricted-dma-region", "memory-region"]))
        out["bridge"].append(bridge)
    for slot in PCI_SLOTS:
        props, kind = tree.device()
        if kind != "region" and bridge.startswith("restricted"):
            kind = "region"
        elif kind == "none" and bridge:
            kind = "pool"
        out["pci"].append(f"ep@{slot:x},0 {{ reg = <{slot << 11} 0 0 0 0>; {props} }};")
        out["devices"].append(f"0000:00:{slot:02x}.0 {kind}")
    for n in TRANSPORTS:
        props, kind = tree.device()
        out["mmio"].append(f"{n} {props}")
        out["devices"].append(f"{0xa000000 + n * 0x200:x}.virtio_mmio {kind}")
    for name, lines in out.items():
        with open(os.path.join(sys.argv[2], "tree." + name), "w", encoding="utf-8") as f:
            f.write("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main()
