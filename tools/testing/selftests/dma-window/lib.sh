#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Shared by the shell tests here: a window's counters, devices by their name on
# their bus, and results that say what they saw. Sourced.

# shellcheck disable=SC2034 # used by those who source this
DIR=$(dirname "$(readlink -f "$0")")
if [ -e "$DIR/../kselftest/ktap_helpers.sh" ]; then
	# shellcheck disable=SC1091
	. "$DIR/../kselftest/ktap_helpers.sh"
else
	# shellcheck disable=SC1091
	. "$DIR/ktap.sh"
fi

WINDOWS=/sys/kernel/debug/swiotlb
FAILURES="fail_full fail_mask fail_invalid fail_nomem fail_iommu"

# skip_all REASON: nothing can be tested on this machine.
skip_all() {
	ktap_skip_all "$*"
	exit "$KSFT_SKIP"
}

# check DESCRIPTION COMMAND...: a result, with what the command printed if it
# failed.
check() {
	check_name=$1
	shift
	if check_out=$("$@" 2>&1); then
		ktap_test_pass "$check_name"
	else
		ktap_print_msg "${check_out:-"$*": failed}" | tail -n 3
		ktap_test_fail "$check_name"
	fi
}

# equal WHAT HAVE WANT
equal() {
	[ "$2" = "$3" ] || {
		echo "$1: \"$2\", should be \"$3\""
		return 1
	}
}

# at_least WHAT HAVE WANT
at_least() {
	[ "$2" -ge "$3" ] || {
		echo "$1: $2, should be at least $3"
		return 1
	}
}

# win WINDOW FILE: one figure of a window.
win() { cat "$WINDOWS/$1/$2"; }

# failures WINDOW: the sum of all its failure counters.
failures() {
	failures_n=0
	for f in $FAILURES; do
		failures_n=$((failures_n + $(win "$1" "$f")))
	done
	echo "$failures_n"
}

# errors WINDOW KIND: the same, but for a disk not what a full window refused: it tries
# again, and on a slow machine more is in flight than the window has room for.
errors() {
	errors_n=$(failures "$1")
	case $2 in
	blk | scsi) errors_n=$((errors_n - $(win "$1" fail_full))) ;;
	esac
	echo "$errors_n"
}

# sysfs DEVICE: its directory, by its name on whatever bus it is on.
sysfs() {
	for d in /sys/bus/*/devices/"$1"; do
		[ -e "$d" ] || continue
		readlink -f "$d"
		return 0
	done
	echo "no device $1" >&2
	return 1
}

# in_window DEVICE WINDOW: does the kernel list it there?
in_window() {
	grep -qxF "$1" "$WINDOWS/$2/devices" || {
		echo "$1 is not in $WINDOWS/$2/devices"
		return 1
	}
}

bound() { [ -e "$(sysfs "$1")/driver" ]; }

# Remember the driver for bind(): an unbound device does not tell which it had.
unbind() {
	drv=$(readlink -f "$(sysfs "$1")/driver") || return 1
	echo "$drv" >"/tmp/driver-$1"
	echo "$1" >"$drv/unbind" && ! bound "$1"
}

bind() {
	drv=$(cat "/tmp/driver-$1" 2>/dev/null) || drv=$(default_driver "$1")
	echo "$1" >"$drv/bind" && bound "$1"
}

# default_driver DEVICE: of a virtio transport that was never bound.
default_driver() {
	case $1 in
	*.virtio_mmio) echo /sys/bus/platform/drivers/virtio-mmio ;;
	*) echo /sys/bus/pci/drivers/virtio-pci ;;
	esac
}

# SLOW is how many times slower than usual the machine and its kernel are.
# nap MILLISECONDS: sleep, longer on a slow machine, for others to get on.
nap() { usleep $(($1 * 1000 * ${SLOW:-1})); }

# Wait until COMMAND succeeds, for at most SECONDS of the usual machine.
wait_for() {
	wait_end=$(($(date +%s) + $1 * ${SLOW:-1}))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$wait_end" ] || {
			echo "did not happen in time: $*"
			return 1
		}
		usleep 20000
	done
}

# virtio DEVICE: sysfs directory of the virtio device on a transport.
virtio() {
	virtio_dir=$(sysfs "$1") || return 1
	for v in "$virtio_dir"/virtio*; do
		[ -e "$v/features" ] || continue
		echo "$v"
		return 0
	done
	echo "$1 has no virtio device" >&2
	return 1
}

# block DEVICE: /dev node of the disk behind a device.
block() {
	block_dir=$(virtio "$1") || return 1
	# With scsi_mod.scan=manual: all of a host's targets take seconds.
	for scan in "$block_dir"/host*/scsi_host/host*/scan; do
		[ ! -e "$scan" ] || ls -d "${scan%%/scsi_host*}"/target* >/dev/null 2>&1 ||
			echo "0 0 0" >"$scan"
	done
	block_dir=$(find "$block_dir/" -path '*/block/*' -name '[sv]d[a-z]*' -type d | head -n 1)
	[ -b "/dev/${block_dir##*/}" ] || {
		echo "$1 has no disk" >&2
		return 1
	}
	echo "/dev/${block_dir##*/}"
}

# mappings: live mappings and coherent allocations, all windows together.
mappings() {
	awk 'FILENAME ~ /unmaps|frees/ { live -= $1; next } { live += $1 } END { print live }' \
		"$WINDOWS"/*/maps "$WINDOWS"/*/unmaps "$WINDOWS"/*/allocs "$WINDOWS"/*/frees
}

TRACING=/sys/kernel/tracing

# traced EVENT PATTERN: how often PATTERN is in the trace of dma_window_EVENT.
traced() { grep -c " dma_window_$1: $2" "$TRACING/trace"; }

have_host() { command -v host >/dev/null; }
