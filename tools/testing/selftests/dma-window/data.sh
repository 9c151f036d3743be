#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What each kind of virtio device moves, every byte verified: data_KIND. Sourced
# by tests, behind lib.sh, that have set
#   kind      of device
#   device    the transport: 0000:00:02.0, a000000.virtio_mmio
#   id        what the host calls the device, and its disk's image
#   peer      for a "net": the device that the host connected it to
# The host has to provide the devices and the actions used here.

# shellcheck disable=SC2154 # set by those who source this

data_blk() {
	dev=$(block "$device") || return 1
	"$DIR/blkio" "$dev" direct 2 512 128 1 &&
		"$DIR/blkio" "$dev" buffered 2 1024 256 1 || return 1
	echo 3 >/proc/sys/vm/drop_caches
	have=$(sha256sum "$dev" | cut -d' ' -f1)
	equal "checksum of $dev" "$have" "$(host sha256 "$id.img")"
}
data_scsi() { data_blk; }

# The host's "random" numbers count up, in lines of 8 bytes. Others may take
# some as well, so there can be gaps.
data_rng() {
	dd if=/dev/hwrng bs=64 count=64 2>/dev/null >/tmp/rng
	awk '!/^[0-9][0-9][0-9][0-9][0-9][0-9][0-9]$/ || $0 "" <= last "" {
			print "line " NR ": \"" $0 "\" after \"" last "\""; bad = 1; exit }
		{ last = $0; n++ }
		END { if (!bad && n != 512) { print n " lines, not 512"; bad = 1 }
		      exit bad }' /tmp/rng
}

# The host echoes what it gets: on all ports of the device at once.
data_console() {
	ports=$(virtio "$device") || return 1
	ports=$(find "$ports/virtio-ports/" -maxdepth 1 -name 'vport*') echoes=''
	rm -f /tmp/echo.*
	for port in $ports; do
		echo_on "/dev/${port##*/}" >"/tmp/echo.${port##*/}" 2>&1 &
		echoes="$echoes $!"
	done
	rc=0
	for echo in $echoes; do
		wait "$echo" || rc=1
	done
	cat /tmp/echo.*
	[ -n "$echoes" ] || { echo "$device has no port" && return 1; }
	return $rc
}
data_ports() { data_console; }

