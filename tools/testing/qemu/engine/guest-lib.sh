# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For files in guests/: regions, the nodes that name them, and the devices of
# the tests, on either transport. Sourced. End with device_tree_overlay.

REGIONS='' ROOT_NODES='' PCI_NODES='' BRIDGE_PROPS='' HUB=0

# How many times 4 KiB a page is, and the smallest window there is.
PAGES=1
[ "${FLAVOUR:-}" != 64k ] || PAGES=16
# shellcheck disable=SC2034 # for guests' files
LEAST=$((PAGES > 4 ? 0x40000 * PAGES : 0x100000))

# cells NUMBER: as two cells.
cells() { printf '0x%x 0x%x' $(($1 >> 32)) $(($1 & 0xffffffff)); }

# region LABEL ADDRESS SIZE [PROPERTIES]: /reserved-memory/window@ADDRESS.
region() {
	REGIONS+="$1: window@${2#0x} { reg = <$(cells "$2") $(cells "$3")>; ${4:-} };"$'\n'
}

# region_raw LABEL NAME PROPERTIES: whatever a tree can say.
region_raw() { REGIONS+="$1: $2 { $3 };"$'\n'; }

# mmio_address N: of virtio-mmio transport N.
mmio_address() { printf '%x' $((0xa000000 + $1 * 0x200)); }

# on_pci SLOT[.FUNCTION] PROPERTIES, on_mmio N PROPERTIES: on a device's node. For
# PCI these may be child nodes; on_bridge PROPERTIES is for the host bridge's.
on_pci() {
	local slot=${1%.*} fn=0

	[[ $1 != *.* ]] || fn=${1#*.}
	PCI_NODES+="ep@$(printf '%x' "$slot"),$fn { reg = <$((slot << 11 | fn << 8)) 0 0 0 0>; $2 };"$'\n'
}
on_mmio() { ROOT_NODES+="virtio_mmio@$(mmio_address "$1") { $2 };"$'\n'; }
on_bridge() { BRIDGE_PROPS+="$1 "; }

uses() { printf 'restricted-dma-region = <&%s>;' "$1"; }

# iommu KIND SLOT: one between all PCI devices and memory; an SMMUv3 takes no slot.
iommu() {
	case $1 in
	smmuv3) machine iommu=smmuv3 ;;
	virtio) platform -device "virtio-iommu-pci,addr=$2" ;;
	*) die "$GUEST: no IOMMU is called \"$1\"" ;;
	esac
}

# device_tree_overlay: all of the above as one overlay. UNREAD is set by whoever
# names a region where no device reads it, on purpose.
UNREAD=''
device_tree_overlay() {
	[ -n "$UNREAD" ] || forbid 'dma-window: /.*: restricted-dma-region: '
	overlay <<-END
	/dts-v1/;
	/plugin/;
	&{/} {
		reserved-memory {
			#address-cells = <2>;
			#size-cells = <2>;
			ranges;
			$REGIONS
		};
		pcie@10000000 {
			$BRIDGE_PROPS
			$PCI_NODES
		};
		$ROOT_NODES
	};
	END
}

