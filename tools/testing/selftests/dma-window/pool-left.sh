#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What windows do not serve is mainline's, with exactly one line in the log for each
# device that names a restricted-dma-pool (I6); and a balloon works past its pool.
#
# usage: pool-left.sh LINES BALLOON DEVICE...
#   LINES    how many lines there are to be for each DEVICE: 0 if the kernel was told
#            to leave all pools to mainline
#   BALLOON  the transport of a virtio-balloon
#   DEVICE   a device that is left to mainline

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -ge 3 ] || skip_all "no device given: pool-left.sh LINES BALLOON DEVICE..."
lines=$1 balloon=$2
shift 2

# One line says that, and no other line of ours is about the pool.
said_once() {
	equal "lines about the pool of $1" "$(dmesg | grep -c "$1: memory-region: ")" "$lines" &&
		equal "lines that say so" \
			"$(dmesg | grep -c "$1: memory-region: .*: left to mainline$")" "$lines"
}

balloon_bound() {
	dir=$(virtio "$balloon") || return 1
	wait_for 5 [ -e "$dir/driver" ]
}

# A balloon's rings are in ordinary memory, whatever window its transport is in.
balloon_works() {
	balloon_bound || return 1
	window=$(grep -lxF "$balloon" "$WINDOWS"/*/devices | head -n 1)
	[ -n "$window" ] || return 0
	window=$(basename "${window%/devices}")
	allocs=$(win "$window" allocs)
	unbind "$balloon" && bind "$balloon" && balloon_bound || return 1
	equal "allocations in $window" "$(win "$window" allocs)" "$allocs"
}

ktap_print_header
ktap_set_plan $(($# + 1))
for d; do
	check "$d: left to mainline, with $lines line(s) in the log" said_once "$d"
done
check "$balloon: a balloon works" balloon_works
ktap_finished
