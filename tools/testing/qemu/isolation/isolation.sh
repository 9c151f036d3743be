# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC1091,SC2034,SC2153,SC2154
#
# For the guests isolation-*: stock vhost-user backends, each behind its own
# vhost-user-guard, and what the host finds out about them. Sourced by a file
# in guests/, which says
#
#	GUARDED=y WINDOWED=y	guards on, properties in the tree (defaults)
#	MAINLINE=		y: the properties and regions of mainline's pool
#	backend NAME PLACE	blk, fs or net; PLACE as in guest-lib.sh
#	isolation_devices	after the memory: devices, tree, chardevs
#
# The window of backend NAME is the shared_ram NAME. On a stock kernel that is a BAR, the
# module takes the place of the property, and PLACE is pci:SLOT for all; fs is below a port
# there, and plugged in when the module is loaded: its driver may be built in. Facts ("KEY VALUE") of
# both sides are gathered in $RUN/facts; evidence.py draws the conclusions.

. "$Q/engine/guest-lib.sh"
E=$Q/isolation/evidence.py
GUARD=$BUILD/vhost/vhost-user-guard
BACKENDS=() GUARDED=y WINDOWED=y MAINLINE=
declare -A PLACE=()
# MiB that each backend moves in each direction.
MIB=${ISOLATION_MIB:-8}
# The debug kernel takes the same paths, only slowly.
[ "$FLAVOUR" != debug ] || MIB=2

backend() {
	BACKENDS+=("$1")
	PLACE[$1]=$2
}

isolation_devices() {
	local b base size slot property

	for b in "${BACKENDS[@]}"; do
		qemu -chardev "socket,id=$b,path=$SOCK/$b"
	done
	if [ -n "$STOCK" ]; then
		stock_devices
		return
	fi
	for b in "${BACKENDS[@]}"; do
		base=${b}_base size=${b}_size slot=${PLACE[$b]#*:}
		property=$(uses "$b")
		[ -z "$MAINLINE" ] || property="memory-region = <&$b>;"
		region "$b" "${!base}" "${!size}" \
			"${MAINLINE:+compatible = \"restricted-dma-pool\";}"
		[ -z "$WINDOWED" ] || "on_${PLACE[$b]%:*}" "$slot" "$property"
		case $b in
		blk) device "$(blk_device),addr=$slot" ;;
		fs) device "vhost-user-fs-pci,id=fs,chardev=fs,tag=host,addr=$slot" ;;
		net)
			# QEMU 7.2's virtio-net-pci with vhost-user crashes with
			# MSI-X under TCG, so this one is on virtio-mmio.
			net_backend
			qemu -global virtio-mmio.force-legacy=false
			device "virtio-net-device,$NET_OPTIONS,bus=virtio-mmio-bus.$slot"
			;;
		esac
	done
	device_tree_overlay
	guest_file "$Q/isolation/motd" etc/motd
	# The PCI devices get their driver when the test says so (late_probe),
	# which is what makes the control run able to report.
	[ -n "${SHELL_MODE:-}" ] || append pci-stub.ids=1af4:1042,1af4:105a
}

# stock_backends: those of the guests stock*; STOCK_BACKENDS of the environment are fewer.
stock_backends() {
	local b slot=2 names=${STOCK_BACKENDS:-blk fs net}

	# Of a guest that runs, it is known.
	[ -z "$ACTION" ] || [ ! -s "$RUN/stock" ] || names=$(cut -d' ' -f1 "$RUN/stock")
	for b in $names; do
		shared_ram "$b" 32
		backend "$b" "pci:$slot"
		slot=$((slot + 1))
	done
	isolation_devices
}

blk_device() { echo "vhost-user-blk-pci,id=blk,chardev=blk,num-queues=1,disable-legacy=on"; }

NET_OPTIONS=id=net0,netdev=net,mac=52:54:00:00:00:02
net_backend() { qemu -netdev "vhost-user,id=net,chardev=net,queues=1"; }