# echo_on PORT: 256 KiB there and back.
echo_on() {
	sent=/tmp/sent.${1##*/} echoed=/tmp/echoed.${1##*/}
	wait_for 5 [ -c "$1" ] || return 1
	head -c 262144 /dev/urandom >"$sent"
	(exec 3<>"$1"
	 cat "$sent" >&3 &
	 head -c 262144 <&3 >"$echoed"
	 wait)
	cmp "$sent" "$echoed"
}

# A host that sends everything back.
data_vsock() { "$DIR/vsockecho" 4 131072; }

# Frames on a screen: what the host sees is the last of them, every pixel.
data_gpu() {
	for card in "$(virtio "$device")"/drm/card* "$(sysfs "$device")"/drm/card*; do
		[ ! -d "$card" ] || break
	done
	card=/dev/dri/${card##*/}
	wait_for 5 [ -c "$card" ] || { echo "$card is missing" && return 1; }
	rm -f /tmp/screen.ppm
	mkfifo /tmp/shown 2>/dev/null
	"$DIR/screen" "$card" 30 /tmp/screen.ppm </tmp/shown >/tmp/screen.out 2>&1 &
	screen=$!
	exec 4>/tmp/shown
	rc=0
	wait_for 30 [ -s /tmp/screen.ppm ] || rc=1
	[ $rc -ne 0 ] ||
		equal "checksum of the screen" "$(host screen "$id")" \
			"$(sha256sum </tmp/screen.ppm | cut -d' ' -f1)" || rc=1
	exec 4>&-
	wait $screen || rc=1
	[ $rc -eq 0 ] || cat /tmp/screen.out
	return $rc
}

# The host's AES against the kernel's.
data_crypto() { "$DIR/cipher" 4 20; }

interface() {
	net_dir=$(virtio "$1") || return 1
	ls "$net_dir/net"
}

data_net() {
	a=$(interface "$device") && b=$(interface "$peer") || return 1
	"$DIR/netpair" "$a" "$b" 400
}

# Segments of up to 64 KiB that nobody cuts, from each CPU: each has a queue pair.
data_tso() {
	a=$(interface "$device") && b=$(interface "$peer") || return 1
	# From one CPU: frames of several queues keep no order.
	taskset 1 "$DIR/netpair" "$a" "$b" 100 || { lost "$a" "$b" && return 1; }
	for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
		cpu=${cpu##*/cpu}
		taskset "$(printf '%x' $((1 << cpu)))" "$DIR/netpair" "$a" "$b" 12 65000 ||
			{ lost "$a" "$b" && return 1; }
	done
}

# What the interfaces counted that was lost.
lost() {
	for i; do
		grep -H '[1-9]' "/sys/class/net/$i/statistics/"*_dropped \
			"/sys/class/net/$i/statistics/"*_errors
	done | sed 's,.*/net/,,; s,/statistics/, ,'
	:
}

# Files of the host, read and written by several readers at once, in calls as large
# as the mount takes.
data_9p() {
	tag=$(tr -d '\0' <"$(virtio "$device")/mount_tag") || return 1
	mkdir -p "/mnt/$tag"
	grep -q " /mnt/$tag " /proc/mounts ||
		mount -t 9p -o "trans=virtio,version=9p2000.L,msize=${MSIZE:-512000}" \
			"$tag" "/mnt/$tag" || return 1
	files "/mnt/$tag"
}

data_fs() {
	mkdir -p "/mnt/$id"
	grep -q " /mnt/$id " /proc/mounts ||
		mount -t virtiofs "$id" "/mnt/$id" || return 1
	files "/mnt/$id"
}

# files FOLDER: its file "big" is read by six at once, 1 MiB a call, and copied.
files() {
	want=$(host sha256 big) readers=''
	rm -f /tmp/files.*
	for i in 1 2 3 4 5 6; do
		{
			have=$(dd if="$1/big" bs=1M 2>/tmp/files.dd$i | sha256sum) ||
				have=error
			[ "${have%% *}" = "$want" ] || {
				echo "reader $i: $have, should be $want"
				grep -v records /tmp/files.dd$i
			} >/tmp/files.bad$i
		} &
		readers="$readers $!"
	done
	# shellcheck disable=SC2086 # a list; not all: the caller may have its own
	wait $readers
	cat /tmp/files.bad* 2>/dev/null && return 1
	dd if="$1/big" of="$1/copy-$id" bs=1M conv=notrunc 2>/dev/null || return 1
	sync
	equal "checksum of the copy" "$(host sha256 "copy-$id")" "$want"
}

# press KEY true|false: the host presses a key, or lets go of it.
press() {
	key="{\"type\":\"qcode\",\"data\":\"$1\"}"
	host qmp input-send-event \
		"events=[{\"type\":\"key\",\"data\":{\"down\":$2,\"key\":$key}}]"
}

# Keys that the host presses, all and in order. On a slow machine, the kernel may
# repeat some meanwhile.
data_input() {
	for node in "$(virtio "$device")"/input/input*/event*; do
		node=/dev/input/${node##*/}
	done
	wait_for 5 [ -c "$node" ] || { echo "$node is missing" && return 1; }
	dd if="$node" of=/tmp/keys bs=24 2>/dev/null &
	reader=$!
	# Wait: events count for who has the node open.
	nap 100
	for letter in a b c d e f g h i j; do
		press $letter true >/dev/null
		press $letter false >/dev/null
	done
	# a to j in linux/input-event-codes.h
	wait_for 10 keys_are "30 48 46 32 18 33 34 35 23 36 " >/dev/null
	kill $reader
	keys_are "30 48 46 32 18 33 34 35 23 36 "
}

# Type 1, code, value 1: a key is pressed.
keys_are() {
	equal "keys" "$(hexdump -v -e '12/2 "%u " "\n"' /tmp/keys |
		awk '$9 == 1 && $11 == 1 { printf "%s ", $10 }')" "$1"
}

# Wait until user space can use the device, and does use this one.
settled() {
	case $kind in
	blk | scsi) wait_for 10 block "$device" ;;
	rng) use_rng ;;
	*) wait_for 10 virtio "$device" ;;
	esac
}

# The device's generator is the one that goes when the device is unbound.
find_rng() {
	all=$(cat $RNG/rng_available)
	unbind "$device" || return 1
	rest=" $(cat $RNG/rng_available) "
	bind "$device" || return 1
	for rng in $all; do
		case $rest in *" $rng "*) ;; *) return 0 ;; esac
	done
	echo "$device is not in $RNG/rng_available"
	return 1
}

RNG=/sys/class/misc/hw_random
use_rng() { echo "$rng" >$RNG/rng_current; }
