#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The DMA API call by call, seen from the driver and from the device (I1 to I5,
# I7): loads the module dma_window_edu, runs the programs that are named, and
# looks at what they left behind.
#
# usage: [LEFT=N] device.sh WINDOW EDU REFUSED NEIGHBOUR PROGRAM...
# N is how many slots a program loses on purpose.
# Needs three of QEMU's edu devices, given by their names on the PCI bus: one in
# WINDOW, one that is refused, and one more in WINDOW; no other device there.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -ge 5 ] || skip_all "usage: device.sh WINDOW EDU REFUSED NEIGHBOUR PROGRAM..."
export WINDOW="$1" EDU="$2" REFUSED="$3" NEIGHBOUR="$4"
shift 4

load() { insmod "$DIR/dma_window_edu.ko" && [ -c /dev/dma-window-edu ] && bound "$EDU"; }

ktap_print_header
# If the devices are named, the guest was prepared for this module: fail, not skip.
if [ ! -e "$DIR/dma_window_edu.ko" ]; then
	ktap_set_plan 1
	ktap_print_msg "dma_window_edu.ko was not built: no KDIR"
	ktap_test_fail "dma_window_edu was built"
	ktap_finished
fi
ktap_set_plan $((4 + $#))
check "dma_window_edu loads" load
check "the module is bound to the neighbour, not to the refused device" \
	equal "bound: neighbour, refused" \
	"$(bound "$NEIGHBOUR" && echo y) $(bound "$REFUSED" || echo n)" "y n"
for program in "$@"; do
	# Print the program's results as subtests of the next line, and as they come: a
	# test that prints nothing for long is taken for a hang.
	{
		"$DIR/$program" 2>&1
		echo $? >/tmp/rc
	} | while IFS= read -r line; do
		[ "${line#TAP version}" != "$line" ] || echo "    $line"
	done
	check "$program" [ "$(cat /tmp/rc)" -eq 0 ]
done
check "the module unloads" rmmod dma_window_edu
check "nothing is left in the window" equal "slots, maps, allocs" \
	"$(win "$WINDOW" io_tlb_used) $(win "$WINDOW" maps) $(win "$WINDOW" allocs)" \
	"${LEFT:-0} $(win "$WINDOW" unmaps) $(win "$WINDOW" frees)"
ktap_finished
