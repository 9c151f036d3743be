#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Can the host read every kind of ring? Arguments: ids of disks without a
# window. Their addresses must all be in memory, and none in a place where
# nothing is, or a test that relies on this look would pass for no reason.

# shellcheck source=tools/testing/qemu/tests/lib.sh
. /tests/qemu/lib.sh

ktap_print_header
ktap_set_plan $(($# * 2))

for id in "$@"; do
	dd if="$(disk "$id")" of=/dev/null bs=64k count=16 2>/dev/null
	out=$(host rings_inside "$id" 0x40000000 0x20000000)
	status=$?
	ktap_print_msg "$id: $out"
	ktap_test_result "$id: all addresses are memory" [ $status -eq 0 ]

	out=$(host rings_inside "$id" 0x10000000 0x1000)
	status=$?
	total=${out%% addresses*}
	outside=$(echo "$out" | sed -n '1s/.* \([0-9]*\) outside$/\1/p')
	ktap_print_msg "$id: elsewhere: $total addresses, $outside outside"
	ktap_test_result "$id: each is seen to be outside of elsewhere" \
		[ "$status-$outside" = "1-${total##* }" ]
done

ktap_finished