# stock_devices: the same for a kernel that has neither the hooks nor our device tree.
stock_devices() {
	local b slot bar map='' where

	[ -n "$ACTION" ] || : >"$RUN/stock"
	for b in "${BACKENDS[@]}"; do
		slot=${PLACE[$b]#*:} bar=${b}_slot where=$(pci_name "$slot")
		case $b in
		blk) device "$(blk_device),addr=$slot" ;;
		fs)
			device "pcie-root-port,id=fs-port,chassis=1,slot=1,addr=$slot"
			where=0000:01:00.0
			;;
		net)
			# As above: without MSI-X it works on PCI, too.
			net_backend
			device "virtio-net-pci,$NET_OPTIONS,disable-legacy=on,vectors=0,romfile=,addr=$slot"
			;;
		esac
		map+=,$where=bar:$(pci_name "${!bar}")/2
		[ -n "$ACTION" ] || echo "$b $where $(pci_name "${!bar}")" >>"$RUN/stock"
	done
	[ -z "$WINDOWED" ] || append "dma_window.map=${map#,}"
	guest_file "$RUN/stock" etc/stock
	guest_file "$Q/isolation/motd-stock" etc/motd
	run_test module 60 stock-module.sh "${WINDOWED:-none}"
}

# confined COMMAND...: with as few rights as this user can take away: no
# capabilities (so it cannot look into QEMU through ptrace or /proc), none to
# be gained, no network. The sockets are found by path all the same.
confined() {
	local wrap=(setpriv --no-new-privs)

	if [ "$(id -u)" -eq 0 ]; then
		wrap+=(--inh-caps=-all --bounding-set=-all)
		! unshare --net true 2>/dev/null || wrap=(unshare --net "${wrap[@]}")
	fi
	exec "${wrap[@]}" "$@"
}

fact() {
	printf '%s %s\n' "$1" "$2" >>"$RUN/facts"
}

sum() { sha256sum "$1" | cut -d' ' -f1; }

# data NAME DIRECTORY: what the host gives the guest.
data() {
	mkdir -p "$2"
	head -c "${MIB}M" /dev/urandom >"$2/from-host"
	fact "$1.to_guest.host" "$(sum "$2/from-host")"
}

start_blk() {
	need qemu-system-common e2fsprogs
	data blk "$RUN/blk-root"
	# Room for both files, twice over.
	truncate -s "$((MIB * 4 + 16))M" "$RUN/blk.img"
	/sbin/mkfs.ext4 -q -F -d "$RUN/blk-root" "$RUN/blk.img"
	rm -r "$RUN/blk-root"
	spawn blk confined qemu-storage-daemon \
		--blockdev "driver=file,node-name=disk,filename=$RUN/blk.img" \
		--export "type=vhost-user-blk,id=blk,addr.type=unix,addr.path=$1,node-name=disk,writable=on"
}

start_fs() {
	local sandbox=namespace asroot=()

	need qemu-system-common
	data fs "$RUN/fs"
	# In a container namespaces may be out of reach; chroot then.
	unshare --map-root-user --mount --pid --net --fork true 2>/dev/null || sandbox=chroot
	# Give virtiofsd a user namespace, where it is root and has /run, as it requires.
	# shellcheck disable=SC2016 # the inner shell expands it
	[ "$(id -u)" -eq 0 ] || asroot=(unshare --map-root-user --mount
		sh -c 'mount -t tmpfs run /run && exec "$@"' -)
	# Leave capabilities to virtiofsd, which gives them up once it is in its sandbox.
	spawn fs "${asroot[@]}" setpriv --no-new-privs /usr/lib/qemu/virtiofsd --socket-path="$1" \
		-o "source=$RUN/fs" -o "sandbox=$sandbox" -o cache=auto
}

