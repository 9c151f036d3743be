#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A network card in a window that lies about how much it wrote: see len-liar.c
# (I3, I4). Taking its buffers back copies nothing.
#
# usage: len-net.sh DEVICE WINDOW FEATURES DESCRIPTORS
#   FEATURES     bits that must be negotiated, comma-separated, "!" before one
#                that must not
#   DESCRIPTORS  per receive buffer; 0 for mergeable buffers

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 4 ] || skip_all "no device given: len-net.sh DEVICE WINDOW FEATURES DESCRIPTORS"
device=$1 window=$2 features=$3

negotiated() {
	have=$(cat "$(virtio "$device")/features")
	for bit in $(echo "$features" | tr ',' ' '); do
		want=1
		[ "$bit" = "${bit#!}" ] || want=0
		bit=${bit#!}
		equal "feature $bit" "$(echo "$have" | cut -c$((bit + 1)))" $want || return 1
	done
}

taken_back() {
	copied=$(win "$window" bytes_out) unmaps=$(win "$window" unmaps)
	unbind "$device" || return 1
	equal "bytes copied" $(($(win "$window" bytes_out) - copied)) 0 &&
		at_least "buffers taken back" $(($(win "$window" unmaps) - unmaps)) 32 &&
		equal "slots in use" "$(win "$window" io_tlb_used)" 0
}

ktap_print_header
ktap_set_plan 4
check "features $features" negotiated
failed0=$(failures "$window")
# Print the program's results as subtests of the next line.
"$DIR/len-liar" "$(ls "$(virtio "$device")/net")" "$window" "$4" >/tmp/lies 2>&1
rc=$?
grep -v '^TAP version' /tmp/lies | sed 's/^/    /'
check "len-liar" [ $rc -eq 0 ]
check "unused buffers: nothing is copied" taken_back
check "nothing failed" equal failures $(($(failures "$window") - failed0)) 0
ktap_finished