# pci_name SLOT[.FUNCTION], mmio_name N: the device in the guest.
pci_name() {
	local fn=0

	[[ $1 != *.* ]] || fn=${1#*.}
	printf '0000:00:%02x.%x' "${1%.*}" "$fn"
}
mmio_name() { printf '%s.virtio_mmio' "$(mmio_address "$1")"; }

# A pattern for virtio-rng: numbers that count up, in lines of 8 bytes.
rng_source() {
	[ -n "$ACTION" ] || seq -f '%07.0f' 1 300000 >"$RUN/rng.txt"
	qemu -object "rng-random,id=pattern,filename=$RUN/rng.txt"
}

# echo_server NAME: a chardev of that name that sends everything back. Several
# may share one server.
echo_server() {
	ECHO_SERVERS+=" $SOCK/$1"
	qemu -chardev "socket,id=$1,path=$SOCK/$1"
}
ECHO_SERVERS=''

host_before() {
	local s

	[ -n "$ECHO_SERVERS" ] || return 0
	# shellcheck disable=SC2086 # paths without spaces
	spawn echo python3 "$Q/host/echo.py" $ECHO_SERVERS
	for s in $ECHO_SERVERS; do
		wait_socket "$s"
	done
}

# refusal KIND DEVICE MESSAGE: a line of attach.sh's table; test_refusals runs it.
refusal() {
	if [ -z "$ACTION" ]; then
		[ -n "$REFUSALS" ] || : >"$RUN/refused"
		echo "$*" >>"$RUN/refused"
	fi
	REFUSALS=y
}
REFUSALS=''

# kernel_has FILE TEXT: is TEXT in FILE of the kernel's source?
kernel_has() {
	grep -qsF -- "$2" "$BUILD/kernel/$FLAVOUR/source/$1"
}

# skip_test NAME REASON: a test that this kernel cannot have.
skip_test() { run_test "$1" 5 "echo '1..0 # SKIP $2'; exit 4"; }

# ciphers_reachable: can user space use the ciphers of devices? If not, say so.
ciphers_reachable() {
	! kernel_has include/crypto/if_alg.h AF_ALG_CRYPTOAPI_MASK ||
		{ skip_test crypto "AF_ALG of this kernel leaves the ciphers of devices out" && return 1; }
}

test_refusals() {
	guest_file "$RUN/refused" /etc/refused
	run_test refused 60 attach.sh /etc/refused
}

# virtio KIND ID PLACE OPTIONS...: a device with what is behind it. PLACE is
# pci:SLOT, mmio:N or BUS:SLOT for one below a port.
virtio() {
	local kind=$1 id=$2 place=$3 opts=${4:+,$4} type slot=${3#*:} bus n

	case $place in
	pci:*) type=pci bus="addr=$(printf '0x%x' "$slot")" ;;
	mmio:*) type=device bus="bus=virtio-mmio-bus.$slot" ;;
	*) type=pci bus="bus=${place%%:*},addr=$(printf '0x%x' "$slot")" ;;
	esac
	case $kind in
	blk)
		disk "$id" 4
		device "virtio-blk-$type,id=$id,drive=$id,$bus$opts"
		;;
	scsi)
		append scsi_mod.scan=manual
		disk "$id" 4
		device "virtio-scsi-$type,id=$id,$bus$opts"
		device "scsi-hd,id=$id-disk,bus=$id.0,drive=$id"
		;;
	rng) device "virtio-rng-$type,id=$id,rng=pattern,$bus$opts" ;;
	console)
		echo_server "$id"
		device "virtio-serial-$type,id=$id,max_ports=2,$bus$opts"
		device "virtserialport,bus=$id.0,chardev=$id,nr=1"
		;;
	ports)
		device "virtio-serial-$type,id=$id,max_ports=5,$bus$opts"
		for n in 1 2 3 4; do
			echo_server "$id-$n"
			device "virtserialport,bus=$id.0,chardev=$id-$n,nr=$n"
		done
		;;
	gpu) device "virtio-gpu-$type,id=$id,xres=320,yres=240,$bus$opts" ;;
	crypto)
		qemu -object "cryptodev-backend-builtin,id=$id"
		device "virtio-crypto-$type,id=$id,cryptodev=$id,$bus$opts"
		;;
	net)
		# HUB is set by whoever wants two of them connected.
		qemu -netdev "hubport,id=$id,hubid=$HUB"
		[ $type != pci ] || opts+=,romfile=
		device "virtio-net-$type,id=$id,netdev=$id,$bus$opts"
		;;
	input) device "virtio-keyboard-$type,id=$id,$bus$opts" ;;
	9p)
		qemu -fsdev "local,id=$id,path=$RUN/share,security_model=none"
		device "virtio-9p-$type,id=$id,fsdev=$id,mount_tag=$id,$bus$opts"
		;;
	esac
}

