#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The "host" command: answers, statuses and long answers arrive unharmed.

# shellcheck source=tools/testing/qemu/tests/lib.sh
. /tests/qemu/lib.sh

ktap_print_header
ktap_set_plan 5

ktap_test_result "an action of the harness" [ "$(host ping a b | tr ' ' -)" = a-b ]
ktap_test_result "an action of the guest's file" [ "$(host twice xy)" = "xyxy" ]
host nonsense >/tmp/out
ktap_test_result "an unknown action fails" [ $? -eq 127 ]
host xp nowhere 4 >/tmp/out
ktap_test_result "a failing action fails" [ $? -eq 1 ]
# Far more than the UART's FIFO and PID 1's buffer hold.
ktap_test_result "a long answer" [ "$(host xp 0x40200000 8192 | wc -c)" -eq 16385 ]

ktap_finished
