#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Load the benchmark module and bind devices to it. A pool is made when its
# first device is bound: what that takes of the page allocator and of per-CPU
# memory, with nothing mapped, is its metadata.
#
# usage: [UNTRUSTED=DEVICE,...] bind.sh BUFFER-NODE PATH=DEVICE...

T=/sys/kernel/tracing
DRIVER=dma-window-bench

# taken: bytes that were allocated in the trace and not freed again.
taken() {
	awk -v page="$(/bench/bench page-size)" '
		function field(name,    i) {
			for (i = 1; i <= NF; i++)
				if (index($i, name "=") == 1)
					return substr($i, length(name) + 2)
			return ""
		}
		function bytes(    n, b) {
			b = page
			for (n = field("order"); n > 0; n--)
				b *= 2
			return b
		}
		/ mm_page_alloc: / { sum += bytes() }
		/ mm_page_free: / { sum -= bytes() }
		/ mm_page_free_batched: / { sum -= page }
		# A free does not say how much: see where it was allocated.
		/ percpu_alloc_percpu: / { size[field("ptr")] = field("bytes_alloc"); sum += field("bytes_alloc") }
		/ percpu_free_percpu: / { sum -= size[field("ptr")]; size[field("ptr")] = 0 }
		END { printf "%d\n", sum }' "$T/trace"
}

# bind DEVICE: by the one name that leads to the driver on either bus.
bind() {
	for d in /sys/bus/*/devices/"$1"; do
		[ ! -e "$d/driver" ] || echo "$1" >"$d/driver/unbind"
		echo $DRIVER >"$d/driver_override"
		bus=$(readlink -f "$d/subsystem")
		: >$T/trace
		echo 1 >$T/tracing_on
		echo "$1" >"$bus/drivers_probe"
		echo 0 >$T/tracing_on
		[ "$(basename "$(readlink -f "$d/driver")")" = $DRIVER ] && return 0
	done
	return 1
}

# goes PATH DEVICE: does the DMA of DEVICE go through PATH?
goes() {
	window='' bounced=''
	grep -qxF "$2" /sys/kernel/debug/swiotlb/*/devices 2>/dev/null && window=y
	: >$T/trace
	echo 1 >$T/events/swiotlb/swiotlb_bounced/enable
	echo 1 >$T/tracing_on
	/bench/bench touch "$1=$2"
	echo 0 >$T/tracing_on
	echo 0 >$T/events/swiotlb/swiotlb_bounced/enable
	grep -q "swiotlb_bounced: dev_name: $2 " $T/trace && bounced=y
	case $1 in
	direct) [ "$window$bounced" = "" ] ;;
	trusted) [ "$window$bounced" = "" ] && [ -e "/sys/bus/pci/devices/$2/iommu_group" ] ;;
	untrusted | mainline) [ -z "$window" ] && [ -n "$bounced" ] ;;
	window) [ -n "$window" ] && [ -n "$bounced" ] ;;
	*) true ;;
	esac
}

buffer=$1
shift
echo "TAP version 13"
echo "1..$(($# * 2 + 1))"
if insmod /bench/dma_window_bench.ko buffer="$buffer" ${UNTRUSTED:+untrusted="$UNTRUSTED"}; then
	echo "ok 1 the module loads"
else
	echo "not ok 1 the module loads"
	exit 1
fi
echo 0 >$T/tracing_on
echo $$ >$T/set_event_pid
for e in kmem/mm_page_alloc kmem/mm_page_free kmem/mm_page_free_batched \
	percpu/percpu_alloc_percpu percpu/percpu_free_percpu; do
	[ ! -e "$T/events/$e/enable" ] || echo 1 >"$T/events/$e/enable"
done
# Bind another device first: sysfs and slabs take memory at the first binding.
for pair in "$@"; do
	[ "${pair%%=*}" = direct ] || continue
	bind "${pair#*=}"
	echo "${pair#*=}" >/sys/bus/pci/drivers/$DRIVER/unbind 2>/dev/null
done
n=1 rc=0
for pair in "$@"; do
	n=$((n + 1))
	if bind "${pair#*=}"; then
		printf '# bench\tvalue\tmeta\t%s\t%s\n' "${pair%%=*}" "$(taken)"
		echo "ok $n $pair is bound"
	else
		echo "not ok $n $pair is bound"
		rc=1
	fi
done
echo 0 >$T/events/enable
echo >$T/set_event_pid
for pair in "$@"; do
	n=$((n + 1))
	if goes "${pair%%=*}" "${pair#*=}"; then
		echo "ok $n $pair is what it says"
	else
		echo "not ok $n $pair is what it says"
		rc=1
	fi
done
exit $rc
