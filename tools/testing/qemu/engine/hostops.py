# SPDX-License-Identifier: GPL-2.0-only
"""What a test in the guest can ask the host for: "host ACTION ARGUMENT...".

Each action returns text for the guest; an exception becomes status 1 and its
message. An ACTION that is not here is looked for in the guest's file, as the
shell function host_ACTION.
"""

import hashlib
import json
import os
import subprocess

import qmp


class ActionError(Exception):
    pass


def op_ping(_run, *words):
    return " ".join(words) + "\n"


def op_qmp(run, command, *words):
    """qmp COMMAND [NAME=VALUE...]: any QMP command; the answer is JSON."""
    return json.dumps(run.monitor.command(command, **qmp.parse_arguments(words))) + "\n"


def op_device_add(run, *words):
    """device_add driver=DRIVER NAME=VALUE...: QEMU's device_add."""
    run.monitor.command("device_add", **dict(w.split("=", 1) for w in words))
    return ""


def op_device_del(run, ident):
    """device_del ID: ask the guest to give the device up, wait until it is gone."""
    run.monitor.command("device_del", id=ident)
    run.monitor.wait_event("DEVICE_DELETED", device=ident)
    return ""


def op_device_wait_deleted(run, ident):
    """device_wait_deleted ID: wait until the guest has powered its slot off."""
    run.monitor.wait_event("DEVICE_DELETED", device=ident)
    return ""


