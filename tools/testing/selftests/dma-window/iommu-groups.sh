#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What shares an IOMMU group with a device that has a window, and what becomes of
# the domain that it is in (I2).
#
# usage: iommu-groups.sh WINDOW FUNCTION OTHER ALONE
#   FUNCTION  a device that names WINDOW
#   OTHER     another in its group that names nothing, bound: so FUNCTION is not
#   ALONE     a device with WINDOW and a group of its own, bound

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 4 ] || skip_all "no devices given: iommu-groups.sh WINDOW FUNCTION OTHER ALONE"
window=$1 function=$2 other=$3 alone=$4
ERR="restricted-dma-region: /reserved-memory/$window:"

# The last line that the kernel said of DEVICE that matches REGEX.
said() { dmesg | grep -F " $1: " | grep -qE "$2"; }

group() { readlink -f "$(sysfs "$1")/iommu_group"; }

same_group() { equal "groups" "$(group "$function")" "$(group "$other")"; }

# refused DEVICE REGEX: a driver does not get it, and the reason is this.
refused() {
	dmesg -c >/tmp/dmesg.old
	! bind "$1" 2>/dev/null || { echo "$1 was bound" && return 1; }
	said "$1" "$2" || { dmesg | tail -n 2 && return 1; }
}

# Without the other, there is nothing against it.
only_one_left() {
	echo 1 >"$(sysfs "$other")/remove"
	bind "$function" && in_window "$function" "$window"
}

# Then the other comes, late: it is the one to be refused.
comes_late() {
	dmesg -c >/tmp/dmesg.old
	echo 1 >/sys/bus/pci/rescan
	sysfs "$other" >/tmp/other || return 1
	! bound "$other" || { echo "$other was bound" && return 1; }
	dmesg | grep -qF "shares its IOMMU group with $function" ||
		{ dmesg | tail -n 3 && return 1; }
}

# And once more, by hand; while FUNCTION goes on as before.
still_refused() {
	refused "$other" "shares its IOMMU group with $function" &&
		bound "$function" && in_window "$function" "$window"
}

# FUNCTION has had its driver; the group is left to OTHER.
goes() {
	unbind "$function"
	echo 1 >"$(sysfs "$function")/remove"
	bind "$other"
}

type_of() { cat "$(group "$1")/type"; }
set_type() { echo "$2" 2>/dev/null >"$(group "$1")/type"; }

# A driver is bound: no other domain, and not another kind of invalidation.
kept() {
	was=$(type_of "$alone")
	! set_type "$alone" "$1" || { echo "the type can be set to $1" && return 1; }
	equal type "$(type_of "$alone")" "$was"
}

identity() {
	unbind "$alone" || return 1
	set_type "$alone" identity && equal type "$(type_of "$alone")" identity || return 1
	refused "$alone" "$ERR its IOMMU domain is not one for the DMA API"
}

back() {
	set_type "$alone" DMA && bind "$alone" && in_window "$alone" "$window"
}

ktap_print_header
ktap_set_plan 10
check "$function and $other share a group" same_group
check "$function is refused: $other names no region" \
	refused "$function" "$ERR shares its IOMMU group with $other"
check "$other has its driver all the same" bound "$other"
check "$function has its window when $other is gone" only_one_left
check "$other, late, is refused" comes_late
check "$other is refused, whoever tries, and $function is not disturbed" still_refused
check "$other is free when $function is gone" goes
check "$alone: no lazy invalidation, no identity while bound" eval 'kept DMA-FQ && kept identity'
check "$alone: refused with an identity domain" identity
check "$alone: has its window in a domain for DMA" back
ktap_finished
