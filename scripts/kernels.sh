# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034 # K_* are read by the scripts that source this
#
# Shared by tree, series, install-into and lint: kernels.conf, the hooks in
# patches/ and the overlay manifest. Sourced after lib.sh.
#
# Nothing here writes into a kernel tree. Hooks are always applied to copies
# first (hooks_render), so that a failure cannot leave a tree half-patched.

KERNELS_CONF=$TOP/kernels.conf
MANIFEST=$TOP/patches/overlay

# Folders whose files belong to the kernel tree. tools/ is listed by folder
# because tools/vhost and tools/testing/qemu stay on the host.
OVERLAY_DIRS=(kernel include Documentation tools/testing/selftests/dma-window)

# need_git_patch: install git and patch, which all users of this file run.
need_git_patch() {
	need git patch make
}

kernel_keys() {
	awk '$1 == "kernel" { print $2 }' "$KERNELS_CONF"
}

kernels_supported() {
	awk '$1 == "kernel" { printf "%s%s (%s)", sep, $2, $4; sep = ", " }' "$KERNELS_CONF"
}

# kernel_load [KEY]: set K_* from the table; the default is its first kernel.
kernel_load() {
	local key=${1:-$(kernel_keys | head -n 1)} word k

	K_KEY=
	while read -r word k K_PACKAGE K_VERSIONS K_PATCHES K_BUDGET K_SUITE; do
		[ "$word $k" = "kernel $key" ] || continue
		K_KEY=$k
		break
	done <"$KERNELS_CONF"
	[ -n "$K_KEY" ] ||
		die "KERNEL=$key is not supported; kernels.conf has: $(kernels_supported)"
	[ -n "$K_BUDGET" ] || die "kernels.conf: incomplete line for kernel $key"
	K_PATCHES=$TOP/$K_PATCHES
}

# kernel_version DIR: what the tree in DIR calls itself.
kernel_version() {
	if ! [ -f "$1/Makefile" ] || ! [ -f "$1/Kbuild" ] || ! [ -d "$1/kernel" ]; then
		die "$1 is not a Linux source tree"
	fi
	make -s --no-print-directory -C "$1" kernelversion 2>/dev/null ||
		die "$1: \"make kernelversion\" fails"
}

# kernel_probe KEY DIR: does DIR have the interfaces of KEY? Says what differs.
kernel_probe() {
	local word k want file text rc=0

	while read -r word k want file text; do
		[ "$word $k" = "probe $1" ] || continue
		case $want in
		has) grep -qsF -- "$text" "$2/$file" && continue ;;
		lacks) grep -qsF -- "$text" "$2/$file" || continue ;;
		*) die "kernels.conf: probe must say has or lacks, not \"$want\"" ;;
		esac
		say "$2/$file: expected that it $want \"$text\", as Linux $1"
		rc=1
	done <"$KERNELS_CONF"
	return $rc
}

# kernel_identify DIR: load the table's entry for the tree in DIR, or die.
kernel_identify() {
	local version key

	version=$(kernel_version "$1") || exit 1
	for key in $(kernel_keys); do
		kernel_load "$key"
		# shellcheck disable=SC2053 # a pattern is meant
		[[ $version == $K_VERSIONS ]] || continue
		kernel_probe "$key" "$1" ||
			die "$1 is Linux $version but lacks interfaces of $key (see above); refused"
		K_VERSION=$version
		return
	done
	die "$1 is Linux $version, which is not supported; kernels.conf has: $(kernels_supported)"
}

