# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# For isolation-*.sh: where the counters are and how facts get to the host.
# /etc/stock is in guests of a distribution's own kernel, where windows are BARs: lines of
# backend, its device, and that of the window.

D=/sys/kernel/debug/swiotlb
SLOT=2048
STOCK=
[ ! -e /etc/stock ] || STOCK=y

# stock NAME FIELD: of /etc/stock.
stock() { awk -v n="$1" -v f="$2" '$1 == n { print $f }' /etc/stock; }

# window NAME: the debugfs directory of the window of backend NAME.
window() {
	case $STOCK$1 in
	y* | blk | fs) grep -sl "^$(slot "$1")$" $D/*/devices ;;
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
	case $STOCK$1 in
	y*) stock "$1" 2 ;;
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

# reserved NAME: is there a place for its window?
reserved() {
	if [ -n "$STOCK" ]; then
		[ -e "/sys/bus/pci/devices/$(stock "$1" 3)/resource2" ]
	else
		[ -e "/proc/device-tree/reserved-memory/$(region "$1")" ]
	fi
}

# late_probe NAME: pci-stub holds the device since boot, so that a probe that
# never ends does not end the boot as well; now it gets its driver. A distribution's kernel
# has drivers in modules, or the device is not there yet.
late_probe() {
	if [ -n "$STOCK" ]; then
		stock_probe "$1"
		return
	fi
	late=/sys/bus/pci/devices/$(slot "$1")
	[ "$(basename "$(readlink "$late/driver")")" = pci-stub ] || return 0
	slot "$1" >"$late/driver/unbind"
	echo virtio-pci >"$late/driver_override"
	slot "$1" >/sys/bus/pci/drivers/virtio-pci/bind
}

# plug NAME: its device is there after this, if it is not from boot on. The host does
# one thing at a time: not while it waits for something else.
plug() {
	if [ "$STOCK$1" != yfs ] || [ -e /tmp/plugged ]; then
		return 0
	fi
	: >/tmp/plugged
	host device_add driver=vhost-user-fs-pci id=fs chardev=fs tag=host bus=fs-port
}

stock_probe() {
	modprobe virtio_pci
	case $1 in
	blk)
		modprobe virtio_blk
		wait_for_path /dev/vda
		;;
	net)
		modprobe virtio_net
		wait_for_path /sys/class/net/eth0
		;;
	fs)
		plug fs
		modprobe virtiofs
		wait_for_path "/sys/bus/pci/devices/$(slot fs)/virtio*/driver"
		;;
	esac
}

# wait_for_path PATTERN: 20 seconds at most, on a slow machine more.
wait_for_path() {
	for _ in $(seq 200); do
		# shellcheck disable=SC2086 # a pattern is meant
		[ ! -e $1 ] || return 0
		nap 100
	done
	return 1
}
