#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The DMA API from a driver's side (I1 to I5, I7): loads dma_window_test, whose
# KUnit tests run then, passes on their results, and looks at what they left
# behind and at the counters.
#
# usage: device.sh WINDOW
# Needs QEMU's edu device: one in WINDOW, one that is refused, one in WINDOW, in
# this order, and no other device there.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ -n "${1:-}" ] || skip_all "no window given: device.sh WINDOW"
[ -e "$DIR/dma_window_test.ko" ] || skip_all "dma_window_test.ko was not built: no KDIR"
window=$1
RESULTS=/sys/kernel/debug/kunit/dma_window_device/results
# In test_bad_calls() and test_neighbour() of dma_window_test.c.
BAD_CALLS=12

load() { insmod "$DIR/dma_window_test.ko" && [ -e $RESULTS ]; }

# KUnit's own line for the suite also agrees if cases were skipped.
passed() { grep -q '^ok 1 dma_window_device' $RESULTS && ! grep '# SKIP' $RESULTS; }

user_space() {
	"$DIR/coherent_mmap" >/tmp/mmap
	rc=$?
	sed 's/^/# /' /tmp/mmap
	[ $rc -eq 0 ] && ! grep -q SKIP /tmp/mmap
}

ktap_print_header
ktap_set_plan 8
check "dma_window_test loads and runs" load
# The cases, as subtests of the next line.
grep '^    ' $RESULTS
check "dma_window_device" passed
check "a coherent buffer in user space" user_space
check "bad calls were counted, and there were no others" \
	equal fail_invalid "$(win "$window" fail_invalid)" $BAD_CALLS
check "a full window was counted" at_least fail_full "$(win "$window" fail_full)" 4
check "an unreachable window was counted" at_least fail_mask "$(win "$window" fail_mask)" 2
check "the module unloads" rmmod dma_window_test
check "nothing is left in the window" equal "slots, maps, allocs" \
	"$(win "$window" io_tlb_used) $(win "$window" maps) $(win "$window" allocs)" \
	"0 $(win "$window" unmaps) $(win "$window" frees)"
ktap_finished