# hook_patches: the patches of the loaded kernel in series order.
hook_patches() {
	local p n last=

	for p in "$K_PATCHES"/*.patch; do
		[ -e "$p" ] || continue
		n=$(basename "$p" .patch)
		[[ $n =~ ^[0-9]{4}-[a-z0-9][a-z0-9._-]*$ ]] ||
			die "${p#"$TOP"/}: a patch is named NNNN-name.patch"
		[ "${n%%-*}" != "$last" ] || die "${p#"$TOP"/}: two patches are numbered $last"
		last=${n%%-*}
		printf '%s\n' "$p"
	done
}

# hook_diff PATCH: only the diff, or nothing for a patch that adds files only.
hook_diff() {
	awk '/^diff --git / || /^--- [^ ]/ { on = 1 } on' "$1"
}

# hook_files PATCH...: the files of the tree that the hooks change.
hook_files() {
	local p

	for p in "$@"; do
		if hook_diff "$p" | grep -qE '^(--- /dev/null|\+\+\+ /dev/null|new file|deleted file|rename |copy )'; then
			die "${p#"$TOP"/}: hooks only change existing files; new files belong to the overlay"
		fi
		hook_diff "$p" | sed -n 's,^+++ b/\([^	]*\).*,\1,p'
	done | sort -u
}

# hook_apply DIR PATCH [OPTION...]: one patch, zero fuzz, on the copies in DIR.
hook_apply() {
	local dir=$1 p=$2 diff
	shift 2

	diff=$(hook_diff "$p"; echo x)
	diff=${diff%x}
	[ -n "$diff" ] || return 0
	printf '%s' "$diff" |
		patch -d "$dir" -p1 -F0 -f --no-backup-if-mismatch -r - "$@" 2>&1
}

# hooks_render OUT BASE...: OUT gets every hooked file with all hooks applied;
# each file is taken from the first BASE directory that has it.
hooks_render() {
	local out=$1 f b p log list patches=()
	shift

	# Use assignments, not process substitutions: "die" in those would not end the script.
	list=$(hook_patches)
	[ -n "$list" ] || return 0
	mapfile -t patches <<<"$list"
	list=$(hook_files "${patches[@]}")
	for f in $list; do
		for b in "$@"; do
			[ -f "$b/$f" ] || continue
			mkdir -p "$out/$(dirname "$f")"
			cp -p "$b/$f" "$out/$f"
			continue 2
		done
		die "hooks in ${K_PATCHES#"$TOP"/} change $f, which this kernel does not have"
	done
	for p in "${patches[@]}"; do
		log=$(hook_apply "$out" "$p" -N) && continue
		printf '%s\n' "$log" | sed 's/^/    /' >&2
		die "${p#"$TOP"/} does not apply with zero fuzz; nothing was changed"
	done
}

# overlay_rules: "PREFIX PATCH" of every rule in the manifest, checked.
overlay_rules() {
	local prefix patch rest n=0

	[ -e "$MANIFEST" ] || return 0
	while read -r prefix patch rest; do
		n=$((n + 1))
		case $prefix in '' | '#'*) continue ;; esac
		if [ -z "$patch" ] || [ -n "$rest" ]; then
			die "patches/overlay:$n: expected \"<prefix> <NNNN-name>\""
		fi
		[ -e "$K_PATCHES/$patch.patch" ] ||
			die "patches/overlay:$n: ${K_PATCHES#"$TOP"/}/$patch.patch does not exist"
		printf '%s %s\n' "$prefix" "$patch"
	done <"$MANIFEST"
}

# overlay_manifest: "PATH PATCH" per overlay file that a rule of the manifest
# assigns to a patch, checked.
overlay_manifest() {
	local rules files f i hit patch prefixes=() patches=() used=()

	rules=$(overlay_rules) || exit 1
	files=$(overlay_worktree) || exit 1
	while read -r f patch; do
		[ -n "$f" ] || continue
		prefixes+=("$f")
		patches+=("$patch")
	done <<<"$rules"
	while read -r f; do
		hit=
		for i in "${!prefixes[@]}"; do
			[[ $f == "${prefixes[i]}"* ]] || continue
			[ -z "$hit" ] ||
				die "patches/overlay: $f matches two rules," \
					"${prefixes[hit]} and ${prefixes[i]}"
			hit=$i used[i]=y
		done
		[ -z "$hit" ] || printf '%s %s\n' "$f" "${patches[hit]}"
	done <<<"$files"
	for i in "${!prefixes[@]}"; do
		[ -n "${used[i]:-}" ] ||
			die "patches/overlay: no file begins with ${prefixes[i]} (dangling rule)"
	done
}

# overlay_worktree: every overlay file that is here, by its path in the kernel
# tree and in this repository alike, whether or not a rule matches it; what git
# ignores (things built in place) is not one.
overlay_worktree() {
	local f

	if git -C "$TOP" rev-parse --git-dir >/dev/null 2>&1; then
		git -C "$TOP" ls-files -co --exclude-standard -- "${OVERLAY_DIRS[@]}"
	else
		(cd "$TOP" && find "${OVERLAY_DIRS[@]}" -type f)
	fi | sort -u | while read -r f; do
		[ -f "$TOP/$f" ] || continue
		case $f in *[[:space:]]*) die "overlay file with white space in its name: $f" ;; esac
		printf '%s\n' "$f"
	done
}
