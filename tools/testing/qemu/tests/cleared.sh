#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Bytes from before the guest's boot are not for a window's devices to read (I3).
# The host put TEXT into the window, and into memory that is reserved but nobody's
# window: if TEXT is not there any more, its absence in the window proves nothing.
#
# usage: cleared.sh TEXT WINDOW ADDRESS

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh

text=$1 window=$2 address=$3

ktap_print_header
ktap_set_plan 2
check "it was there" equal "at $address" "$(host find "$address" 0x1000 "$text")" 1
check "$window was cleared" equal "in the window" \
	"$(host find "$(win "$window" base)" "$(win "$window" size)" "$text")" 0
ktap_finished
