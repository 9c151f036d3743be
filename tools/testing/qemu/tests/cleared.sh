#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What was in a window's memory before the guest booted is not for its devices
# to read: the host put TEXT there, and into memory that is reserved but nobody's
# window, where it has to be still, or its absence would prove nothing (I3).
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
