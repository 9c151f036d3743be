#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Unbind and bind a device's driver many times, with verified I/O each time if
# it is a disk: the window, its largest free run and the number of mapping
# records are the same afterwards (I7).
#
# usage: rebind.sh TIMES DEVICE WINDOW [virtio | idle]
# No other device may be in WINDOW, and none elsewhere may do I/O meanwhile. With
# "virtio", DEVICE keeps its driver, and the virtio device on it loses its own: nobody
# else takes back buffers left in the queues. With "idle" likewise, for a device that
# does nothing of its own accord: nothing is copied back then.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -ge 3 ] || skip_all "no device given: rebind.sh TIMES DEVICE WINDOW [virtio | idle]"
[ -e "$WINDOWS/$3" ] || ktap_exit_fail_msg "no window $3 here"
times=$1 transport=$2 device=$2 window=$3 mode=${4:-} attaches=$1
if [ -n "$mode" ]; then
	device=$(basename "$(virtio "$transport")") attaches=0
fi

# Records are counted for all windows together, and virtio-rng is never quiet.
state() {
	echo "$(win "$window" io_tlb_used) slots used," \
		"$([ "$mode" ] || mappings) records," \
		"$(win "$window" largest_free) bytes in one piece"
}

rounds() {
	i=0
	while [ $i -lt "$times" ]; do
		if ! unbind "$device" || ! bind "$device"; then
			echo "round $i"
			return 1
		fi
		if dev=$(block "$transport" 2>/dev/null); then
			"$DIR/blkio" "$dev" direct 1 64 64 1 || return 1
		fi
		i=$((i + 1))
	done
}

ktap_print_header
ktap_set_plan 7
copied=$(win "$window" bytes_out)
unbind "$device"
[ "$mode" = idle ] || copied=$(win "$window" bytes_out)
copied=$(($(win "$window" bytes_out) - copied))
unbound=$(state)
bind "$device"
unbind "$device" && bind "$device"
failed=$(failures "$window")
echo dma_window:dma_window_attach >"$TRACING/set_event"
echo >"$TRACING/trace"
check "$device: bound and unbound $times times" rounds
echo >"$TRACING/set_event"
attach="$transport window=$window base=$(win "$window" base) size=$(win "$window" size)"
check "$device: got its window as often as it was configured" equal "attach events" \
	"$(traced attach "$attach")" "$attaches"
unbind "$device"
check "$device: no leak when unbound" equal state "$(state)" "$unbound"
check "$device: each mapping was undone" equal "unmaps and frees" \
	"$(win "$window" unmaps) $(win "$window" frees)" \
	"$(win "$window" maps) $(win "$window" allocs)"
check "$device: nothing was copied to buffers that are left" equal bytes "$copied" 0
check "$device: nothing failed" equal failures "$(failures "$window")" "$failed"
check "$device: still works" bind "$device"
ktap_finished
