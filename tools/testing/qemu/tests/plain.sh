#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# I6: a device without a region is not touched by the window code, and its
# data is what the host has.

# shellcheck source=tools/testing/qemu/tests/lib.sh
. /tests/qemu/lib.sh

disk=$(disk modern)

ktap_print_header
ktap_set_plan 4

want=$(host sha256 disk0.img)
have=$(sha256sum "$disk" | cut -d' ' -f1)
ktap_test_result "disk reads as on the host" [ "$have" = "$want" ]

dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
dd if=/tmp/data of="$disk" bs=64k conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
dd if="$disk" bs=64k count=64 2>/dev/null | cmp -s - /tmp/data
ktap_test_result "what is written is read back" [ $? -eq 0 ]

# Both sides agree on every byte, including those not written.
have=$(sha256sum "$disk" | cut -d' ' -f1)
ktap_test_result "the host has what was written" [ "$have" = "$(host sha256 disk0.img)" ]

windows=$(find /sys/kernel/debug/swiotlb -name devices 2>/dev/null | wc -l)
ktap_test_result "no window exists" [ "$windows" -eq 0 ]

ktap_finished
