# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Shared by the tests of scripts that change trees: a copy of this repository,
# and a small stand-in for a kernel tree. Sourced after kernels.sh.

# copy_repository DIR: one state of it for all cases: somebody may be editing it.
copy_repository() {
	mkdir "$1"
	(cd "$TOP" && git ls-files -co --exclude-standard -z -- kernels.conf Kconfig \
		scripts patches "${OVERLAY_DIRS[@]}" | while IFS= read -rd '' f; do
		[ ! -e "$f" ] || printf '%s\0' "$f"
	done | tar --null -T - -cf -) | tar -C "$1" -xf -
	git -C "$1" init -q
}

# stand_in_tree DIR FILE...: those files and the probed ones of the real base
# source in TREE, and what "make kernelversion" needs.
stand_in_tree() {
	local dir=$1 f
	shift

	for f in Makefile Kbuild "arch/$ARCH/Makefile" "$@" \
		$(awk -v k="$K_KEY" '$1 == "probe" && $2 == k { print $4 }' "$KERNELS_CONF"); do
		mkdir -p "$dir/$(dirname "$f")"
		if [ -e "$TREE.state/pristine/$f" ]; then
			cp "$TREE.state/pristine/$f" "$dir/$f"
		else
			cp "$TREE/$f" "$dir/$f"
		fi
	done
	mkdir -p "$dir/kernel" "$dir/scripts"
	cp "$TREE"/scripts/{Kbuild,Makefile,subarch}.* "$dir/scripts/"
}
