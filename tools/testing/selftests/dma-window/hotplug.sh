#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Plug disks into PCI ports and unplug them, many times and all at once, with
# verified I/O in between, once by the host's button and once under load. Each
# disk gets its window, and after the unplug nothing of the disk is left in the
# window, nor in the list of the window's devices (I1, I7).
#
# usage: hotplug.sh TIMES WINDOW=PORT,PORT... ...
# A PORT is its slot number; the host calls the port's bus "port" with the
# number, has a disk "hot" with the number, and the slot is empty.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -ge 2 ] || skip_all "no ports given: hotplug.sh TIMES WINDOW=PORT,..."
have_host || skip_all "no \"host\" command: not in the project's test guest"
times=$1
shift

# The device in a slot.
in_slot() { echo "$(cat "/sys/bus/pci/slots/$1/address").0"; }
gone() { [ ! -e "/sys/bus/pci/devices/$(in_slot "$1")" ]; }

plug() {
	host device_add driver=virtio-blk-pci "id=hot$1" "bus=port$1" "drive=hot$1" \
		disable-legacy=on num-queues=1 || return 1
	wait_for 20 block "$(in_slot "$1")"
}

plug_and_check() {
	plug "$1" && in_window "$(in_slot "$1")" "$2" &&
		"$DIR/blkio" "$(block "$(in_slot "$1")")" direct 1 128 128 1
}

# By the guest: the slot's power goes off and QEMU takes the device out.
unplug() {
	echo 0 >"/sys/bus/pci/slots/$1/power" && host device_wait_deleted "hot$1" && gone "$1"
}

# port PORT WINDOW: one port's life, in the background.
port() {
	i=0
	while [ $i -lt "$times" ]; do
		plug_and_check "$1" "$2" && unplug "$1" || return 1
		i=$((i + 1))
	done
}

port_once() { plug_and_check "$1" "$2" && unplug "$1"; }

# Unplug by the host: the host presses the button, the guest gives way.
button() {
	for_ports plug_and_check || return 1
	for p in $ports; do
		host qmp device_del "id=hot$p" >/dev/null || return 1
	done
	for p in $ports; do
		host device_wait_deleted "hot$p" && wait_for 5 gone "$p" || return 1
	done
}

# The I/O may fail, nothing else may.
under_load() {
	plug "${ports%% *}" || return 1
	dev=$(block "$(in_slot "${ports%% *}")")
	# Each in its own half of the disk: a worker that reads what another one
	# wrote ends, and the load with it.
	"$DIR/blkio" "$dev" direct 8 128 128 100000 >/dev/null &
	"$DIR/blkio" "$dev" buffered 2 512 256 100000 1024 >/dev/null &
	wait_for 5 busy "${dev##*/}" || return 1
	unplug "${ports%% *}" && wait
}
busy() {
	read -r reads writes <"/sys/block/$1/inflight"
	[ $((reads + writes)) -gt 0 ]
}

# for_ports COMMAND: with PORT and WINDOW, for all at once.
for_ports() {
	rm -f /tmp/failed.*
	for arg in $all; do
		for p in $(echo "${arg#*=}" | tr , ' '); do
			{
				"$1" "$p" "${arg%%=*}" >"/tmp/port$p" 2>&1 ||
					mv "/tmp/port$p" "/tmp/failed.$p"
			} &
		done
	done
	wait
	! ls /tmp/failed.* >/dev/null 2>&1 || { tail -n 2 /tmp/failed.* && return 1; }
}

state() {
	for arg in $all; do
		w=${arg%%=*}
		# Made at the first attach, and kept.
		[ -e "$WINDOWS/$w" ] || continue
		echo "$w: $(win "$w" io_tlb_used) slots used," \
			"$(($(win "$w" size) - $(win "$w" largest_free))) bytes not in one piece," \
			"$(wc -l <"$WINDOWS/$w/devices") devices, $(failures "$w") failures"
	done
	echo "$(mappings) records"
}

all=$* ports=$(echo "$*" | sed 's/[^ ]*=//g; s/,/ /g')
ktap_print_header
ktap_set_plan 6
# The first round makes the windows.
check "each slot: plugged in, confined, unplugged" for_ports port_once
before=$(state)
check "$times times each slot" for_ports port
check "nothing left in windows without devices" equal state "$(state)" "$before"
check "unplugged by the host's button" button
check "unplugged under load" under_load
check "nothing left after that either" equal state "$(state)" "$before"
ktap_finished
