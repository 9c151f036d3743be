# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC1091,SC2034
#
# For the guests here: three edu devices, on mainline's pool, in a window and
# with neither, and 64 MiB to map from. PATHS names them. Nobody lets the devices
# do anything: they stand for any device whose driver maps buffers.

. "$Q/guest-lib.sh"
BENCH=$BUILD/bench
BUFFER=/reserved-memory/window@5c000000

# bench_devices [direct-only]: for a kernel that has nothing of this project.
bench_devices() {
	ram 640
	region buffer 0x5c000000 0x4000000
	device edu,addr=3,dma_mask=0xffffffff
	PATHS="direct=$(pci_name 3)"
	if [ -z "${1:-}" ]; then
		append dma_window.mainline_pool=1
		region pool 0x50000000 0x4000000 'compatible = "restricted-dma-pool";'
		region win 0x54000000 0x4000000
		device edu,addr=1,dma_mask=0xffffffff
		on_pci 1 'memory-region = <&pool>;'
		device edu,addr=2,dma_mask=0xffffffff
		on_pci 2 "$(uses win)"
		PATHS="$PATHS mainline=$(pci_name 1) window=$(pci_name 2)"
	fi
	device_tree_overlay
	guest_file "$BENCH/$FLAVOUR/dma_window_bench.ko" /bench/dma_window_bench.ko
	guest_file "$BENCH/programs/bench" /bench/bench
	guest_file "$Q/bench/bind.sh" /bench/bind.sh
	run_test bind 60 "/bench/bind.sh $BUFFER $PATHS"
}
