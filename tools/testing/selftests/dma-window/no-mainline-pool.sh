#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Mainline's swiotlb made no pool of its own in a region that we serve, or that
# we refused (I1, I2): its debugfs folder, named after the region, is not there.
#
# usage: no-mainline-pool.sh REGION...

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -gt 0 ] || skip_all "no region given: no-mainline-pool.sh REGION..."

# A pool's folder is under swiotlb/ if made late, else in the root. Ours have "maps".
none() {
	for d in /sys/kernel/debug/"$1" "$WINDOWS/$1"; do
		[ ! -e "$d/io_tlb_nslabs" ] || [ -e "$d/maps" ] || {
			echo "$d is a pool of mainline's"
			return 1
		}
	done
}

ktap_print_header
ktap_set_plan $#
for r; do
	check "$r: no pool of mainline's" none "$r"
done
ktap_finished
