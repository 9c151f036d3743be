# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# For the test programs here.

# shellcheck source=/dev/null
. /tests/kselftest/ktap_helpers.sh

# disk SERIAL: the block device whose -device has serial=SERIAL; the order of
# their names is that of probing, not of the command line.
disk() {
	for sys in /sys/block/*; do
		if [ "$(cat "$sys/serial" 2>/dev/null)" = "$1" ]; then
			echo "/dev/${sys##*/}"
			return 0
		fi
	done
	return 1
}