# in_full_window KIND ID SIZE OPTIONS: a device for full.sh, in a window with a disk that keeps
# it full. A "net" has a peer in the window. Windows and slots follow one another.
in_full_window() {
	local window device slot=$FULL_SLOT peer=''

	window=$(printf '%x' $FULL_AT)
	region "$2" "0x$window" "$3"
	FULL_AT=$((FULL_AT + $3))
	device=$(pci_name $slot)
	virtio "$1" "$2" pci:$slot "$4"
	on_pci $slot "$(uses "$2")"
	slot=$((slot + 1))
	if [ "$1" = net ]; then
		virtio net "$2-peer" pci:$slot "$4"
		on_pci $slot "$(uses "$2")"
		peer=$(pci_name $slot)
		slot=$((slot + 1)) HUB=$((HUB + 1))
	fi
	virtio blk "$2-load" pci:$slot "$4"
	on_pci $slot "$(uses "$2")"
	run_test "$2" 60 full.sh "$1" "$device" "window@$window" "$2" \
		"$(pci_name $slot)" ${peer:+"$peer"}
	FULL_SLOT=$((slot + 1))
}
FULL_SLOT=1 FULL_AT=$((0x50000000))

# shared_files MIB NAME...: what a "9p" or virtiofs has: a file of random bytes, and one
# for each NAME to copy to. Linked from where "host sha256" finds them.
shared_files() {
	[ -z "$ACTION" ] || return 0
	mkdir -p "$RUN/share"
	head -c "$1M" /dev/urandom >"$RUN/share/big"
	shift
	ln -f "$RUN/share/big" "$RUN/big"
	for _ in "$@"; do
		: >"$RUN/share/copy-$1"
		ln -f "$RUN/share/copy-$1" "$RUN/copy-$1"
		shift
	done
}

# For the tests: host vq_inside ID BASE SIZE, host vq_flip ID BASE SIZE.
host_vq_inside() { python3 "$Q/host/rings.py" "$SOCK/qmp" inside "$@"; }
host_vq_flip() { python3 "$Q/host/rings.py" "$SOCK/qmp" flip "$@"; }

# host screen ID: the sum of what the display ID shows, as a PPM file.
host_screen() {
	local file=$RUN/$1.ppm

	qmp screendump "filename=$file" "device=$1" >/dev/null
	sha256sum <"$file" | cut -d' ' -f1
}

# every_on_mmio FEATURES PACKED: all kinds of device on virtio-mmio; FEATURES
# they negotiate, PACKED options of those that are to have packed rings.
every_on_mmio() {
	local n=0 kind at=$((0x50000000)) size

	rng_source
	HUB=1
	for kind in blk blk scsi net net rng console; do
		# Transports 0 and 31 are the ends of what the board has.
		[ $kind != console ] || n=31
		# A console fills queues of 1024 with buffers of a page.
		size=0x400000
		[ $kind != console ] || size=0x1000000
		region "win$n" "$(printf '0x%x' $at)" $size
		if ((n % 2)) && [ -n "$2" ]; then
			virtio $kind "$kind$n" mmio:$n "$2"
			set -- "$1" "$2" "$1,packed"
		else
			virtio $kind "$kind$n" mmio:$n
			set -- "$1" "$2" "$1,nopacked"
		fi
		on_mmio $n "$(uses "win$n")"
		run_test "$kind$n" 30 virtio.sh $kind "$(mmio_name $n)" \
			"window@$(printf '%x' $at)" "$kind$n" "$3" \
			"$([ $kind != net ] || mmio_name $((n == 3 ? 4 : 3)))"
		at=$((at + 0x400000)) n=$((n + 1))
	done
	device_tree_overlay
}

