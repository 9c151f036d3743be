#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Devices that share an IOMMU group with a device that has a window, and the fate
# of the domain that such a group is in (I2).
#
# usage: iommu-groups.sh WINDOW FUNCTION OTHER ALONE
#   FUNCTION  a device that names WINDOW; bound if it came first and the kernel forms
#             groups when drivers come, not bound if when devices are added
#   OTHER     another in the group of FUNCTION, names no region: so not bound
#   ALONE     a device with WINDOW and a group of its own, bound

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 4 ] || skip_all "no devices given: iommu-groups.sh WINDOW FUNCTION OTHER ALONE"
window=$1 function=$2 other=$3 alone=$4
ERR="restricted-dma-region: /reserved-memory/$window:"
SHARES="shares its IOMMU group with"

group() { readlink -f "$(sysfs "$1")/iommu_group"; }

same_group() { equal "groups" "$(group "$function")" "$(group "$other")"; }

# said DEVICE TEXT: since the log was last cleared.
said() {
	dmesg | grep -F " $1: " | grep -qF "$2" || {
		dmesg | tail -n 2
		return 1
	}
}

# refused DEVICE TEXT: no driver is bound to DEVICE, and the log says TEXT.
refused() {
	dmesg -c >/tmp/dmesg.old
	! bind "$1" 2>/dev/null || { echo "$1 was bound" && return 1; }
	said "$1" "$2"
}

has_window() { bound "$1" && in_window "$1" "$window"; }

first=
! bound "$function" || first=y

other_refused() {
	refused "$other" "$SHARES $function, which names a restricted-dma-region" || return 1
	[ -z "$first" ] || has_window "$function"
}

# With both devices in the group, neither can have a driver, until one goes.
both_refused() {
	[ -z "$first" ] || unbind "$function" || return 1
	refused "$function" "$ERR $SHARES $other, which does not name the same region" &&
		refused "$other" "$SHARES $function"
}

only_one_left() {
	echo 1 >"$(sysfs "$other")/remove"
	bind "$function" && has_window "$function"
}

# Rescan the bus: the other device comes late, when FUNCTION has its window.
comes_late() {
	dmesg -c >/tmp/dmesg.old
	echo 1 >/sys/bus/pci/rescan
	sysfs "$other" >/tmp/other || return 1
	# A kernel that forms groups early may not know yet that the two belong together.
	if [ "$(group "$function")" != "$(group "$other")" ]; then
		has_window "$function"
		return
	fi
	! bound "$other" || { echo "$other was bound" && return 1; }
	said "$other" "$SHARES $function" && has_window "$function"
}

other_left() {
	unbind "$function"
	echo 1 >"$(sysfs "$function")/remove"
	bound "$other" || bind "$other"
}

type_of() { cat "$(group "$1")/type"; }
set_type() { echo "$2" 2>/dev/null >"$(group "$1")/type"; }

# While a driver is bound, there is no other domain.
kept() {
	was=$(type_of "$alone")
	! set_type "$alone" identity || { echo "the type can be set" && return 1; }
	equal type "$(type_of "$alone")" "$was" && has_window "$alone"
}

identity() {
	unbind "$alone" && set_type "$alone" identity || return 1
	equal type "$(type_of "$alone")" identity || return 1
	refused "$alone" "$ERR its IOMMU domain is not one for the DMA API"
}

# Each change of type makes a new domain; the window was mapped in the one before.
back() {
	for type in DMA identity DMA-FQ identity DMA; do
		set_type "$alone" $type || return 1
		[ $type = identity ] && continue
		bind "$alone" && has_window "$alone" && unbind "$alone" || return 1
	done
	bind "$alone" && has_window "$alone"
}

ktap_print_header
ktap_set_plan 9
check "$function and $other share a group" same_group
check "$other, which names none, is refused, whether or not $function came first" \
	other_refused
check "both are refused when neither has a driver" both_refused
check "$function has its window when $other is gone" only_one_left
check "$other, late, is refused" comes_late
check "$other has a driver when $function is gone" other_left
check "$alone: no identity domain while bound" kept
check "$alone: refused with an identity domain" identity
check "$alone: has its window in each domain for DMA" back
ktap_finished
