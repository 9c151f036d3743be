#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: isolation-canary.sh window|mainline
#
# Can the backend of a disk find what the guest never handed to it? All free
# memory is filled with a known string, the canary, and the backend stopped
# while requests are in flight; the host searches what the backend has of the
# guest. Once when the string was freed ("freed"), and several times while it
# is alive in all kinds of memory and a mixed load runs ("alive").
#
# The canary never is in data that the guest writes, and only ever in tmpfs:
# the host looks for it on the disk, too.

# shellcheck source=/dev/null
. /tests/kselftest/ktap_helpers.sh
# shellcheck source=/dev/null
. /tests/qemu/isolation-lib.sh

KIND=$1
ROUNDS=4
DISK=/mnt/blk
MEM=/mnt/canary
C=/tests/qemu/isolation-canary
PIDS=

# A test that ends early must not leave the backend stopped.
trap 'host cont' EXIT

# job ARGUMENTS: one of the helper's jobs, in the background.
job() {
	"$C" "$@" &
	PIDS="$PIDS $!"
}

# finish: all jobs must end well.
finish() {
	rc=0
	for pid in $PIDS; do
		kill -TERM "$pid" 2>/dev/null
	done
	for pid in $PIDS; do
		wait "$pid" || rc=1
	done
	PIDS=
	return $rc
}

inflight() { awk '{ print $1, $2 }' /sys/block/vda/inflight; }

# settled: wait until reads are in flight and no more come.
settled() {
	last=
	for _ in $(seq 60); do
		nap 300
		now=$(inflight)
		[ "$now" != "$last" ] || [ "${now% *}" -eq 0 ] || return 0
		last=$now
	done
	return 1
}

# search ROUND: with the backend stopped.
search() {
	settled || ktap_print_msg "$1: requests in flight: $last"
	before=$(inflight)
	host search "$1" >/tmp/search
	rc=$?
	after=$(inflight)
	host fact "canary.$1.reads_before=${before% *}" "canary.$1.reads_after=${after% *}" \
		"canary.$1.writes_before=${before#* }"
	strings=$(awk -v k="canary.$1.strings" '$1 == k { print $2 }' /tmp/search)
	ktap_print_msg "$1: ${strings:-?} strings found;" \
		"in flight: ${before% *} reads, ${before#* } writes"
	return $rc
}

# Fresh page cache from memory that was just freed.
bulk() {
	for first in 0 1024 2048 3072 4096 5120 6144 7168; do
		job read $DISK/from-host buffered $first 1024 1048576 once
	done
}

# freed: can the backend see memory that was freed?
freed() {
	drop_caches
	"$C" fill $MEM/fill 32 4096 >/tmp/filled || return 1
	# Look up the places of files on the disk now: only data is read later.
	job read $DISK/from-host direct 12288 2048 65536 endless
	job read $DISK/from-host direct 8192 4096 262144 endless
	job write $DISK/direct direct 0 1024 65536 endless
	job write $DISK/buffered buffered 0 1024 16384 endless
	nap 1000
	rm $MEM/fill
	host stop || return 1
	bulk
	search freed
	rc=$?
	host cont || rc=1
	finish || rc=1
	return $rc
}

# alive ROUND: can the backend see memory that lives on, in the same pages and beside?
alive() {
	nap 500
	host stop || return 1
	search "$1"
	rc=$?
	host cont || return 1
	return $rc
}

mixed_load() {
	job read $DISK/from-host buffered 0 8192 262144 endless
	job read $DISK/from-host buffered 4096 8192 32768 endless
	job read $DISK/from-host direct 0 2048 65536 endless
	job read $DISK/from-host beside 2048 2048 262144 endless
	job read $DISK/from-host beside 4096 1024 1024 endless
	job read $DISK/from-host tmpfs 6144 2048 131072 endless
	job write $DISK/direct beside 0 1024 65536 endless
	job write $DISK/beside tmpfs 0 512 1024 endless
	job write $DISK/buffered buffered 0 1024 16384 endless
	job meta $DISK/meta
}

on_the_pool() {
	case $KIND in
	window) [ -d "$(window blk)" ] ;;
	mainline)
		# The pool's debugfs folder is at one of two paths, by when the device was probed.
		for pool in /sys/kernel/debug/"$(region blk)" $D/"$(region blk)"; do
			[ ! -e "$pool/io_tlb_used" ] || break
		done
		[ ! -e "$pool/maps" ] && [ "$(cat "$pool/io_tlb_used")" -gt 0 ]
		;;
	esac
}

ktap_print_header
ktap_set_plan $((6 + ROUNDS))

late_probe blk
mkdir -p $DISK $MEM
mount -t ext4 /dev/vda $DISK && mount -t tmpfs -o size=100% none $MEM
ktap_test_result "the disk and a tmpfs are mounted" [ $? -eq 0 ]
ktap_test_result "the disk is on the pool in question" on_the_pool
echo 1024 >/sys/block/vda/queue/read_ahead_kb
mkdir $DISK/meta

# The first search of a backend that has been shown nothing proves nothing.
freed
rc=$?
# The baseline only shows that there is something to be found: it may try again.
for _ in 1 2; do
	if [ "$KIND-$rc-$strings" = mainline-0-0 ]; then
		freed
		rc=$?
	fi
done
ktap_test_result "freed: the host has searched, and all data is right" [ $rc -eq 0 ]

drop_caches
# 64 MiB of page cache, 32 of anonymous memory, slab, and free memory.
"$C" fill $MEM/kept 32 64 >/tmp/kept
mkdir $MEM/names
"$C" hold $MEM/names 32 >/tmp/held &
held=$!
for _ in $(seq 100); do
	! grep -q held /tmp/held || break
	nap 100
done
"$C" fill $MEM/fill 32 4096 >>/tmp/kept && rm $MEM/fill
ktap_test_result "page cache, slab and anonymous memory hold the string" \
	grep -q held /tmp/held
mixed_load
for round in $(seq $ROUNDS); do
	alive "alive$round"
	ktap_test_result "alive$round: the host has searched" [ $? -eq 0 ]
done
finish
rc=$?
ktap_test_result "alive: all data is right" [ $rc -eq 0 ]
kill -TERM $held
wait $held
ktap_test_result "what held the string has not changed" [ $? -eq 0 ]
umount $DISK && sync && host written

ktap_finished
