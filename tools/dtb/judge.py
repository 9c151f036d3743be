# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel makes of the regions of a tree, in that kernel's words.

The kernel with this project is judged as kernel/dma/window/ does it (region.c,
unread.c, attach.c), and the reasons are its messages; one without it as
drivers/of/of_reserved_mem.c, of/device.c and kernel/dma/swiotlb.c of v6.12 do. A
reason that needs more than the tree (EFI's memory map, what a slot holds) is not
known here.
"""

REGION, POOL = "restricted-dma-region", "restricted-dma-pool"
UNREAD = "no device reads it, nothing is confined by it"
ON_BUS = "is on a bus, the devices below are not confined by it"
NOT_COHERENT = "the device is not dma-coherent, which windows do not support"

# Properties with which swiotlb's init function does not take a restricted-dma-pool
POOL_REJECTS = ("reusable", "linux,cma-default", "linux,dma-default", "no-map")

GIVEN_BACK = "given back to the page allocator while the host still shares it"
NEVER_RESERVED = "never reserved: the kernel's own memory while the host still shares it"


def pa(x):
    return f"0x{x:016x}"


def overlap(a, b):
    return a[1] and b[1] and (b[0] - a[0] < a[1] if a[0] < b[0] else a[0] - b[0] < b[1])


def subtract(ranges, hole):
    """Ranges as (start, end), without a hole."""
    for start, end in ranges:
        if start < min(end, hole[0]):
            yield start, min(end, hole[0])
        if max(start, hole[1]) < end:
            yield max(start, hole[1]), end


def is_pci(node):
    return (node.string("device_type") in ("pci", "pciex") or node.base_name == "pcie")


def is_host(node):
    """A host bridge, which no bus of PCI is above."""
    return is_pci(node) and not any(is_pci(up) for up in node.ancestors())


def is_virtio_node(node):
    return (node.parent and not is_pci(node.parent) and
            any(s.startswith("virtio,device") for s in node.strings("compatible")))


def is_bus(node):
    return (node.string("compatible") in ("simple-mfd", "simple-pm-bus") or
            any(node.compatible(c) for c in ("simple-bus", "isa", "arm,amba-bus")))


def devfn(node):
    """Device and function of a PCI device's node, or None if it has none."""
    reg = node.cells("reg")
    return (reg[0] >> 8) & 0xff if len(reg) >= 5 else None


def is_endpoint(node):
    """A node that a device in its slot gets; of two with one address, the first."""
    return devfn(node) is not None and node is next(
        c for c in node.parent.children if devfn(c) == devfn(node))


def is_platform_device(node):
    """Does the kernel make a device of it, or may the driver of its parent?"""
    if not node.parent or not node.strings("compatible"):
        return False
    parent = node.parent
    # A transport has one child at most that counts: see is_virtio_node().
    if parent.compatible("virtio,mmio"):
        return False
    return not parent.parent or is_platform_device(parent)


def unread_reason(node):
    """Why no device reads the property of an enabled node, or None."""
    reader = node.parent if is_virtio_node(node) else node
    if reader.parent and any(is_pci(up) for up in reader.ancestors()):
        return None if is_pci(reader.parent) and is_endpoint(reader) else UNREAD
    if not is_platform_device(reader):
        return UNREAD
    return ON_BUS if is_bus(reader) and not is_pci(reader) else None


class Region:
    """A child of /reserved-memory: what the kernel does with it at boot"""

    def __init__(self, node, boot):
        self.node = node
        self.base = self.size = None    # the entry that the kernel saves
        self.placed = True              # by reg, not by the kernel
        self.ranges = []                # all of reg, as the kernel reserves it
        self.exposed = None
        if not boot.usable or not node.available():
            # What is not reserved can be seen in reg all the same.
            self.ranges = boot.reg(node)
            self.exposed = NEVER_RESERVED
        elif "reg" in node.props:
            self.by_reg(boot)
        elif "size" in node.props:
            self.by_size(boot)
        if self.size and self.init_fails():
            self.exposed = GIVEN_BACK

    def by_reg(self, boot):
        self.ranges = boot.reg(self.node)
        length = len(self.node.props["reg"])
        if length % boot.entry:
            self.exposed = NEVER_RESERVED
        elif self.ranges and self.ranges[0][1]:
            self.base, self.size = self.ranges[0]

    def by_size(self, boot):
        node, self.placed = self.node, False
        size = node.props["size"]
        align = node.props.get("alignment")
        limits = node.props.get("alloc-ranges")
        if len(size) != 4 * boot.size_cells or \
                (align is not None and len(align) != 4 * boot.address_cells) or \
                (limits is not None and len(limits) % boot.entry):
            return
        size = int.from_bytes(size, "big")
        align = int.from_bytes(align or b"", "big") or 64
        limits = [(0, 1 << 64)] if limits is None else \
            [(s, s + n) for s, n in boot.entries(limits)]
        for start, end in boot.free():
            for low, high in limits:
                at = -(-max(start, low) // align) * align
                if size and at + size <= min(end, high):
                    self.base, self.size = None, size
                    return

    def init_fails(self):
        """Does every init function that the node is for refuse it?"""
        node = self.node
        results = []
        if node.compatible(POOL):
            results.append(not any(p in node.props for p in POOL_REJECTS))
        if node.compatible("shared-dma-pool"):
            results.append(not ("reusable" in node.props and "no-map" in node.props))
        return bool(results) and not any(results)


class Boot:
    """/reserved-memory as it is after the kernel's boot"""

    def __init__(self, tree, extra):
        root = tree.root
        self.tree = tree
        self.address_cells = root.cell("#address-cells") or 1
        self.size_cells = root.cell("#size-cells") or 1
        self.entry = 4 * (self.address_cells + self.size_cells)
        self.node = tree.find("/reserved-memory")
        self.usable = self.node is not None and \
            self.node.cell("#address-cells") == self.address_cells and \
            self.node.cell("#size-cells") == self.size_cells and "ranges" in self.node.props
        self.memory = [(s, s + n) for node in root.walk()
                       if node.string("device_type") == "memory" and node.available()
                       for s, n in self.entries(node.props.get("reg", b""))]
        self.ranges = self.boot_ranges(extra)
        children = self.node.children if self.node else []
        self.regions = {}
        for child in sorted(children, key=lambda c: "reg" not in c.props):
            self.regions[child] = Region(child, self)
        # Memory that one region gives back is gone for those that overlap it.
        gone = [(r.base, r.size) for r in self.regions.values()
                if r.exposed == GIVEN_BACK and r.base is not None]
        for r in self.regions.values():
            if not r.exposed and any(overlap(a, b) for a in r.ranges for b in gone):
                r.exposed = GIVEN_BACK

    def boot_ranges(self, extra):
        chosen = self.tree.find("/chosen")
        ranges = {}
        if chosen:
            start, end = (int.from_bytes(chosen.props.get(f"linux,initrd-{n}", b""), "big")
                          for n in ("start", "end"))
            if start < end:
                ranges["the initrd"] = (start, end - start)
        ranges.update(extra)
        return [(n, ranges[n]) for n in ("the kernel image", "the device tree", "the initrd")
                if n in ranges]

    def entries(self, value, address_cells=None, size_cells=None):
        na = 4 * (address_cells or self.address_cells)
        ns = 4 * (size_cells or self.size_cells)
        mask = (1 << 64) - 1
        for at in range(0, len(value) - na - ns + 1, na + ns):
            yield (int.from_bytes(value[at:at + na], "big") & mask,
                   int.from_bytes(value[at + na:at + na + ns], "big") & mask)

    def reg(self, node):
        return list(self.entries(node.props.get("reg", b""), node.up_cells("#address-cells"),
                                 node.up_cells("#size-cells")))

    def free(self):
        """Memory in which the kernel may place a region"""
        free = self.memory
        holes = [r for region in self.regions.values() if region.node.available()
                 for r in region.ranges]
        holes += self.tree.reserved + [r for _, r in self.ranges]
        for start, size in holes:
            free = list(subtract(free, (start, start + size)))
        return free


class Ref:
    """Where a device names its region"""

    def __init__(self, prop, holder, region, or_mainline=False):
        self.prop = prop
        self.holder = holder
        self.region = region
        self.or_mainline = or_mainline


class Device:
    """Who reads a property: a node, or all devices below a bridge that have none"""

    def __init__(self, name, node, above=(), config=None):
        self.name = name
        self.node = node
        self.above = list(above)        # PCI: bridges, the nearest first
        self.config = config or node    # the node that has its DMA configuration


class Judge:
    def __init__(self, tree, pools="serve", page=4096, extra=None):
        self.tree = tree
        self.pools = pools
        self.page = page
        self.boot = Boot(tree, extra or {})
        self.least = max(1 << 20, 64 * page)

    # --- which devices there are ---------------------------------------------

    def devices(self):
        found = []
        for node in self.tree.root.walk():
            if not node.enabled():
                continue
            if is_host(node):
                if is_platform_device(node):
                    found += self.below(node, [node])
            elif not any(is_pci(up) for up in node.ancestors()) and \
                    is_platform_device(node) and not is_bus(node) and \
                    not is_virtio_node(node):
                found.append(Device(node.path, node))
        return found

    def below(self, bridge, above):
        host = above[-1]
        for node in bridge.children:
            if not node.available() or not is_endpoint(node):
                continue
            if is_pci(node):
                yield from self.below(node, [node, *above])
            else:
                yield Device(node.path, node, above, host)
        yield Device(f"each device below {bridge.path} that has no node", None, above, host)

    # --- which region a device names, as dma_window_ref_find() ----------------

    def region_named(self, node):
        if REGION not in node.props:
            return None
        return Ref(REGION, node, self.tree.by_phandle(node.cell(REGION)))

    def pool_named(self, node):
        pool = None
        for phandle in node.cells("memory-region"):
            target = self.tree.by_phandle(phandle)
            if not target or not target.compatible(POOL) or (pool and not target.available()):
                continue
            pool = target
            if self.pools == "strict" or pool.available():
                break
        return Ref("memory-region", node, pool, self.pools != "strict") if pool else None

    def node_names(self, node, place):
        if node is None:
            return None
        ref = self.region_named(node)
        if not ref and (node is place or self.pools == "strict"):
            ref = self.pool_named(node)
        return ref

    def own_node_names(self, node, place):
        for child in node.children if node else ():
            if child.available() and is_virtio_node(child) and self.region_named(child):
                return self.region_named(child)
        return self.node_names(node, place)

    def is_iommu(self, node):
        if node is None:
            return False
        if "#iommu-cells" in node.props:
            return True
        return bool(node.phandle()) and any(
            node.phandle() in up.cells("iommu-map")[1::4] for up in node.ancestors())

    def place(self, device):
        own = device.node
        return own if own and own.cells("memory-region") else device.config

    def ref(self, device):
        place = self.place(device)
        ref = self.own_node_names(device.node, place)
        if ref or not device.above:
            return ref
        if self.is_iommu(device.node):
            return None
        for node in device.above:
            ref = ref or self.node_names(node, place)
        return ref

    # --- is it fit for a window, as dma_window_region_check() -----------------

    def coherent(self, node):
        for up in [node, *node.ancestors()]:
            if "dma-coherent" in up.props:
                return True
            if "dma-noncoherent" in up.props:
                return False
        return False

    def behind_iommu(self, device):
        """True, False; None if it cannot be told without the device's address"""
        node = device.config
        if not device.above:
            targets = node.cells("iommus")
            first = self.tree.by_phandle(targets[0]) if targets else None
            return bool(targets) and (first is None or first.available())
        if "iommu-map" not in node.props:
            return False
        if device.node is None or len(device.above) > 1:
            return None
        mask = node.cell("iommu-map-mask")
        rid = devfn(device.node) & (0xffff if mask is None else mask)
        entries = node.cells("iommu-map")
        for i in range(0, len(entries) - 3, 4):
            first, phandle, _, count = entries[i:i + 4]
            if first <= rid < first + count:
                iommu = self.tree.by_phandle(phandle)
                return iommu is None or iommu.available()
        return False

    def refusal(self, device, ref):
        """The reason why there is no window, or None"""
        if not self.coherent(device.config):
            return NOT_COHERENT
        return (self.bad_properties(ref) or self.bad_place(ref.region) or
                self.bad_overlap(ref.region) or self.bad_users(ref) or
                self.bad_pages(ref.region))

    def bad_properties(self, ref):
        region = ref.region
        if self.is_iommu(ref.holder):
            return "the device is an IOMMU, which cannot be confined"
        if ref.prop == REGION:
            length = len(ref.holder.props[REGION])
            if length != 4:
                return f"the property has {length} bytes, it must be one phandle"
            if not region:
                return f"dangling phandle {ref.holder.cell(REGION):#x}"
        if region.parent is None or region.parent is not self.boot.node:
            return "is not a child of /reserved-memory"
        if not region.available():
            return "is disabled"
        if "reusable" in region.props:
            return "is reusable: others may use its memory"
        if "no-map" in region.props:
            return "is no-map: the kernel cannot copy through it"
        if "linux,cma-default" in region.props or "linux,dma-default" in region.props:
            return "is a system-wide default pool"
        if region.string("compatible") is not None and not region.compatible(POOL):
            return f"is a \"{region.string('compatible')}\": it belongs to another user"
        return None

    def bad_place(self, node):
        region = self.boot.regions[node]
        if "reg" in node.props:
            entry = 4 * (node.up_cells("#address-cells") + node.up_cells("#size-cells"))
            if len(node.props["reg"]) != entry:
                return (f"reg has {len(node.props['reg'])} bytes, "
                        f"it must be one entry of {entry}")
            if not region.ranges or not region.ranges[0][1]:
                return "its size is zero"
        elif "size" not in node.props:
            return "has neither reg nor size"
        if not region.size:
            return "was not reserved at boot"
        base, size = region.base, region.size
        if base is not None and base + size >= 1 << 64:
            return f"{pa(size)} bytes at {pa(base)} wrap around"
        if (base or 0) % self.page or size % self.page:
            return (f"{pa(size)} bytes at {pa(base or 0)} "
                    f"are not whole pages of {self.page} bytes")
        if size < self.least:
            return (f"is too small: {size >> 10} KiB, "
                    f"it must have at least {self.least >> 10} KiB")
        return None

    def bad_overlap(self, node):
        region = self.boot.regions[node]
        if region.base is None:
            return None
        own = (region.base, region.size)
        for name, other in self.boot.ranges:
            if overlap(own, other):
                return f"overlaps {name}"
        for start, size in self.tree.reserved:
            if overlap(own, (start, size)):
                return f"overlaps the /memreserve/ of {size:#x} bytes at {start:#x}"
        for other in node.parent.children:
            if other is not node and other.available() and \
                    any(overlap(own, r) for r in self.boot.regions[other].ranges):
                return f"overlaps {other.path}"
        return None

    def bad_users(self, ref):
        """A pool that swiotlb has to serve for another device is no window."""
        if not ref.or_mainline:
            return None
        for node in self.tree.root.walk():
            if "memory-region" not in node.props or not node.available():
                continue
            other = self.pool_named(node)
            if other and other.region is ref.region and not self.coherent(node):
                return f"is also the pool of {node.path}, which is not dma-coherent"
        return None

    def bad_pages(self, node):
        region = self.boot.regions[node]
        if region.base is None or not self.boot.memory:
            return None
        missing = [(region.base, region.base + region.size)]
        for hole in self.boot.memory:
            missing = list(subtract(missing, hole))
        return f"the page at {pa(missing[0][0])} is not mapped RAM" if missing else None

    # --- the verdicts ---------------------------------------------------------

    def mainline(self, device, ref):
        """What a kernel without this project does: a word, a sentence, confined or not"""
        place = self.place(device)
        pool = None
        for phandle in place.cells("memory-region"):
            pool = self.tree.by_phandle(phandle)
            if pool and pool.compatible(POOL) and pool.available():
                break
            pool = None
        region = self.boot.regions.get(pool or (ref.region if ref else None))
        if region and region.exposed:
            return "exposed", region.exposed, False
        if pool and region and region.size:
            if self.behind_iommu(device) is not False:
                return "unused", "left reserved and unused behind an IOMMU", False
            return "pool", "mainline's pool", True
        if pool:
            return "unconfined", "the device is not confined: there is no pool", False
        if region and region.size:
            return "unused", "left reserved and unused, the device is not confined", False
        return "unconfined", "the device is not confined", False

    def project(self, device, ref):
        if self.pools == "mainline" and ref.or_mainline:
            return ("left", *self.mainline(device, ref)[1:])
        if ref.or_mainline and self.behind_iommu(device):
            word = "the device is behind an IOMMU"
        else:
            word = self.refusal(device, ref)
        if not word:
            return "window", "window", True
        if ref.or_mainline:
            _, what, confined = self.mainline(device, ref)
            return "left", f"left to mainline: {word}: {what}", confined
        return "refused", f"refused: {word}", False

    def report(self):
        """All verdicts, as what --json prints"""
        devices, used = [], {}
        for device in self.devices():
            ref = self.ref(device)
            if not ref:
                continue
            region = self.boot.regions.get(ref.region)
            entry = {"device": device.name, "property": ref.prop,
                     "holder": ref.holder.path,
                     "region": ref.region.path if ref.region else None}
            for key, judge in (("project", self.project), ("mainline", self.mainline)):
                verdict, text, confined = judge(device, ref)
                entry[key] = {"verdict": verdict, "text": text, "confined": confined}
            # The device's memory is in danger whatever the kernel does to the device.
            entry["exposed"] = region.exposed if region else None
            devices.append(entry)
            used.setdefault(ref.region, []).append(device.name)
        regions = [self.region_entry(r, used.get(r.node, ())) for r in self.boot.regions.values()
                   if r.node in used or r.node.compatible(POOL) or self.others(r.node)]
        return {"devices": devices, "regions": regions, "problems": self.problems()}

    def others(self, region):
        return [n.path for n in self.tree.root.walk() if n.enabled() and
                any(self.tree.by_phandle(p) is region for p in n.cells("memory-region"))]

    def region_entry(self, r, devices):
        if r.exposed:
            state = r.exposed
        elif devices:
            state = "reserved"
        elif self.others(r.node) and not r.node.compatible(POOL):
            state = "reserved, for drivers: no window"
        elif r.size:
            state = "left reserved and unused"
        else:
            state = "not reserved"
        return {"region": r.node.path, "base": r.base, "size": r.size,
                "ranges": [list(x) for x in r.ranges], "by_kernel": not r.placed,
                "devices": list(devices), "state": state,
                "exposed": bool(r.exposed) and
                (bool(devices) or (r.node.compatible(POOL) and r.node.available()))}

    def problems(self):
        found = []
        boot = self.boot
        if boot.node and not boot.usable:
            found.append("/reserved-memory: #address-cells, #size-cells and ranges are not "
                         "those of the root: the kernel reserves nothing")
        seen = {}
        for node in self.tree.root.walk():
            phandle = node.phandle()
            if phandle and phandle in seen:
                found.append(f"{node.path}: phandle {phandle:#x} is that of "
                             f"{seen[phandle].path}, too, which the kernel finds")
            elif phandle:
                seen[phandle] = node
            if REGION in node.props and node.enabled() and unread_reason(node):
                found.append(f"{node.path}: {REGION}: {unread_reason(node)}")
            for target in node.cells("memory-region") if node.enabled() else ():
                if not self.tree.by_phandle(target):
                    found.append(f"{node.path}: memory-region: dangling phandle {target:#x}")
        return found
