#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel has these ranges of memory and no others (I2): in a crash kernel the rest is
# what is to be dumped.
#
# usage: usable.sh FIRST-LAST...

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -gt 0 ] || skip_all "no range given: usable.sh FIRST-LAST..."

# Ranges of memory, those joined that touch each other.
ram() {
	grep -E '^[0-9a-f-]+ : (System RAM|reserved)$' /proc/iomem |
		sed 's/-/ /; s/ : .*//' >/tmp/ram
	begin='' end=''
	while read -r first last; do
		if [ -z "$begin" ] || [ $((0x$first)) -ne $((end + 1)) ]; then
			[ -z "$begin" ] || printf '%#x-%#x ' "$begin" "$end"
			begin=$((0x$first))
		fi
		end=$((0x$last))
	done </tmp/ram
	printf '%#x-%#x\n' "$begin" "$end"
}

ktap_print_header
ktap_set_plan 1
check "memory is $*" equal ranges "$(ram)" "$*"
ktap_finished