start_net() {
	need dpdk-dev librte-net-vhost23 librte-mempool-ring23
	# Keep testpmd's standard input open: end of file would end the program.
	mkfifo "$RUN/net.stdin"
	mkdir "$RUN/dpdk"
	# shellcheck disable=SC2016 # the inner shell expands it
	spawn net confined bash -c 'exec <>"$1" && shift && exec "$@"' - "$RUN/net.stdin" \
		env RUNTIME_DIRECTORY="$RUN/dpdk" \
		dpdk-testpmd --no-huge -m 128 --no-pci --no-telemetry --no-shconf \
		--log-level=lib.vhost.config:debug \
		--lcores "(0-1)@(0-$(($(nproc) - 1)))" --file-prefix="isolation$$" \
		--vdev "net_vhost0,iface=$1" -- -i --total-num-mbufs=4096 \
		--forward-mode=icmpecho --auto-start
}

guard_built() {
	need gcc make libc6-dev
	# Guests run in parallel.
	flock "$BUILD/vhost.lock" make -s -C "$TOP/tools/vhost" O="$BUILD/vhost" >&2
}

host_before() {
	local b base size allow

	: >"$RUN/facts"
	# "set -e" does not hold where a function's status is asked for.
	[ -z "$GUARDED" ] || guard_built || return
	for b in "${BACKENDS[@]}"; do
		base=${b}_base size=${b}_size
		if [ -n "$GUARDED" ]; then
			"start_$b" "$SOCK/$b-backend" || return
			wait_socket "$SOCK/$b-backend" 30 || return
			# Where a BAR is, the guest decides: its file has a name.
			allow=(--allow "${!base}+$((${!size}))")
			[ -z "$STOCK" ] || allow=(--allow-file "$SHM/$b,size=$((${!size}))")
			spawn "$b-guard" confined "$GUARD" --name "$b-guard" \
				--listen "$SOCK/$b" --connect "$SOCK/$b-backend" \
				"${allow[@]}"
		else
			"start_$b" "$SOCK/$b" || return
		fi
		wait_socket "$SOCK/$b" 30 || return
	done
}

# host look PHASE: into the processes of all backends, now.
host_look() {
	local b base size args=() guard sudo=()

	# The guard is closed even to its own user.
	[ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
	for b in "${BACKENDS[@]}"; do
		base=${b}_base size=${b}_size guard=
		[ -z "$GUARDED" ] || guard=,$(spawned "$b-guard")
		args+=("$b=${!base}+${!size}=$(spawned "$b")$guard")
	done
	"${sudo[@]}" python3 "$E" look "$SOCK/qmp" "${1:-now}" "${args[@]}" | tee -a "$RUN/facts"
}

# host fact KEY=VALUE...: what the guest found.
host_fact() {
	local pair

	for pair in "$@"; do
		fact "${pair%%=*}" "${pair#*=}"
	done
}

# host known KEY: what the host found.
host_known() { awk -v k="$1" '$1 == k { v = substr($0, length(k) + 2) } END { print v; exit v == "" }' "$RUN/facts"; }

# host verify NAME: the sum of the guest's file as the host has it.
host_verify() {
	local f=$RUN/$1.from-guest

	case $1 in
	blk) /sbin/debugfs -R "dump /from-guest $f" "$RUN/blk.img" >"$RUN/debugfs.log" 2>&1 ;;
	fs) f=$RUN/fs/from-guest ;;
	esac
	fact "$1.to_host.host" "$(sum "$f")"
	host_known "$1.to_host.host"
}

# Messages of the backends when rings are in memory that they do not have.
REFUSAL='Invalid vring_addr message|failed to map .* ring'

# host refused NAME: wait until the backend has said so.
host_refused() {
	if ! wait_until 20 grep -q -E "$REFUSAL" "$RUN/$1.log"; then
		echo "$1 has refused nothing; its log ends: $(tail -n 1 "$RUN/$1.log")"
		return 1
	fi
	fact "control.$1.refusal" "$(grep -m 1 -E "$REFUSAL" "$RUN/$1.log")"
	host_known "control.$1.refusal"
}

host_after() {
	if [ -n "$WINDOWED" ]; then
		python3 "$E" claims "$RUN" "${BACKENDS[@]}"
	else
		python3 "$E" control "$RUN" "${BACKENDS[@]}"
	fi
}
