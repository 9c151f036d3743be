# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034 # BASE, REPO, hooked and failed are read by who sources this
#
# Shared by the tests of scripts that change trees: a copy of this repository, a
# small stand-in for a kernel tree, and what a script should say. Sourced after
# kernels.sh. A test prints one line per case and ends by "exit $failed".
#
# From here on TOP is the copy, ORIGIN: one state of the repository for all cases,
# since somebody may be editing it. BASE is the stand-in: the hooked and probed
# files of the real base source, and what "make kernelversion" needs.

unset KDIR TARBALL FORCE P
need_git_patch
TREE=$("$TOP/scripts/tree" 2>/dev/null)
kernel_identify "$TREE"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
BASE=$WORK/base
ORIGIN=$WORK/origin
failed=0

mkdir "$ORIGIN"
(cd "$TOP" && git ls-files -co --exclude-standard -z -- kernels.conf Kconfig \
	scripts patches "${OVERLAY_DIRS[@]}" | while IFS= read -rd '' f; do
	[ ! -e "$f" ] || printf '%s\0' "$f"
done | tar --null -T - -cf -) | tar -C "$ORIGIN" -xf -
git -C "$ORIGIN" init -q
TOP=$ORIGIN
KERNELS_CONF=$TOP/kernels.conf
MANIFEST=$TOP/patches/overlay
kernel_load "$K_KEY"
list=$(hook_patches)
[ -n "$list" ] || die "${K_PATCHES#"$TOP"/} has no patches"
mapfile -t patches <<<"$list"
hooked=$(hook_files "${patches[@]}")

for f in Makefile Kbuild "arch/$ARCH/Makefile" $hooked \
	$(awk -v k="$K_KEY" '$1 == "probe" && $2 == k { print $4 }' "$KERNELS_CONF"); do
	mkdir -p "$BASE/$(dirname "$f")"
	if [ -e "$TREE.state/pristine/$f" ]; then
		cp "$TREE.state/pristine/$f" "$BASE/$f"
	else
		cp "$TREE/$f" "$BASE/$f"
	fi
done
mkdir -p "$BASE/kernel" "$BASE/scripts"
cp "$TREE"/scripts/{Kbuild,Makefile,subarch}.* "$BASE/scripts/"

begin() {
	case=$1
	printf '%s\n' "$case"
}

fail() {
	printf 'FAILED: %s: %s\n' "$case" "$*"
	sed 's/^/    /' "$WORK/log"
	failed=1
}

# state DIR: names, times and contents of all files.
state() {
	(cd "$1" && find . -type f -printf '%p %T@\n' -exec sha256sum {} + | sort)
}

# ok TEXT COMMAND...: COMMAND succeeds and says TEXT in WORK/log.
ok() {
	if ! "${@:2}" || ! grep -qF -- "$1" "$WORK/log"; then
		fail "${*:2} should succeed with \"$1\""
	fi
}

# refuse DIR TEXT COMMAND...: COMMAND fails, says TEXT and leaves DIR as it was.
refuse() {
	state "$1" >"$WORK/before"
	if "${@:3}" || ! grep -qF -- "$2" "$WORK/log"; then
		fail "${*:3} should be refused with \"$2\""
	fi
	state "$1" | cmp -s "$WORK/before" - || fail "${*:3} was refused but changed $1"
}
