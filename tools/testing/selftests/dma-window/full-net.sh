#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A network card whose receive ring alone could take all of its window: both
# directions go on, every frame arrives, and nobody tries to fill the ring again
# and again (I5).
#
# usage: full-net.sh DEVICE WINDOW PEER

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=data.sh
. "$DIR/data.sh"

[ $# -eq 3 ] || skip_all "no device given: full-net.sh DEVICE WINDOW PEER"
[ -e "$WINDOWS/$2" ] || ktap_exit_fail_msg "no window $2 here"
# shellcheck disable=SC2034 # for data.sh
device=$1 window=$2 peer=$3 kind=net id=net

# Full, but idle: what fails is what somebody tries.
quiet() {
	full=$(win "$window" fail_full)
	nap 2000
	full=$(($(win "$window" fail_full) - full))
	[ $full -le 8 ] || { echo "$full mappings failed in two idle seconds" && return 1; }
}

nothing_left() {
	unbind "$device" && equal "slots in use" "$(win "$window" io_tlb_used)" 0 && bind "$device"
}

no_complaint() { ! dmesg | tail -n "+$from" | grep -m 3 -E 'Unexpected TXQ|out of memory'; }

ktap_print_header
ktap_set_plan 8
from=$(dmesg | wc -l)
failed=$(failures "$window") full=$(win "$window" fail_full) floors=$(win "$window" floor_maps)
check "the card is in $window" in_window "$device" "$window"
check "every frame arrives, both ways" data_net
check "the window was full" at_least fail_full $(($(win "$window" fail_full) - full)) 1
check "floors were used" at_least floor_maps $(($(win "$window" floor_maps) - floors)) 1
check "nothing failed for another reason" equal failures \
	$(($(failures "$window") - failed)) $(($(win "$window" fail_full) - full))
check "nobody tries again and again" quiet
check "the driver does not complain" no_complaint
check "unbinding leaves nothing behind" nothing_left
ktap_finished