def op_sha256(run, name):
    """sha256 FILE: of a file in the run directory, such as a disk's image."""
    if "/" in name:
        raise ActionError("only files of the run directory")
    digest = hashlib.sha256()
    with open(os.path.join(run.dir, name), "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest() + "\n"


def memory(run, address, length):
    """Guest-physical memory, as bytes."""
    path = os.path.join(run.dir, "pmem")
    run.monitor.command("pmemsave", val=address, size=length, filename=path)
    with open(path, "rb") as f:
        data = f.read()
    os.unlink(path)
    if len(data) != length:
        raise ActionError(f"no memory at {address:#x}+{length:#x}")
    return data


def op_xp(run, address, length):
    """xp ADDRESS LENGTH: guest-physical memory as hex digits."""
    return memory(run, int(address, 0), int(length, 0)).hex() + "\n"


def op_find(run, address, length, text):
    """find ADDRESS LENGTH TEXT: how often TEXT stands in guest memory."""
    return f"{memory(run, int(address, 0), int(length, 0)).count(text.encode())}\n"


def virtio_path(run, ident):
    """The QOM path of the virtio device behind -device ...,id=IDENT."""
    paths = [d["path"] for d in run.monitor.command("x-query-virtio")]
    base = f"/machine/peripheral/{ident}"
    for path in (base, base + "/virtio-backend"):
        if path in paths:
            return path
    raise ActionError(f"no virtio device with id {ident}; there are: {' '.join(paths)}")


def queues(run, ident):
    """(number, status) of each queue the driver has set up."""
    path = virtio_path(run, ident)
    status = run.monitor.command("x-query-virtio-status", path=path)
    for number in range(status["num-vqs"]):
        queue = run.monitor.command("x-query-virtio-queue-status", path=path, queue=number)
        if queue["vring-desc"]:
            yield number, queue


def features(run, ident):
    """The negotiated feature bits, as far as QEMU gives them as a number."""
    path = virtio_path(run, ident)
    return run.monitor.command("x-query-virtio-status", path=path)["guest-features"]


def has_packed(run, ident):
    return "VIRTIO_F_RING_PACKED" in json.dumps(features(run, ident))


def op_virtio_features(run, ident):
    """virtio_features ID: names of the negotiated features, one per line."""
    have = features(run, ident)
    names = [str(n).split(":")[0] for kind in ("transports", "dev-features")
             for n in have.get(kind, [])]
    return "".join(n + "\n" for n in names)


def op_queues(run, ident):
    """queues ID: "QUEUE NUM DESC AVAIL USED" per queue, addresses in hex."""
    return "".join(
        f"{n} {q['vring-num']} {q['vring-desc']:#x} {q['vring-avail']:#x} {q['vring-used']:#x}\n"
        for n, q in queues(run, ident))


DESC_SIZE = 16
SPLIT_NEXT, INDIRECT, PACKED_AVAIL, PACKED_USED = 1, 4, 1 << 7, 1 << 15


def descriptors(data, packed):
    """(address, length, flags, next or id) of each descriptor in a table."""
    for at in range(0, len(data) - DESC_SIZE + 1, DESC_SIZE):
        address = int.from_bytes(data[at:at + 8], "little")
        length = int.from_bytes(data[at + 8:at + 12], "little")
        words = [int.from_bytes(data[at + i:at + i + 2], "little") for i in (12, 14)]
        flags, other = reversed(words) if packed else words
        yield address, length, flags, other


def ring_parts(num, packed):
    """The parts of a queue of NUM descriptors, and their sizes in bytes."""
    return {"desc": num * DESC_SIZE, "avail": 4 if packed else 6 + 2 * num,
            "used": 4 if packed else 6 + 8 * num}


def op_rings(run, ident):
    """rings ID: every address the device can find in its rings.

    "QUEUE KIND ADDRESS LENGTH" per line, hex: KIND is ring (the three parts
    of the queue), desc (the descriptors, used, free or stale: the device can
    read them all) or indirect (those in tables that descriptors point at).
    """
    packed = has_packed(run, ident)
    out = []
    for number, queue in queues(run, ident):
        num = queue["vring-num"]
        for part, size in ring_parts(num, packed).items():
            out.append(f"{number} ring {queue['vring-' + part]:#x} {size:#x}")
        table = memory(run, queue["vring-desc"], num * DESC_SIZE)
        for address, length, flags, _ in descriptors(table, packed):
            if not address and not length:
                continue
            out.append(f"{number} desc {address:#x} {length:#x}")
            if flags & INDIRECT and 0 < length <= num * DESC_SIZE * 64:
                for a, n, *_ in descriptors(memory(run, address, length), packed):
                    if a or n:
                        out.append(f"{number} indirect {a:#x} {n:#x}")
    return "".join(line + "\n" for line in out)


def in_flight(run, queue, table, packed):
    """Descriptors of requests that are in flight, (address, length, flags).

    Taken to complete in order, or not to have begun to complete out of order
    since the queue was last empty: a split ring does not say more. A packed
    one has them where the available bit differs from the used bit.
    """
    num = queue["vring-num"]
    if packed:
        return [d for d in table if bool(d[2] & PACKED_AVAIL) != bool(d[2] & PACKED_USED)]
    avail = memory(run, queue["vring-avail"], 4 + 2 * num)
    used = memory(run, queue["vring-used"], 4)
    end, at = (int.from_bytes(m[2:4], "little") for m in (avail, used))
    live = []
    while at != end and len(live) <= num:
        where = 4 + 2 * (at % num)
        head = int.from_bytes(avail[where:where + 2], "little")
        for _ in range(num):
            live.append(table[head % num][:3])
            if not table[head % num][2] & SPLIT_NEXT:
                break
            head = table[head % num][3]
        at = (at + 1) & 0xffff
    return live


def op_rings_inside(run, ident, base, size):
    """rings_inside ID BASE SIZE: is all that the device finds in its rings there?

    Looks at the rings, at every descriptor whether in use or not, and at the
    indirect tables of requests in flight. Prints a summary and what is outside.
    """
    base, end = int(base, 0), int(base, 0) + int(size, 0)
    packed = has_packed(run, ident)
    seen, outside, flying, indirect = 0, [], 0, 0

    def look(number, what, address, length):
        nonlocal seen
        seen += 1
        if not base <= address <= address + length <= end:
            outside.append(f"queue {number}: {what} at {address:#x}, {length:#x} bytes")

    for number, queue in queues(run, ident):
        num = queue["vring-num"]
        for part, length in ring_parts(num, packed).items():
            look(number, part, queue["vring-" + part], length)
        table = list(descriptors(memory(run, queue["vring-desc"], num * DESC_SIZE), packed))
        for address, length, *_ in table:
            if address or length:
                look(number, "descriptor", address, length)
        for address, length, flags in in_flight(run, queue, table, packed):
            flying += 1
            if flags & INDIRECT and base <= address <= address + length <= end:
                for a, n, *_ in descriptors(memory(run, address, length), packed):
                    indirect += 1
                    look(number, "indirect descriptor", a, n)
    summary = (f"{seen} addresses, {flying} in flight, {indirect} in indirect tables, "
               f"{len(outside)} outside\n")
    if outside or not seen:
        raise ActionError(summary + "\n".join(outside[:5]))
    return summary


def from_guest_file(run, action, words):
    """host_ACTION in the guest's file, by a fresh scripts/guest."""
    done = subprocess.run([run.spec.action, "--action", run.dir, action, *words],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def run(state, request):
    """Serve "ACTION ARGUMENT..."; returns status and text."""
    action, *words = request.split()
    op = globals().get("op_" + action)
    if not op:
        return from_guest_file(state, action, words)
    try:
        return 0, op(state, *words)
    except (ActionError, qmp.QMPError, OSError, KeyError, TypeError, ValueError) as e:
        return 1, f"host {action}: {e or type(e).__name__}\n"
