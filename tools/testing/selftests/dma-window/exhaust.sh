#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Disks in a window that is far too small for what is asked of them: every byte
# is right, no request fails or hangs, the log says that the window was full,
# and nothing is left in it (I5). The high-water mark and the largest free run
# are what they should be.
#
# usage: exhaust.sh WINDOW DEVICE...
# ROUNDS is how often all is written and read back, 2 by default.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -ge 2 ] || skip_all "no disks given: exhaust.sh WINDOW DEVICE..."
# If the window that was named is missing, it was refused: fail, not skip.
[ -e "$WINDOWS/$1" ] || ktap_exit_fail_msg "no window $1 here"
window=$1
shift

# Three slots for each 4 KiB, and together they fit into the upper half.
bounded() {
	for d; do
		kib=$(cat "/sys/block/$(basename "$(block "$d")")/queue/max_hw_sectors_kb")
		if [ "$kib" -lt 8 ] || [ "$kib" -gt $(($(win "$window" size) / 12288)) ]; then
			echo "$d takes requests of $kib KiB"
			return 1
		fi
		# What a floor holds: no more segments than 4 KiB, and one.
		segments=$(cat "/sys/block/$(basename "$(block "$d")")/queue/max_segments")
		[ "$segments" -le $((kib / 4 + 1)) ] || {
			echo "$d takes requests of $segments segments, but $kib KiB"
			return 1
		}
	done
}

# load MODE DEVICE...: on all devices at once.
load() {
	mode=$1
	shift
	rm -f /tmp/load.*
	for d; do
		"$DIR/blkio" "$(block "$d")" "$mode" 12 1024 1024 "${ROUNDS:-2}" \
			>"/tmp/load.$d" 2>&1 ||
			touch /tmp/load.failed &
	done
	wait
	[ ! -e /tmp/load.failed ] || { cat /tmp/load.* && return 1; }
}

sync_all() { sync && echo 3 >/proc/sys/vm/drop_caches; }

# Each figure that an operator needs, for one of our devices.
said_full() {
	who="(virtio-pci|virtio-mmio) ($(echo "$1" | tr ' ' '|'))"
	what="$window is full: a mapping of [0-9]+ bytes failed"
	room="[0-9]+ bytes free, largest free run [0-9]+ bytes"
	dmesg | tail -n "+$from" | grep -qE "$who: $what; $room\$"
}

# The high-water mark is the most slots ever in use, not those of the last request;
# writing 0 resets the mark to the slots in use now, other values are refused.
hiwater() {
	dd if="$(block "$1")" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null
	file=$WINDOWS/$window/io_tlb_used_hiwater
	at_least "slots in use at most" "$(cat "$file")" $(($(win "$window" io_tlb_nslabs) / 2)) ||
		return 1
	! echo 1 2>/dev/null >"$file" || { echo "it can be set to 1" && return 1; }
	echo 0 >"$file" && equal "after a reset" "$(cat "$file")" "$(win "$window" io_tlb_used)"
}

no_io_error() { ! dmesg | tail -n "+$from" | grep -m 3 -E 'I/O error|timed out'; }

for d; do
	wait_for 10 block "$d" || ktap_exit_fail_msg "$d has no disk"
done

ktap_print_header
ktap_set_plan 10
# The log from here on.
from=$(dmesg | wc -l)
used=$(win "$window" io_tlb_used) records=$(mappings)
failed=$(failures "$window") full=$(win "$window" fail_full)
check "requests are bounded by the floor of their queue" bounded "$@"
check "direct I/O: every byte is right" load direct "$@"
check "buffered I/O: every byte is right" load buffered "$@"
sync_all
full=$(($(win "$window" fail_full) - full))
check "the window was full" at_least fail_full $full 1
check "nothing failed for another reason" equal failures \
	$(($(failures "$window") - failed)) $full
check "the log says so" said_full "$*"
check "no I/O error" no_io_error
check "it was in use by half at least, and the mark can be reset" hiwater "$1"
check "half of it is free in one piece" at_least "largest free run" \
	"$(win "$window" largest_free)" $(($(win "$window" size) / 2))
check "nothing left in it" equal "slots in use, records" \
	"$(win "$window" io_tlb_used) $(mappings)" "$used $records"
ktap_finished
