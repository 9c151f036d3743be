# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# For isolation-*.sh: where the counters are and how facts get to the host.

D=/sys/kernel/debug/swiotlb
SLOT=2048

# window NAME: the debugfs directory of the window of backend NAME.
window() {
	case $1 in
	blk | fs) grep -sl "^$(slot "$1")$" $D/*/devices ;;
	net) grep -sl '\.virtio_mmio$' $D/*/devices ;;
	esac | sed 's,/devices$,,'
}

counter() { cat "$(window "$1")/$2"; }

# copied NAME: bytes, in both directions.
copied() { echo $(($(counter "$1" bytes_in) + $(counter "$1" bytes_out))); }

# facts NAME: the window's counters, to the host.
facts() {
	w=$(window "$1")
	[ -d "$w" ] || return 1
	set -- "$1" "$1.high_water=$(($(cat "$w/io_tlb_used_hiwater") * SLOT))"
	for f in "$w"/size "$w"/maps "$w"/bytes_* "$w"/fail_*; do
		set -- "$@" "$1.$(basename "$f")=$(cat "$f")"
	done
	shift
	host fact "$@"
}

# nap MILLISECONDS: on a slow machine longer.
nap() { usleep $(($1 * 1000 * ${SLOW:-1})); }

sum() { sha256sum "$1" | cut -d' ' -f1; }

drop_caches() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

slot() {
	case $1 in
	blk) echo 0000:00:02.0 ;;
	fs) echo 0000:00:03.0 ;;
	esac
}

# region NAME: its node below /reserved-memory.
region() {
	case $1 in
	blk) echo window@5c000000 ;;
	fs) echo window@5e000000 ;;
	net) echo window@5c000000 ;;
	esac
}

# late_probe NAME: pci-stub holds the device since boot, so that a probe that
# never ends does not end the boot as well; now it gets its driver.
late_probe() {
	late=/sys/bus/pci/devices/$(slot "$1")
	[ "$(basename "$(readlink "$late/driver")")" = pci-stub ] || return 0
	slot "$1" >"$late/driver/unbind"
	echo virtio-pci >"$late/driver_override"
	slot "$1" >/sys/bus/pci/drivers/virtio-pci/bind
}
