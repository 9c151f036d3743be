# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC1091,SC2034
#
# For the guests here: edu devices, on mainline's pool, in a window and
# with neither, and 64 MiB to map from. PATHS names them. Nobody lets the devices
# do anything: they stand for any device whose driver maps buffers.

. "$Q/engine/guest-lib.sh"
BENCH=$BUILD/bench
BUFFER=/reserved-memory/window@5c000000
UNTRUSTED=

# bench_devices [direct-only]: for a kernel that has nothing of this project.
bench_devices() {
	ram 640
	region buffer 0x5c000000 0x4000000
	device edu,addr=3,dma_mask=0xffffffff
	PATHS="direct=$(pci_name 3)"
	if [ -z "${1:-}" ]; then
		append dma_window.pools=mainline
		region pool 0x50000000 0x4000000 'compatible = "restricted-dma-pool";'
		region win 0x54000000 0x4000000
		device edu,addr=1,dma_mask=0xffffffff
		on_pci 1 'memory-region = <&pool>;'
		device edu,addr=2,dma_mask=0xffffffff
		on_pci 2 "$(uses win)"
		PATHS="$PATHS mainline=$(pci_name 1) window=$(pci_name 2)"
	fi
	device_tree_overlay
	bench_files
}

# bench_files: what the guest needs, and its first test, which binds PATHS.
bench_files() {
	guest_file "$BENCH/$FLAVOUR/dma_window_bench.ko" /bench/dma_window_bench.ko
	guest_file "$BENCH/programs/bench" /bench/bench
	guest_file "$Q/bench/bind.sh" /bench/bind.sh
	run_test bind 60 "UNTRUSTED=$UNTRUSTED /bench/bind.sh $BUFFER $PATHS"
}

# iommu_devices: an edu device and a disk of each kind, all behind the IOMMU that the
# guest's file sets up: trusted, untrusted, which mainline bounces, and in a window.
iommu_devices() {
	local path slot=2

	ram 640
	# Set the size of mainline's pool: the default is cut down to 1 MiB where all memory is
	# in reach.
	append swiotlb=16384
	region buffer 0x5c000000 0x4000000
	region win 0x54000000 0x4000000
	PATHS='' DISKS=''
	for path in trusted untrusted window; do
		device "edu,addr=$slot,dma_mask=0xffffffff"
		PATHS+=" $path=$(pci_name $slot)"
		[ $path != window ] || on_pci $slot "$(uses win)"
		slot=$((slot + 1))
		disk $path 4
		device "virtio-blk-pci,drive=$path,disable-legacy=on,iommu_platform=on,addr=$slot"
		DISKS+=" $path=$(pci_name $slot)"
		[ $path != window ] || on_pci $slot "$(uses win)"
		slot=$((slot + 1))
	done
	UNTRUSTED="$(pci_name 4),$(pci_name 5)"
	device_tree_overlay
	bench_files
}

# bench_iommu: what these cost.
bench_iommu() {
	smp 1
	qemu -icount shift=0,sleep=off
	iommu_devices
	guest_file "$Q/bench/io.sh" /bench/io.sh
	run_test iommu 900 "/bench/bench iommu$PATHS"
	run_test requests 60 "/bench/io.sh requests$DISKS"
}
