# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC1091,SC2034,SC2154
#
# For the guest isolation-iommu: two disks of QEMU's own behind a virtio-iommu,
# one with a region and one without, and QEMU's own trace of what the guest asks
# the IOMMU for. Sourced; isolation_iommu is the guest.

. "$Q/canary/canary.sh"
# The device, its control without a region, and their slots.
SLOT_iommu=2 SLOT_plain=3
IOMMU_BASE=0x5c000000 IOMMU_SIZE=0x2000000
RAM_MIB=512 DISK_MIB=4

# endpoint NAME: as the IOMMU calls it.
endpoint() {
	local slot=SLOT_$1

	printf '%d' $((${!slot} * 8))
}

isolation_iommu() {
	local name slot

	ram $RAM_MIB
	# Turn boot-bypass off: no device may reach memory before the IOMMU's driver comes.
	platform -device virtio-iommu-pci,addr=1,boot-bypass=off
	region win $IOMMU_BASE $IOMMU_SIZE
	on_pci $SLOT_iommu "$(uses win)"
	for name in iommu plain; do
		slot=SLOT_$name
		disk $name $DISK_MIB
		device "virtio-blk-pci,id=$name,drive=$name,addr=${!slot},disable-legacy=on,iommu_platform=on"
	done
	device_tree_overlay
	# Trace requests of the guest, but not each access that is translated.
	qemu -D "$RUN/trace" -trace 'virtio_iommu_*' -trace 'enable=-virtio_iommu_translate*' \
		-trace 'virtio_blk_handle_*'
	if [ -z "$ACTION" ]; then
		printf '~%s' "$(alnum 7)" >"$RUN/canary"
		printf 'M%s' "$(alnum 15)" >"$RUN/marker"
	fi
	guest_file "$RUN/canary" etc/canary
	guest_file "$RUN/marker" etc/marker
	run_test io 120 isolation-iommu.sh "iommu=$(pci_name $SLOT_iommu)" \
		"plain=$(pci_name $SLOT_plain)"
}

host_before() {
	local name

	: >"$RUN/facts"
	fact guest_bytes $((RAM_MIB << 20))
	fact iommu.base $IOMMU_BASE
	fact iommu.size $IOMMU_SIZE
	for name in iommu plain; do
		fact $name.endpoint "$(endpoint $name)"
		fact $name.to_guest.host "$(sum "$RUN/$name.img")"
	done
}

# host cut KEY: where in the trace we are. The guest waits for an answer to each
# request that it sends, and QEMU writes line by line: all that came before is there.
host_cut() { fact "cut.$1" "$(stat -c %s "$RUN/trace")"; }

# host stored NAME BYTES: the sum of what the image starts with.
host_stored() {
	fact "$1.to_host.host" "$(head -c "$2" "$RUN/$1.img" | sha256sum | cut -d' ' -f1)"
	host_known "$1.to_host.host"
}

# host search NAME: search what the device can read of the guest now.
host_search() {
	python3 "$Q/iommu-proof/iommu.py" search "$SOCK/qmp" "$RUN/trace" "$RUN" "$1.search" \
		"$(endpoint "$1")" | tee -a "$RUN/facts"
}

# host lines NAME BYTES: does the image start with isolation-canary's lines?
host_lines() {
	local right=no

	numbered 15 "$(<"$RUN/marker")" "$2" | cmp -n "$2" - "$RUN/$1.img" && right=yes
	fact "$1.large.written" $right
	[ $right = yes ]
}

host_after() { python3 "$E" iommu "$RUN"; }
