#!/bin/bash
# Builds the read-only root image of a runtime: guest/rootfs/build.sh [--refresh] RUNTIME
#
# Prints the image's path on stdout and what it does on stderr. A second call with the same sources
# does nothing; --refresh asks Debian's mirrors whether there are newer packages. See README.md.

set -euo pipefail
export LC_ALL=C
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/zeroboot
TARGET=x86_64-unknown-linux-gnu
# Image sizes are multiples of this: persistent memory is mapped in huge pages.
IMAGE_ALIGN=$((2 << 20))

say() { printf 'rootfs: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

main() {
    local refresh=
    if [[ ${1-} == --refresh ]]; then refresh=1; shift; fi
    [[ $# -eq 1 && -f $ROOT/guest/runtimes/$1/runtime.conf ]] ||
        die "usage: build.sh [--refresh] RUNTIME, one of: $(runtimes)"
    RUNTIME=$1
    RUNTIME_DIR=$ROOT/guest/runtimes/$RUNTIME
    # What the runtime adds to the generic build: the function stage_runtime.
    # shellcheck source=/dev/null
    source "$RUNTIME_DIR/image.sh"

    mkdir -p "$CACHE/rootfs" "$CACHE/guest" "$CACHE/debs"
    exec 9>"$CACHE/rootfs/$RUNTIME.lock"
    flock 9

    # The versions that the last call found, for this list of packages.
    RESOLVED=$CACHE/rootfs/$RUNTIME-$(packages | sha256sum | cut -c1-16).packages
    if [[ -n $refresh ]] || ! packages_at_hand; then resolve; fi
    local key image
    key=$( { hash_sources; cat "$RESOLVED"; } | sha256sum | cut -c1-16)
    image=$CACHE/rootfs/$RUNTIME-$key/rootfs.erofs
    if [[ ! -f $image ]]; then build "$key"; fi
    point_to "$image"
    printf '%s\n' "$image"
}

runtimes() {
    local conf
    for conf in "$ROOT"/guest/runtimes/*/runtime.conf; do basename "$(dirname "$conf")"; done | xargs
}

packages() { sed -e '/^#/d' -e '/^$/d' "$HERE/packages" "$RUNTIME_DIR/packages" | sort -u; }

# Everything of this repository that is in the image or decides how it is made.
hash_sources() (
    cd "$ROOT"
    find Cargo.toml Cargo.lock rust-toolchain.toml guest/proto guest/driver guest/agent guest/rootfs \
        "guest/runtimes/$RUNTIME" -type f \
        ! -path '*/target/*' ! -path '*/__pycache__/*' ! -path '*/tests/*' ! -path '*/warm/*' \
        ! -name README.md -print0 | sort -z | xargs -0 sha256sum
)

# --- packages -------------------------------------------------------------------------------------

# $RESOLVED has a line "name version sha256" for each package; the file is $CACHE/debs/sha256.deb.
packages_at_hand() {
    [[ -f $RESOLVED ]] || return 1
    local sha256
    while read -r _ _ sha256; do
        [[ -f $CACHE/debs/$sha256.deb ]] || return 1
    done <"$RESOLVED"
}

resolve() {
    local names temp
    mapfile -t names < <(packages)
    temp=$(mktemp -d "$CACHE/debs/tmp.XXXXXX")
    say "downloading ${#names[@]} packages"
    # Lists that are missing, or older than the mirror, make the first attempt fail.
    if ! download "$temp" "${names[@]}" 2>/dev/null; then
        apt-get -qq -o APT::Sandbox::User=root update >&2
        download "$temp" "${names[@]}"
    fi
    local deb sha256
    for deb in "$temp"/*.deb; do
        sha256=$(sha256sum "$deb" | cut -d' ' -f1)
        printf '%s %s %s\n' "$(dpkg-deb -f "$deb" Package)" "$(dpkg-deb -f "$deb" Version)" "$sha256"
        mv "$deb" "$CACHE/debs/$sha256.deb"
    done | sort >"$temp/resolved"
    [[ $(wc -l <"$temp/resolved") -eq ${#names[@]} ]] || die "not all packages could be downloaded"
    mv "$temp/resolved" "$RESOLVED"
    rmdir "$temp"
}

download() (
    cd "$1"
    shift
    # apt checks each file against the signed lists.
    apt-get -qq -o APT::Sandbox::User=root download "${@/%/:amd64}" >&2
)

# --- build ----------------------------------------------------------------------------------------

build() {
    local key=$1 image=$CACHE/rootfs/$RUNTIME-$1
    require mkfs.erofs erofs-utils
    WORK=$(mktemp -d "$CACHE/rootfs/tmp.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    STAGE=$WORK/stage
    mkdir -p "$STAGE" "$WORK/out"

    unpack
    strip_packages
    stage_skeleton
    stage_busybox
    say "compiling the agent"
    cargo_build agent zeroboot-agent '-C target-feature=+crt-static -C relocation-model=static' abort
    install -D "$BUILT/init" "$STAGE/usr/sbin/init"
    install -D -m644 "$RUNTIME_DIR/runtime.conf" "$STAGE/usr/lib/zeroboot/$RUNTIME/runtime.conf"
    stage_runtime

    say "making the image"
    make_image "$STAGE" "$WORK/out/rootfs.erofs"
    cp "$RESOLVED" "$WORK/out/packages"
    describe "$key" >"$WORK/out/build.json"
    rm -rf "$image"
    mv "$WORK/out" "$image"
    say "built $(du -h "$image/rootfs.erofs" | cut -f1) from $(wc -l <"$RESOLVED") packages"
}

require() {
    command -v "$1" >/dev/null && return
    say "installing $2"
    apt-get -qq update >&2 && apt-get -qq install --no-install-recommends -y "$2" >&2
}

# Packages are unpacked, not installed: their scripts do nothing that an image like this needs.
unpack() {
    local directory sha256
    for directory in bin sbin lib lib64; do
        mkdir -p "$STAGE/usr/$directory"
        ln -s "usr/$directory" "$STAGE/$directory"
    done
    while read -r _ _ sha256; do
        dpkg-deb --fsys-tarfile "$CACHE/debs/$sha256.deb" |
            tar -x --keep-directory-symlink --no-same-owner -C "$STAGE"
    done <"$RESOLVED"
}

strip_packages() {
    local usr=$STAGE/usr
    rm -rf "${usr:?}"/share/{doc,man,info,lintian,locale,applications,pixmaps,binfmts,bug,menu} \
        "$usr/share/zoneinfo/right" "$usr/share/zoneinfo/posix" "$usr"/share/zoneinfo/{tzdata.zi,leap*} \
        "$usr"/lib/x86_64-linux-gnu/{gconv,audit,perl-base,engines-3,ossl-modules} \
        "${STAGE:?}/etc" "${STAGE:?}/var"
}

stage_skeleton() {
    cp -r "$HERE/skeleton/." "$STAGE"
    mkdir -p "$STAGE"/{dev,proc,sys,mnt,tmp,run,root,home/sandbox,var/tmp}
    ln -s /tmp "$STAGE/var/run" && rmdir "$STAGE/var/tmp" && ln -s /tmp "$STAGE/var/tmp"
    chmod 1777 "$STAGE/tmp"
    # What differs from guest to guest is the kernel's to tell.
    ln -s /proc/zeroboot/instance-id "$STAGE/etc/machine-id"
    ln -s /proc/zeroboot/hosts "$STAGE/etc/hosts"
    ln -s /proc/sys/kernel/hostname "$STAGE/etc/hostname"
}

stage_busybox() {
    local applet
    for applet in $("$STAGE/bin/busybox" --list); do
        case $applet in init | linuxrc | busybox) continue ;; esac
        [[ -e $STAGE/usr/bin/$applet ]] || ln -s busybox "$STAGE/usr/bin/$applet"
    done
}

# cargo_build DIRECTORY PACKAGE RUSTFLAGS PANIC: builds into $BUILT, small.
cargo_build() {
    local target=${CARGO_TARGET_DIR:-$ROOT/target}/guest-$1
    BUILT=$target/$TARGET/release
    # Paths of the machine that builds are no part of the image.
    env -C "$ROOT" CARGO_TARGET_DIR="$target" PYO3_NO_PYTHON=1 \
        RUSTFLAGS="$3 --remap-path-prefix=$ROOT=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
        CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_PANIC="$4" \
        cargo build --quiet --locked --release --target "$TARGET" -p "$2" >&2
}

# Uncompressed, compact, and with no file's tail inside its inode: all of it can then be mapped as
# it is (DAX). No times, no owners, no random id: the same input gives the same bytes.
#
# The file that the runtime names in ALIGNED begins at a multiple of a huge page, so that the guest
# can map it by huge pages. mkfs.erofs cannot be asked for that: a first try shows how much is missing,
# and a file of that size, which it places before all others, puts it right.
make_image() {
    local padding=$1/.align offset
    write_image "$1" "$2"
    if [[ -n ${ALIGNED-} ]]; then
        offset=$(offset_of "$2" "$ALIGNED")
        truncate -s $((IMAGE_ALIGN - offset % IMAGE_ALIGN)) "$padding"
        write_image "$1" "$2"
        offset=$(offset_of "$2" "$ALIGNED")
        [[ $((offset % IMAGE_ALIGN)) -eq 0 ]] || die "$ALIGNED lies at $offset: not aligned"
    fi
    local size
    size=$(stat -c %s "$2")
    truncate -s $(((size + IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN)) "$2"
}

write_image() {
    mkfs.erofs -x-1 -T0 --all-root -Eforce-inode-compact,noinline_data \
        -U 00000000-0000-0000-0000-000000000000 "$2" "$1" >/dev/null
}

# Where a file's data begins in an image: "0:  0..LENGTH | LENGTH :  START..END | LENGTH".
offset_of() {
    local offset
    offset=$(dump.erofs --path="$2" -e "$1" | sed -n 's/^ *0: .*: *\([0-9]*\)\.\..*/\1/p')
    [[ -n $offset ]] || die "dump.erofs does not say where $2 lies"
    printf '%s\n' "$offset"
}

describe() {
    local name version sha256 comma=
    printf '{\n  "runtime": "%s",\n  "key": "%s",\n' "$RUNTIME" "$1"
    printf '  "sha256": "%s",\n' "$(sha256sum "$WORK/out/rootfs.erofs" | cut -d' ' -f1)"
    printf '  "bytes": %s,\n' "$(stat -c %s "$WORK/out/rootfs.erofs")"
    printf '  "rustc": "%s",\n' "$(cd "$ROOT" && rustc --version)"
    printf '  "mkfs": "%s",\n  "packages": [' "$(dpkg-query -W -f 'erofs-utils ${Version}' erofs-utils)"
    while read -r name version sha256; do
        printf '%s\n    { "name": "%s", "version": "%s", "sha256": "%s" }' \
            "$comma" "$name" "$version" "$sha256"
        comma=,
    done <"$RESOLVED"
    printf '\n  ]\n}\n'
}

# Where programs look for the current image.
point_to() {
    local pointer=$CACHE/guest/$RUNTIME.erofs
    [[ $(readlink "$pointer" || true) == "$1" ]] && return
    ln -sfn "$1" "$pointer.new"
    mv -T "$pointer.new" "$pointer"
}

main "$@"
