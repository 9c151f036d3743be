#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: isolation-io.sh MIB BACKEND...
#
# Moves MIB MiB in each direction through each backend, and lets the host look
# into the backends while data moves and when all is quiet. Sums are compared
# here and, from what both sides said, once more by the host.

# shellcheck source=/dev/null
. /tests/kselftest/ktap_helpers.sh
# shellcheck source=/dev/null
. /tests/qemu/isolation-lib.sh

MIB=$1
shift

attach() {
	mkdir -p "/mnt/$1"
	case $1 in
	blk) mount -t ext4 /dev/vda /mnt/blk ;;
	fs) mount -t virtiofs host /mnt/fs ;;
	esac
}

# Nothing that was written or read may still be in the guest's memory.
reattach() {
	umount "/mnt/$1" && drop_caches && attach "$1"
}

files() {
	b=$1
	late_probe "$b"
	attach "$b"
	ktap_test_result "$b: is mounted" grep -q " /mnt/$b " /proc/mounts

	ktap_print_msg "$b: reading $MIB MiB that the host wrote"
	have=$(sum "/mnt/$b/from-host")
	ktap_test_result "$b: the guest reads what the host wrote" \
		[ "$have" = "$(host known "$b.to_guest.host")" ]

	ktap_print_msg "$b: writing $MIB MiB, and reading them back"
	dd if=/dev/urandom of=/tmp/data bs=1M count="$MIB" 2>/dev/null
	want=$(sum /tmp/data)
	dd if=/tmp/data of="/mnt/$b/from-guest" bs=256k conv=fsync 2>/dev/null
	rm /tmp/data
	reattach "$b"
	ktap_test_result "$b: the guest reads back what it wrote" \
		[ "$(sum "/mnt/$b/from-guest")" = "$want" ]
	umount "/mnt/$b"
	sync
	ktap_print_msg "$b: the host reads what the guest wrote"
	ktap_test_result "$b: the host reads what the guest wrote" \
		[ "$(host verify "$b")" = "$want" ]
	bytes=$((MIB << 20))
	# Read: the host's file, and the guest's own.
	host fact "$b.to_guest.guest=$have" "$b.to_host.guest=$want" \
		"$b.to_guest.bytes=$((2 * bytes))" "$b.to_host.bytes=$bytes" \
		"$b.moved=$((3 * bytes))"
	attach "$b"
}

net() {
	late_probe net
	ip link set lo up
	ip link set eth0 up
	ip addr add 192.0.2.1/24 dev eth0
	ktap_test_result "net: has an interface" [ -d /sys/class/net/eth0 ]
	ktap_print_msg "net: $MIB MiB in echo requests"
	isolation-echo 192.0.2.2 1400 $((MIB << 20)) /tmp/sent /tmp/echoed
	ktap_test_result "net: every payload came back" [ $? -eq 0 ]
	want=$(sum /tmp/sent) have=$(sum /tmp/echoed)
	ktap_test_result "net: every byte is the one that was sent" [ "$have" = "$want" ]
	bytes=$(wc -c </tmp/echoed)
	ktap_test_result "net: as much came back as was to be sent" \
		[ "$bytes" -ge $((MIB << 20)) ]
	rm /tmp/sent /tmp/echoed
	host fact "net.sent=$want" "net.echoed=$have" \
		"net.to_guest.bytes=$bytes" "net.to_host.bytes=$bytes" \
		"net.moved=$((2 * bytes))"
}

# Until it is killed.
endless() {
	while :; do
		case $1 in
		net) isolation-echo 192.0.2.2 1400 262144 /dev/null /dev/null >/dev/null ;;
		*)
			# Only the page cache: the rest takes long to drop.
			echo 1 >/proc/sys/vm/drop_caches
			cat "/mnt/$1/from-guest" >/dev/null
			;;
		esac
	done
}

ktap_print_header
plan=2
for b in "$@"; do
	plan=$((plan + 5))
done
ktap_set_plan $plan

for b in "$@"; do
	case $b in
	net) net ;;
	*) files "$b" ;;
	esac
	ktap_test_result "$b: has a window" [ -d "$(window "$b")" ]
	host fact "$b.to_host.copied=$(counter "$b" bytes_in)" \
		"$b.to_guest.copied=$(counter "$b" bytes_out)"
done

ktap_print_msg "the host looks into the backends, while data moves"
pids=
for b in "$@"; do
	endless "$b" &
	pids="$pids $!"
done
nap 1000
for b in "$@"; do
	host fact "$b.copied_before_look=$(copied "$b")"
done
host look busy >/tmp/look
ktap_test_result "the host looked while data moved" [ $? -eq 0 ]
for b in "$@"; do
	host fact "$b.copied_after_look=$(copied "$b")"
done
# shellcheck disable=SC2086 # several
kill $pids
# shellcheck disable=SC2086
wait $pids

ktap_print_msg "the host looks once more, when all is quiet"
for b in "$@"; do
	[ "$b" = net ] || umount "/mnt/$b"
done
host look quiet >/tmp/look
ktap_test_result "the host looked when all was quiet" [ $? -eq 0 ]
for b in "$@"; do
	facts "$b"
done

ktap_finished
