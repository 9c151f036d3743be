#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: isolation-control.sh BACKEND...
#
# The devices have no window, the backends see nothing but where one would be:
# each must refuse the rings, and no I/O must get done. Whether the backend
# refused, the host reads in the backend's own log.

# shellcheck source=/dev/null
. /tests/kselftest/ktap_helpers.sh
# shellcheck source=/dev/null
. /tests/qemu/isolation-lib.sh

try() {
	case $1 in
	blk)
		late_probe blk
		dd if=/dev/vda of=/tmp/blk.done bs=4096 count=1
		;;
	fs)
		late_probe fs
		mkdir -p /mnt/fs
		mount -t virtiofs host /mnt/fs && cp /mnt/fs/from-host /tmp/fs.done
		;;
	net)
		late_probe net
		ip link set eth0 up
		ip addr add 192.0.2.1/24 dev eth0
		isolation-echo 192.0.2.2 64 1 /dev/null /tmp/net.done
		;;
	esac
}

# bytes NAME: how many bytes got through.
bytes() {
	sectors=0
	[ "$1" != blk ] || [ ! -e /sys/block/vda/stat ] ||
		sectors=$(awk '{ print $3 + $7 }' /sys/block/vda/stat)
	[ -e "/tmp/$1.done" ] || : >"/tmp/$1.done"
	echo $((sectors * 512 + $(wc -c <"/tmp/$1.done")))
}

ktap_print_header
ktap_set_plan $((4 * $#))

for b in "$@"; do
	ktap_test_result "control: $b: the region is still reserved" \
		reserved "$b"
	plug "$b"
	ktap_print_msg "control: $b: its driver starts, without a window"
	# Use exec, so that a process that hangs holds no copy of this test's output open.
	(exec >/dev/null 2>&1 && try "$b") &
	host refused "$b" >/tmp/reason
	ktap_test_result "control: $b: the backend refuses" [ $? -eq 0 ]
	ktap_print_msg "control: $b: $(cat /tmp/reason)"
	# Time enough for an answer, had there been one.
	nap 3000
	[ "$b" != net ] || ktap_print_msg "control: net: $(grep eth0 /proc/net/dev)"
	got=$(bytes "$b")
	ktap_test_result "control: $b: no I/O gets done" [ "$got" -eq 0 ]
	ktap_test_result "control: $b: has no window" [ -z "$(window "$b")" ]
	host fact "control.$b.done=$got"
done

ktap_finished
