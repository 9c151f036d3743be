#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Crash with writes in flight. The crash kernel and its initrd are in /crash; the host
# finds in the vmcore what was written here.
#
# usage: kdump.sh DEVICE

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh

# loaded: tmpfs has a canary, and the host knows it.
loaded() {
	canary=$(head -c 12 /dev/urandom | hexdump -v -e '1/1 "%02x"')
	yes "canary $canary" | head -c 1048576 >/tmp/canary
	host canary "$canary" &&
		kexec_crash /crash/Image /crash/initrd \
			"console=ttyAMA0 ignore_loglevel panic=-1 nr_cpus=1 reset_devices"
}

ktap_print_header
ktap_set_plan 2
check "a crash kernel is loaded" loaded
dev=$(block "$1") || ktap_exit_fail_msg "$1 has no disk"
dd if=/dev/urandom of="$dev" bs=64k seek=4096 count=1000 oflag=direct 2>/dev/null &
nap 300
echo c >/proc/sysrq-trigger
