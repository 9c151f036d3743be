#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A driver whose DMA mask does not reach the window gives up, and the log has the
# reason once per probe (I2).
#
# usage: mask.sh EDU MESSAGE
# EDU is one of QEMU's edu devices, in a window above 4 GiB.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 2 ] || skip_all "usage: mask.sh EDU MESSAGE"
[ -e "$DIR/dma_window_edu.ko" ] || ktap_exit_fail_msg "dma_window_edu.ko was not built: no KDIR"

said() {
	! bound "$1" || { echo "$1 has a driver" && return 1; }
	equal "lines of $1" "$(dmesg | grep -cF "dma-window-edu $1: $2")" "$3"
}

ktap_print_header
ktap_set_plan 3
check "dma_window_edu loads" insmod "$DIR/dma_window_edu.ko"
check "$1: the driver has given up, and the log says why" said "$1" "$2" 1
rmmod dma_window_edu
insmod "$DIR/dma_window_edu.ko"
check "$1: the same again" said "$1" "$2" 2
ktap_finished
