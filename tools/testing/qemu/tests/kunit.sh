#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Results that the KUnit suites built into this kernel reported at boot, as nested
# KTAP. Arguments: suites that must be among them. Needs kunit.enable=1.

dir=/sys/kernel/debug/kunit
count=0
missing=
for s in "$@"; do
	[ -r "$dir/$s/results" ] || missing="$missing $s"
done
if [ -n "$missing" ]; then
	echo "Bail out! no KUnit results of:$missing"
	exit 1
fi
# shellcheck disable=SC2046 # suites have no spaces in their names
[ $# -gt 0 ] || set -- $(ls "$dir" 2>/dev/null)
[ $# -gt 0 ] || {
	echo "1..0 # SKIP no KUnit suite in this kernel"
	exit 4
}
echo "KTAP version 1"
echo "1..$#"
for s in "$@"; do
	count=$((count + 1))
	# The summary of a suite is numbered within the boot, here within this. A
	# test that fails at every turn says so in megabytes: too much to send.
	sed -e '/^KTAP version/d' -e '/^1\.\.1$/d' \
		-e "s/^\(ok\|not ok\) [0-9]* /\1 $count /" "$dir/$s/results" |
		awk '/^ *(ok|not ok|[0-9]+\.\.|KTAP|# Subtest)/ { said = 0; print; next }
		     said++ < 12'
done
