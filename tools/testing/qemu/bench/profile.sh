# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For the guests here that count instructions by function: QEMU translates and logs
# one at a time, while the guest has asked for it.

smp 1
qemu -singlestep

host_profile_on() {
	qmp human-monitor-command "command-line=logfile $RUN/exec.$1" &&
		qmp human-monitor-command "command-line=log exec,nochain"
}

host_profile_off() { qmp human-monitor-command "command-line=log none"; }

host_after() {
	echo "TAP version 13"
	echo "1..1"
	if python3 "$Q/bench/profile.py" "$BUILD/kernel/$FLAVOUR/System.map" "$RUN"/exec.* \
		>"$RUN/profile.tsv"; then
		echo "ok 1 profile"
		rm -f "$RUN"/exec.*
	else
		echo "not ok 1 profile"
	fi
}
