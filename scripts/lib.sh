# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Shared by every script here: where things are, messages, progress with
# elapsed time, and installing what is missing. Sourced, never executed.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
KERNEL_DEFAULT=$(awk '$1 == "kernel" { print $2; exit }' "$TOP/kernels.conf")

# build_of DIR: where things are that are made in DIR: for another kernel than the
# default one in DIR/KERNEL.
build_of() {
	if [ "${KERNEL:-$KERNEL_DEFAULT}" = "$KERNEL_DEFAULT" ]; then
		printf '%s\n' "$1"
	else
		printf '%s\n' "${1%/"$KERNEL"}/$KERNEL"
	fi
}

BUILD=$(realpath -m "${BUILD:-$TOP/build}")
if [ "$BUILD" != "$(build_of "$BUILD")" ]; then
	# The compiler's cache is for all kernels.
	export CCACHE_DIR=${CCACHE_DIR:-$BUILD/ccache}
	BUILD=$(build_of "$BUILD")
fi
JOBS=${JOBS:-$(nproc)}
ARCH=arm64
CROSS_COMPILE=${CROSS_COMPILE:-aarch64-linux-gnu-}
export BUILD ARCH CROSS_COMPILE
# Variables of our own make (O=, KDIR=, V=) are not meant for the kernel's.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

T0=${T0:-$(date +%s)}
export T0

# elapsed: seconds since the outermost script started, as m:ss.
elapsed() {
	local s=$(($(date +%s) - T0))

	printf '%d:%02d' $((s / 60)) $((s % 60))
}

say() {
	printf '[%s] %s\n' "$(elapsed)" "$*" >&2
}

die() {
	printf '[%s] error: %s\n' "$(elapsed)" "$*" >&2
	exit 1
}

# step LOG LABEL COMMAND...: run a long command with its output in LOG, saying
# every 15 s that it is still alive and what it printed last. On failure the
# end of LOG is shown and its status is returned.
step() {
	local log=$1 label=$2 pid start rc=0 next
	shift 2

	mkdir -p "$(dirname "$log")"
	say "$label ..."
	start=$(date +%s)
	next=$((start + 15))
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	# The children of a step must not outlive an interrupted script.
	trap 'kill "$pid" 2>/dev/null' INT TERM
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if [ "$(date +%s)" -ge "$next" ]; then
			next=$((next + 15))
			say "$label ... $(($(date +%s) - start)) s: $(tail -n 1 "$log" | cut -c1-60)"
		fi
	done
	wait "$pid" || rc=$?
	trap - INT TERM
	if [ "$rc" -ne 0 ]; then
		tail -n 30 "$log" >&2
		say "$label: FAILED (status $rc) after $(($(date +%s) - start)) s; full log: ${log#"$TOP"/}"
		return "$rc"
	fi
	say "$label: done in $(($(date +%s) - start)) s"
}

# not_installed PACKAGE...: those that are not installed.
not_installed() {
	local p

	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] ||
			printf '%s\n' "$p"
	done
}

# need PACKAGE...: install the Debian packages that are missing, as one step.
# Scripts that run in parallel take turns.
need() {
	command -v dpkg-query >/dev/null ||
		die "this is not a Debian machine; install by hand: $*"
	[ -n "$(not_installed "$@")" ] || return 0
	mkdir -p "$BUILD"
	(
		flock 9
		mapfile -t todo < <(not_installed "$@")
		[ ${#todo[@]} -gt 0 ] || exit 0
		sudo=()
		[ "$(id -u)" -eq 0 ] || sudo=(sudo)
		# Wait for another dpkg: machines upgrade themselves.
		wait=(-o DPkg::Lock::Timeout=600)
		if [ ! -e "$BUILD/.apt-updated" ]; then
			step "$BUILD/log/apt-update.log" "apt-get update" \
				"${sudo[@]}" apt-get "${wait[@]}" update 9>&- || die "apt-get update failed"
			touch "$BUILD/.apt-updated"
		fi
		step "$BUILD/log/apt-install.log" "installing ${#todo[@]} packages: ${todo[*]}" \
			"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get "${wait[@]}" install -y --no-install-recommends \
			"${todo[@]}" 9>&- ||
			die "cannot install: ${todo[*]}"
	) 9>"$BUILD/.apt.lock" || exit 1
}
