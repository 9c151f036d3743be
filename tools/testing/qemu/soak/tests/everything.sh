#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Everything at once; see the guest of that name.
#
# usage: everything.sh SECONDS SEED FIO-DISK DISK NET NET 9P PORT...

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh
DIR=/tests/dma-window
# shellcheck source=tools/testing/selftests/dma-window/data.sh
. /tests/dma-window/data.sh

[ $# -ge 8 ] || skip_all "usage: everything.sh SECONDS SEED DISK DISK NET NET 9P PORT..."
seconds=$1 seed=$2 fio_disk=$3 disk=$4 device=$5 peer=$6 nine=$7
shift 7
ports=$*
JOBS="fio disk net files hotplug cpus memory"

going() { [ ! -e /tmp/soak.stop ]; }

# job NAME: one after the other until told to stop; the first error ends it.
job() {
	rounds=0
	while going; do
		"job_$1" >"/tmp/soak.out.$1" 2>&1 || {
			{
				echo "round $rounds:"
				tail -n 4 "/tmp/soak.out.$1"
			} >"/tmp/soak.bad.$1"
			break
		}
		rounds=$((rounds + 1))
		echo $rounds >"/tmp/soak.rounds.$1"
	done
}

job_fio() {
	round_seed=$((seed * 1000 + $(cat /tmp/soak.rounds.fio 2>/dev/null || echo 0)))
	fio --name=soak --filename="$(block "$fio_disk")" --direct=1 --ioengine=io_uring \
		--rw=randrw --bsrange=512-256k --bs_unaligned=0 --size=48m --io_size=24m \
		--iodepth=16 --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
		--randseed=$round_seed --minimal
}

job_disk() {
	"$DIR/blkio" "$(block "$disk")" direct 8 512 512 1 &&
		"$DIR/blkio" "$(block "$disk")" buffered 2 512 256 1
}

job_net() { data_net; }
# Each job is a process of its own, so no other one sees what is set here.
job_files() {
	device=$nine id=nine
	data_9p
}

job_hotplug() {
	for port in $ports; do
		host device_add driver=virtio-blk-pci "id=hot$port" "bus=port$port" \
			"drive=hot$port" disable-legacy=on num-queues=1 || return 1
		slot=$(cat "/sys/bus/pci/slots/$port/address").0
		wait_for 20 block "$slot" &&
			"$DIR/blkio" "$(block "$slot")" direct 1 128 128 1 || return 1
		echo 0 >"/sys/bus/pci/slots/$port/power"
		host device_wait_deleted "hot$port" || return 1
	done
}

job_cpus() {
	for cpu in 1 2 3; do
		echo 0 >"/sys/devices/system/cpu/cpu$cpu/online" || return 1
		nap 50
		echo 1 >"/sys/devices/system/cpu/cpu$cpu/online" || return 1
		nap 50
	done
}

# Half of what is free, in turn given and taken.
job_memory() {
	free=$(awk '$1 == "MemAvailable:" { print int($2 / 2048) }' /proc/meminfo)
	dd if=/dev/zero of=/tmp/soak.ballast bs=1M count="$free" 2>/dev/null || return 1
	echo 3 >/proc/sys/vm/drop_caches
	rm -f /tmp/soak.ballast
}

all() {
	rm -f /tmp/soak.*
	for j in $JOBS; do
		job "$j" &
	done
	end=$(($(date +%s) + seconds))
	while [ "$(date +%s)" -lt $end ] && ! ls /tmp/soak.bad.* >/dev/null 2>&1; do
		nap 1000
		# Progress, for the harness.
		ktap_print_msg "$(($(date +%s) - end)) s" >&3
	done
	touch /tmp/soak.stop
	wait
	! ls /tmp/soak.bad.* 2>/dev/null || { cat /tmp/soak.bad.*; return 1; }
}

each_ran() {
	for j in $JOBS; do
		[ "$(cat "/tmp/soak.rounds.$j" 2>/dev/null || echo 0)" -gt 0 ] ||
			{ echo "$j: not one round" && return 1; }
	done
}

# nothing_left: unbind everything, and no slot and no mapping is left.
nothing_left() {
	umount /mnt/* 2>/dev/null
	for gone in "$fio_disk" "$disk" "$device" "$peer" "$nine"; do
		unbind "$gone" || return 1
	done
	for w in "$WINDOWS"/*/; do
		equal "slots in use of $w" "$(cat "$w/io_tlb_used")" 0 || return 1
	done
	equal "live mappings" "$(mappings)" 0
}

other_failures() {
	for w in "$WINDOWS"/*/; do
		for f in fail_mask fail_invalid fail_nomem fail_iommu leaked; do
			[ "$(cat "$w/$f")" -eq 0 ] || { echo "$w$f: $(cat "$w/$f")" && return 1; }
		done
	done
}

ktap_print_header
ktap_set_plan 5
exec 3>&1
check "all data is right" all
check "everything ran" each_ran
for j in $JOBS; do
	ktap_print_msg "$j: $(cat "/tmp/soak.rounds.$j" 2>/dev/null || echo 0) rounds"
done
check "nothing failed but for a full window" other_failures
check "windows were full" at_least fail_full "$(cat "$WINDOWS"/*/fail_full |
	awk '{ n += $1 } END { print n }')" 1
check "and unbinding leaves nothing behind" nothing_left
ktap_finished
