#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Real data over virtio devices whose DMA takes different paths, in turns so that
# a change in the host's load meets all of them.
#
# usage: io.sh blk|net|requests PATH=DEVICE...
#        io.sh rx|paths REGION PATH=DEVICE...
# REGION is the window's name; for rx, direct= is who sends the frames.
#
# Results, as comments in KTAP:
#	# bench rate KEY PATH ROUND BYTES-PER-SECOND
#	# bench value KEY PATH VALUE

B=/bench
ROUNDS=5
MS=${MS:-1000}
T=/sys/kernel/tracing
n=0 rc=0

result() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n $2"
	else
		echo "not ok $n $2"
		rc=1
	fi
}

# child DEVICE net|block: the interface or disk of a virtio device.
child() {
	for c in /sys/bus/*/devices/"$1"/virtio*/"$2"/*; do
		[ ! -e "$c" ] || echo "${c##*/}"
	done
}

# rate KEY PATH ROUND COMMAND...: COMMAND prints bytes per second.
rate() {
	key=$1 path=$2 round=$3
	shift 3
	if got=$("$@" 2>&1); then
		printf '# bench\trate\t%s\t%s\t%s\t%s\n' "$key" "$path" "$round" "$got"
	else
		echo "# $key $path: $got"
		return 1
	fi
}

# rate_fio DISK PATTERN SIZE DEPTH: bytes per second.
# shellcheck disable=SC2317 # called by rate
rate_fio() {
	# The first quarter of a second is not counted.
	out=$("$B/fio" --name=bench --filename="$1" --rw="$2" --bs="$3" --iodepth="$4" \
		--ioengine=io_uring --direct=1 --time_based=1 --ramp_time=250ms \
		--runtime="${MS}ms" --terse-version=3 --output-format=terse 2>&1) || {
		echo "$out"
		return 1
	}
	# Fields of terse version 3: 5 is the error; bandwidth in KiB/s is 7 of reads,
	# 48 of writes. Messages are on lines of their own.
	echo "$out" | awk -F ';' '
		$1 == 3 && $5 == 0 && $7 + $48 > 0 { printf "%.0f\n", ($7 + $48) * 1024; ok = 1 }
		{ all = all $0 "\n" }
		END { if (!ok) printf "%s", all; exit !ok }'
}

blk() {
	echo "1..$ROUNDS"
	for round in $(seq $ROUNDS); do
		ok=0
		for what in rr4k:randread:4k:32 rw4k:randwrite:4k:32 \
			seq64k:read:64k:16 seqw64k:write:64k:16 \
			seq1m:read:1m:8 seqw1m:write:1m:8; do
			for pair in "$@"; do
				IFS=:
				# shellcheck disable=SC2086 # fields
				set -- $what "$@"
				unset IFS
				rate "fio.$1" "${pair%%=*}" "$round" \
					rate_fio "/dev/$(child "${pair#*=}" block)" "$2" "$3" "$4" || ok=1
				shift 4
			done
		done
		result $ok "blk round $round"
	done
}

net() {
	port=$(host port) || exit 1
	net=1
	for pair in "$@"; do
		ifconfig "$(child "${pair#*=}" net)" 10.0.$net.15 netmask 255.255.255.0 up
		net=$((net + 1))
	done
	echo "1..$ROUNDS"
	for round in $(seq $ROUNDS); do
		ok=0
		for what in tcp.rx tcp.tx udp.rx udp.tx; do
			net=1
			for pair in "$@"; do
				rate $what "${pair%%=*}" "$round" $B/netrate \
					${what%.*} 10.0.$net.2 "$port" ${what#*.} "$MS" || ok=1
				net=$((net + 1))
			done
		done
		result $ok "net round $round"
	done
}

# bounced: bytes copied so far between mainline's pool and buffers.
bounced() {
	awk '/ bounce: / { sub(/.* size=/, ""); sum += $1 } END { print sum + 0 }' $T/trace
}

copied() { echo $(($(cat "$region/bytes_in") + $(cat "$region/bytes_out"))); }

rx() {
	region=/sys/kernel/debug/swiotlb/$1
	shift
	for pair in "$@"; do
		[ "${pair%%=*}" != direct ] || from=$(child "${pair#*=}" net)
	done
	frames=2000
	echo 'p:bounce swiotlb_bounce size=%x2:u64' >$T/kprobe_events
	echo "1..$((2 * ($# - 1)))"
	for size in mtu:1514 64:64; do
		for pair in "$@"; do
			path=${pair%%=*}
			[ "$path" != direct ] || continue
			to=$(child "${pair#*=}" net)
			# The ring is refilled in lots: begin where it is usual.
			$B/frames "$from" "$to" "${size#*:}" 512 >/dev/null
			: >$T/trace
			[ ! -e $T/events/kprobes/bounce/enable ] ||
				echo 1 >$T/events/kprobes/bounce/enable
			before=$(copied)
			$B/frames "$from" "$to" "${size#*:}" $frames
			ok=$?
			after=$(copied)
			if [ "$path" = mainline ]; then
				[ -e $T/events/kprobes/bounce/enable ] || ok=1
				before=0 after=$(bounced)
			fi
			[ ! -e $T/events/kprobes/bounce/enable ] ||
				echo 0 >$T/events/kprobes/bounce/enable
			# A frame and the header of 12 bytes that virtio puts before it.
			[ $ok != 0 ] || printf '# bench\tvalue\tnet.rx.%s\t%s\t%s\n' "${size%:*}" "$path" \
				"$(awk -v c=$((after - before)) -v f=$frames -v s="${size#*:}" \
					'BEGIN { printf "%.4f", c / (f * (s + 12)) }')"
			result $ok "rx ${size%:*} $path"
		done
	done
	echo >$T/kprobe_events
}

# hits EVENT: how often a probe has been hit.
hits() { awk -v e="$1" '$1 == e { print $2 }' $T/kprobe_profile; }

# requests PATH=DEVICE...: what a read of 4 KiB asks of virtio-iommu.
requests() {
	blocks=256
	echo 'p:request __viommu_add_req' >$T/kprobe_events
	echo 1 >$T/events/kprobes/request/enable
	echo "1..$#"
	for pair in "$@"; do
		before=$(hits request)
		out=$(dd if="/dev/$(child "${pair#*=}" block)" of=/dev/null bs=4k \
			count=$blocks iflag=direct 2>&1)
		ok=$?
		after=$(hits request)
		if [ $ok = 0 ]; then
			printf '# bench\tvalue\treq.blk4k\t%s\t%s\n' "${pair%%=*}" \
				"$(awk -v n=$((after - before)) -v b=$blocks 'BEGIN { printf "%.3f", n / b }')"
		else
			echo "# $out"
		fi
		result $ok "requests ${pair%%=*}"
	done
	echo 0 >$T/events/kprobes/request/enable
	echo >$T/kprobe_events
}

# paths REGION PATH=DEVICE...: is the window's what says so, and nothing else?
paths() {
	region=/sys/kernel/debug/swiotlb/$1
	shift
	echo "1..$#"
	for pair in "$@"; do
		want=1
		[ "${pair%%=*}" != window ] || want=0
		grep -qxF "${pair#*=}" "$region/devices"
		[ $? = $want ]
		result $? "$pair"
	done
}

echo "TAP version 13"
what=$1
shift
case $what in
blk) blk "$@" ;;
net) net "$@" ;;
rx) rx "$@" ;;
paths) paths "$@" ;;
requests) requests "$@" ;;
*) rc=2 ;;
esac
exit $rc
