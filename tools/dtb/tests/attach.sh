#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC2317,SC2034,SC1091 # functions and variables are for the guest's file
#
# The malformed trees of the guest "attach", for the host: attach.sh QEMU_FOLDER RUN.
# Leaves in RUN overlay.dts, refused (KIND DEVICE MESSAGE), unread (PATTERN), forbidden
# (PATTERN) and deleted (NODE PROPERTY), as the guest's file has them.

set -euo pipefail
Q=$1 RUN=$2 GUEST=attach ACTION='' SOCK=$2 VARIANT=''

: >"$RUN/unread"
: >"$RUN/forbidden"
: >"$RUN/deleted"
ignore() { :; }
for name in describe flavours device disk qemu platform machine append guest_file run_test; do
	eval "$name() { ignore; }"
done
overlay() { cat >"$RUN/overlay.dts"; }
fdt_delete() { echo "$*" >>"$RUN/deleted"; }
expect() { echo "$*" >>"$RUN/unread"; }
forbid() { echo "$*" >>"$RUN/forbidden"; }

. "$Q/guests/attach"
