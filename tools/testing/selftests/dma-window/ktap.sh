#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Results in KTAP format for kernels without kselftest/ktap_helpers.sh (before
# v6.9): of its functions, those that are called here. Sourced.

# shellcheck disable=SC2034 # used by those who source this
KSFT_PASS=0 KSFT_FAIL=1 KSFT_SKIP=4
ktap_plan=0 ktap_passed=0 ktap_failed=0 ktap_skipped=0

ktap_print_header() {
	echo "TAP version 13"
}

ktap_print_msg() {
	echo "# $*"
}

# ktap_set_plan COUNT
ktap_set_plan() {
	ktap_plan=$1
	echo "1..$1"
}

ktap_skip_all() {
	echo "1..0 # SKIP $*"
}

# ktap_line RESULT DESCRIPTION: the line of the test after those counted so far.
ktap_line() {
	echo "$1 $((ktap_passed + ktap_failed + ktap_skipped + 1)) $2"
}

ktap_test_pass() {
	ktap_line ok "$1"
	ktap_passed=$((ktap_passed + 1))
}

ktap_test_fail() {
	ktap_line "not ok" "$1"
	ktap_failed=$((ktap_failed + 1))
}

ktap_test_skip() {
	ktap_line ok "$1 # SKIP"
	ktap_skipped=$((ktap_skipped + 1))
}

# ktap_test_result DESCRIPTION COMMAND...
ktap_test_result() {
	ktap_name=$1
	shift
	if "$@"; then
		ktap_test_pass "$ktap_name"
	else
		ktap_test_fail "$ktap_name"
	fi
}

ktap_print_totals() {
	echo "# Totals: pass:$ktap_passed fail:$ktap_failed xfail:0 xpass:0" \
		"skip:$ktap_skipped error:0"
}

# ktap_exit_fail_msg REASON: nothing more can be tested.
ktap_exit_fail_msg() {
	echo "Bail out! $*"
	ktap_print_totals
	exit "$KSFT_FAIL"
}

ktap_finished() {
	ktap_print_totals
	[ $((ktap_passed + ktap_skipped)) -eq "$ktap_plan" ] || exit "$KSFT_FAIL"
	exit "$KSFT_PASS"
}
