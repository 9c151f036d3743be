#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Has anything leaked since boot? Runs last in every guest with kmemleak.

f=/sys/kernel/debug/kmemleak

echo "1..1"
if [ ! -e $f ]; then
	echo "ok 1 # SKIP no kmemleak in this kernel"
	exit 4
fi
# An object is reported once it is 5 s old and two scans did not find it.
sleep 5
# A scan is refused once kmemleak has given up.
for _ in 1 2; do
	if ! echo scan >$f; then
		echo "not ok 1 kmemleak has disabled itself"
		exit 1
	fi
done
if [ -s $f ] && grep -q . $f; then
	sed 's/^/# /' $f
	echo "not ok 1 nothing leaked"
	exit 1
fi
echo "ok 1 nothing leaked"