# iommu_guest: every kind of device of QEMU's own behind the IOMMU that the
# guest's file sets up, one without a region, one that is not behind it, and one
# that would not go through it.
iommu_guest() {
	local opts=disable-legacy=on,iommu_platform=on odd

	# A page more than a round address.
	odd=$(printf '%x' $((0x52000000 + 0x1000 * PAGES)))
	rng_source
	region rng 0x50000000 0x400000
	region blk 0x50400000 0x400000
	region scsi "0x$odd" 0x400000
	region net0 0x50c00000 0x400000
	region net1 0x51000000 0x400000
	region mmio 0x51400000 0x400000
	region off 0x51800000 0x400000
	virtio rng rng0 pci:2 $opts
	on_pci 2 "$(uses rng)"
	virtio blk blk0 pci:3 $opts
	on_pci 3 "$(uses blk)"
	virtio scsi scsi0 pci:4 $opts
	on_pci 4 "$(uses scsi)"
	HUB=1
	virtio net net0 pci:5 $opts
	on_pci 5 "$(uses net0)"
	virtio net net1 pci:6 $opts,packed=on
	on_pci 6 "$(uses net1)"
	virtio blk blk1 pci:7 $opts
	virtio blk blk2 mmio:0
	on_mmio 0 "$(uses mmio)"
	virtio rng rng1 pci:8 disable-legacy=on
	on_pci 8 "$(uses off)"
	device_tree_overlay
	refusal virtio "$(pci_name 8)" "does not offer VIRTIO_F_ACCESS_PLATFORM, so it does" \
		"not go through the IOMMU that its window is behind"
	test_refusals
	run_test blk0 60 iommu.sh blk "$(pci_name 3)" window@50400000 blk0 modern,platform
	run_test scsi0 60 iommu.sh scsi "$(pci_name 4)" "window@$odd" scsi0 modern,platform
	run_test net0 60 iommu.sh net "$(pci_name 5)" window@50c00000 net0 modern,platform \
		"$(pci_name 6)"
	run_test net1 60 iommu.sh net "$(pci_name 6)" window@51000000 net1 \
		modern,packed,platform "$(pci_name 5)"
	run_test rng0 60 iommu.sh rng "$(pci_name 2)" window@50000000 rng0 modern,platform
	run_test devices 10 devices.sh window@50000000="$(pci_name 2)" \
		window@50400000="$(pci_name 3)" "window@$odd=$(pci_name 4)" \
		window@50c00000="$(pci_name 5)" window@51000000="$(pci_name 6)" \
		window@51400000="$(mmio_name 0)" window@51800000="$(pci_name 8)"
	run_test blk1 30 virtio.sh blk "$(pci_name 7)" none blk1 modern,platform
	run_test blk2 30 virtio.sh blk "$(mmio_name 0)" window@51400000 blk2 nomodern
	run_test late 30 iommu-late.sh "$(pci_name 2)" window@50000000 "$(pci_name 7)"
}

# The programs that device.sh runs, one per invariant.
# shellcheck disable=SC2034 # for guests' files
API_TESTS=$(printf 'api_%s ' confinement no_stale_data nothing_trusted nothing_lost good_citizen observed)
# shellcheck disable=SC2034
IOMMU_TESTS=${API_TESTS//api_/iommu_}

# edu_devices [SLOT]: three of QEMU's edu devices for device.sh, from SLOT on or
# 1, and EDU_TEST, which calls device.sh: the first and third in one window, the
# second with a region that is disabled. The first also names a shared-dma-pool,
# which the device must not get. PLAIN is a fourth, without a region.
edu_devices() {
	local one=${1:-1} two three four

	two=$((one + 1)) three=$((one + 2)) four=$((one + 3))
	region win 0x50000000 0x400000
	region pool 0x50800000 0x400000 'compatible = "shared-dma-pool"; no-map;'
	region off 0x50c00000 0x400000 'status = "disabled";'
	# Widen edu's mask: by default 28 bits, below all memory of this board.
	device "edu,addr=$one,dma_mask=0xffffffff"
	on_pci "$one" "$(uses win) memory-region = <&pool>;"
	device "edu,addr=$two,dma_mask=0xffffffff"
	on_pci "$two" "$(uses off)"
	device "edu,addr=$three,dma_mask=0xffffffff"
	on_pci "$three" "$(uses win)"
	device "edu,addr=$four,dma_mask=0xffffffff"
	device_tree_overlay
	# shellcheck disable=SC2034 # for who calls this
	EDU_TEST="PLAIN=$(pci_name "$four") device.sh window@50000000 $(pci_name "$one") $(pci_name "$two") $(pci_name "$three")"
}

# edu_behind: for device.sh behind the IOMMU that the guest's file sets up; with
# memory for buffers of 12 MiB in one piece. FUZZ_SEED of the environment takes the
# place of iommu_fuzz's own seeds.
edu_behind() {
	ram 768
	edu_devices 4
	EDU_TEST="${FUZZ_SEED:+FUZZ_SEED=$FUZZ_SEED }$EDU_TEST"
}
