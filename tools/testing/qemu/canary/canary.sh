# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC1091,SC2034,SC2154
#
# For the guests canary and canary-mainline: one disk, and a search of what its
# stopped backend has of the guest. Sourced; canary_guest KIND is the guest.

. "$Q/isolation/isolation.sh"
MIB=16

# alnum LENGTH: random letters and digits.
alnum() {
	local text

	text=$(head -c $(($1 * 8)) /dev/urandom | base64 -w 0)
	text=${text//[^A-Za-z0-9]/}
	printf '%s' "${text:0:$1}"
}

# canary_guest window|mainline
canary_guest() {
	CANARY_KIND=$1
	ram 448
	shared_ram blk 32
	backend blk pci:2
	isolation_devices
	if [ -z "$ACTION" ]; then
		# Canary and marker differ: neither occurs in the other, nor in the disk's numbers.
		printf '~%s' "$(alnum 7)" >"$RUN/canary"
		printf 'M%s' "$(alnum 15)" >"$RUN/marker"
	fi
	guest_file "$RUN/canary" etc/canary
	guest_file "$RUN/marker" etc/marker
	run_test canary 240 isolation-canary.sh "$1"
}

# Fill the disk, not with random data: each line holds its own number.
data() {
	mkdir -p "$2"
	numbered 31 '' $((MIB << 20)) >"$2/from-host"
}

# numbered DIGITS PREFIX BYTES: lines of 32 bytes.
numbered() { seq -f "$2%0$1.0f" 0 $(($3 / 32 - 1)); }

backend_state() { cut -d' ' -f3 "/proc/$(spawned blk)/task"/*/stat | sort -u | tr -d '\n'; }

backend_stopped() { [ "$(backend_state)" = T ]; }

# host stop, host cont: the backend.
host_stop() {
	kill -STOP "$(spawned blk)" || return
	wait_until 5 backend_stopped || {
		echo "the backend does not stop: $(backend_state)"
		return 1
	}
}

host_cont() { kill -CONT "$(spawned blk)"; }

# host search ROUND: before and after it the backend must be stopped.
host_search() {
	local before

	before=$(backend_state)
	python3 "$Q/canary/canary.py" search "$SOCK/qmp" "$RUN" "$1" "$blk_base+$blk_size" \
		"$(spawned blk)" | tee -a "$RUN/facts" || return
	fact "canary.$1.state" "$before $(backend_state)"
}

# host written: what the guest wrote, and never wrote, as the disk has it.
host_written() {
	local file bytes marker right=yes

	marker=$(<"$RUN/marker")
	for file in direct=1048576 buffered=1048576 beside=524288; do
		bytes=${file#*=} file=${file%=*}
		/sbin/debugfs -R "dump /$file $RUN/$file" "$RUN/blk.img" >>"$RUN/debugfs.log" 2>&1
		numbered 15 "$marker" "$bytes" | cmp - "$RUN/$file" || right=no
	done
	fact canary.written "$right"
	fact canary.on_disk "$(grep -aoF "$(<"$RUN/canary")" "$RUN/blk.img" | wc -l)"
	[ $right = yes ]
}

host_after() { python3 "$E" canary "$RUN" "$CANARY_KIND"; }
