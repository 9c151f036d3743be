#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A virtio device in the smallest window that it takes: its data is right. In half of
# that, a device of its kind is refused (I2, I5).
#
# usage: least.sh KIND DEVICE WINDOW ID HALF [PEER]
#   KIND, DEVICE, WINDOW, ID, PEER   as for virtio.sh, and those of data.sh
#   HALF                             transport of the one in half of it

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=data.sh
. "$DIR/data.sh"

[ $# -ge 5 ] || skip_all "no device given: least.sh KIND DEVICE WINDOW ID HALF [PEER]"
have_host || skip_all "no \"host\" command: not in the project's test guest"
# shellcheck disable=SC2034 # for data.sh
kind=$1 device=$2 window=$3 id=$4 half=$5 peer=${6:-}

has_driver() { [ -e "$(virtio "$1")/driver" ]; }

refused() {
	! has_driver "$half" 2>/dev/null || { echo "$half has a driver" && return 1; }
	dmesg | grep -E "restricted-dma-region: .* is too small" | grep -qE \
		" ($half|$(basename "$(virtio "$half" 2>/dev/null)" 2>/dev/null)): " ||
		{ echo "the log does not say that it is too small" && return 1; }
}

ktap_print_header
ktap_set_plan 4
[ "$kind" != rng ] || find_rng || ktap_exit_fail_msg "$id: which generator is this?"
check "$id is in $window" in_window "$device" "$window"
check "$id has its driver" wait_for 5 has_driver "$device"
check "$id: data is right in $(($(win "$window" size) >> 20)) MiB" eval "settled && data_$kind"
check "half of that is too small" refused
ktap_finished
