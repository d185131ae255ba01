#!/usr/bin/env bash
# Builds the guest kernel: Debian's linux-source-6.12, patches/, zeroboot.c and config.
#
#   guest/kernel/build.sh            prints the path of vmlinux, builds it first if need be
#
#   KERNEL_SRC=linux-6.12.N.tar.xz   another source tarball: any 6.12.x to which the patches apply
#                                    without fuzz
#   JOBS=N                           parallel compilers, by default one for each CPU
#
# The result lies in ${XDG_CACHE_HOME:-~/.cache}/zeroboot/kernel/<key>/ as vmlinux, System.map,
# config and build.json. The key is a hash over everything that goes into the build, so what
# exists is up to date. zeroboot/guest/vmlinux beside it points at the latest result.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/zeroboot
store=$cache/kernel
package=linux-source-6.12
# Objects that this configuration compiles; only the progress display depends on it.
expected_objects=840

work=
make_pid=

say() { printf 'kernel: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

cleanup() {
    # make leads a process group of its own, so that its compilers end with it.
    if [[ -n $make_pid ]]; then kill -- "-$make_pid" 2>/dev/null || true; fi
    if [[ -n $work ]]; then rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

sha256() { sha256sum "$@" | cut -d' ' -f1; }

# --- source ---------------------------------------------------------------------------------

# Prints the tarball: KERNEL_SRC, or what an earlier call fetched, or the installed package's, or
# a fresh download. An old download is kept on purpose: a new Debian version is a new kernel.
find_source() {
    if [[ -n ${KERNEL_SRC:-} ]]; then
        [[ -f $KERNEL_SRC ]] || die "KERNEL_SRC=$KERNEL_SRC: no such file"
        realpath "$KERNEL_SRC"
        return
    fi
    local tarball=$store/source/$package.tar.xz
    if [[ ! -f $tarball && -f /usr/src/$package.tar.xz ]]; then
        tarball=/usr/src/$package.tar.xz
    fi
    [[ -f $tarball ]] || download_source "$tarball"
    echo "$tarball"
}

download_source() {
    local tarball=$1 fetched
    command -v apt-get >/dev/null || die "no apt-get here: set KERNEL_SRC to a Linux 6.12 tarball"
    say "downloading $package"
    mkdir -p "$(dirname "$tarball")"
    fetched=$(mktemp -d "$tarball.XXXXXX")
    if ! (cd "$fetched" && apt-get download -q "$package" >apt.log 2>&1); then
        tail -n 5 "$fetched/apt.log" >&2
        rm -rf "$fetched"
        die "apt-get download $package failed (apt-get update needed?)"
    fi
    dpkg-deb --fsys-tarfile "$fetched"/*.deb |
        tar -x -O -f - "./usr/src/$package.tar.xz" >"$fetched/tarball"
    mv -f "$fetched/tarball" "$tarball"
    rm -rf "$fetched"
}

# Prints the tarball's hash, remembered by path, size and time of change.
source_hash() {
    local identity note
    identity=$(stat -c '%n %s %Y' "$1")
    note=$store/source/$(printf %s "$identity" | sha256).sha256
    if [[ ! -s $note ]]; then
        mkdir -p "$store/source"
        sha256 "$1" >"$note.$$"
        mv -f "$note.$$" "$note"
    fi
    cat "$note"
}

# --- tools ----------------------------------------------------------------------------------

missing_packages() {
    local need
    for need in gcc:gcc ld:binutils make:make flex:flex bison:bison bc:bc xz:xz-utils \
        patch:patch flock:util-linux perl:perl; do
        command -v "${need%%:*}" >/dev/null || echo "${need#*:}"
    done
    [[ -e /usr/include/gelf.h ]] || echo libelf-dev
    [[ -e /usr/include/stdio.h ]] || echo libc6-dev
}

install_tools() {
    local packages
    mapfile -t packages < <(missing_packages)
    [[ ${#packages[@]} -gt 0 ]] || return 0
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        die "install these packages first: ${packages[*]}"
    fi
    say "installing ${packages[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        "${packages[@]}" >&2 || die "apt-get install failed (apt-get update needed?)"
}

# --- build ----------------------------------------------------------------------------------

build_key() {
    {
        echo "$1"
        gcc --version | head -n 1
        ld --version | head -n 1
        cd "$here"
        sha256sum build.sh config zeroboot.c patches/*.patch
    } | sha256 | cut -c1-16
}

kmake() {
    # A clean environment: CFLAGS, ARCH, KBUILD_* or MAKEFLAGS of the caller's would be inputs
    # that the key does not know; so would be an installed rustc or pahole.
    env -i PATH="$PATH" HOME="$work" LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0 \
        KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_VERSION=1 \
        KBUILD_BUILD_USER=zeroboot KBUILD_BUILD_HOST=zeroboot \
        make -C "$work/src" ARCH=x86_64 RUSTC=false PAHOLE=false "$@"
}

unpack() {
    local patch version
    say "unpacking $(basename "$1")"
    mkdir "$work/src"
    tar -x -f "$1" -C "$work/src" --strip-components=1
    version=$(kmake -s kernelversion)
    [[ $version == 6.12.* ]] || die "$1 is Linux $version, need 6.12.x"
    for patch in "$here"/patches/*.patch; do
        patch -d "$work/src" -p1 -F0 --no-backup-if-mismatch -s <"$patch" >&2 ||
            die "$(basename "$patch") does not apply to Linux $version"
    done
    cp "$here/zeroboot.c" "$work/src/drivers/char/zeroboot.c"
}

configure() {
    local line symbol bad=0
    kmake -s KCONFIG_ALLCONFIG="$here/config" allnoconfig >"$work/log" 2>&1 || show_failure
    while IFS= read -r line; do
        case $line in
        '# CONFIG_'*' is not set')
            symbol=${line#'# '}
            symbol=${symbol%% *}
            if line=$(grep "^$symbol=" "$work/src/.config"); then
                say "config: $symbol should be off, but is ${line#*=}"
                bad=1
            fi
            ;;
        CONFIG_*)
            if ! grep -qxF -- "$line" "$work/src/.config"; then
                symbol=${line%%=*}
                say "config: asked for $line, got $(grep -E "^(# )?${symbol}[= ]" \
                    "$work/src/.config" || echo 'no such symbol')"
                bad=1
            fi
            ;;
        esac
    done <"$here/config"
    [[ $bad == 0 ]] || die "the configuration did not come out as config asks"
}

show_failure() {
    say "failed; the end of its log:"
    tail -n 40 "$work/log" >&2
    exit 1
}

report_progress() {
    local seconds=$1 done_objects
    done_objects=$(grep -cE '^  (CC|AS) ' "$work/log" || true)
    if ((done_objects > expected_objects)); then done_objects=$expected_objects; fi
    printf 'kernel: compiling %d/%d files, %dm%02ds' \
        "$done_objects" "$expected_objects" $((seconds / 60)) $((seconds % 60)) >&2
}

compile() {
    local start=$SECONDS status=0 next=15 passed
    set -m
    kmake -j"${JOBS:-$(nproc)}" vmlinux >"$work/log" 2>&1 9>&- &
    make_pid=$!
    set +m
    while kill -0 "$make_pid" 2>/dev/null; do
        passed=$((SECONDS - start))
        if [[ -t 2 ]]; then
            printf '\r' >&2
            report_progress "$passed"
        elif ((passed >= next)); then
            report_progress "$passed"
            echo >&2
            next=$((passed + 15))
        fi
        sleep 0.5
    done
    wait "$make_pid" || status=$?
    make_pid=
    if [[ -t 2 ]]; then echo >&2; fi
    [[ $status == 0 ]] || show_failure
    say "built in $((SECONDS - start)) s"
}

# The directory appears with a rename, so a reader finds all of it or nothing.
store_result() {
    local key=$1 tarball=$2 hash=$3 out=$work/out name
    mkdir "$out"
    strip --strip-debug -o "$out/vmlinux" "$work/src/vmlinux"
    cp "$work/src/System.map" "$out/System.map"
    cp "$work/src/.config" "$out/config"
    {
        printf '{\n'
        printf '  "key": "%s",\n' "$key"
        printf '  "kernel": "%s",\n' "$(kmake -s kernelrelease)"
        printf '  "source": { "file": "%s", "sha256": "%s" },\n' "$(basename "$tarball")" "$hash"
        printf '  "compiler": "%s",\n' "$(gcc --version | head -n 1)"
        printf '  "linker": "%s",\n' "$(ld --version | head -n 1)"
        printf '  "inputs": {\n'
        for name in "$here"/patches/*.patch; do
            printf '    "%s": "%s",\n' "patches/$(basename "$name")" "$(sha256 "$name")"
        done
        printf '    "zeroboot.c": "%s",\n' "$(sha256 "$here/zeroboot.c")"
        printf '    "config": "%s",\n' "$(sha256 "$here/config")"
        printf '    "build.sh": "%s"\n' "$(sha256 "$here/build.sh")"
        printf '  },\n'
        printf '  "vmlinux_sha256": "%s"\n' "$(sha256 "$out/vmlinux")"
        printf '}\n'
    } >"$out/build.json"
    # The build may lie on another file system: copy first, rename then.
    rm -rf "$store/.$key"
    cp -R "$out" "$store/.$key"
    mv -T "$store/.$key" "$store/$key"
}

publish() {
    mkdir -p "$cache/guest"
    if [[ $(readlink "$cache/guest/vmlinux") != "$1" ]]; then
        ln -sfn "$1" "$cache/guest/.vmlinux.$$"
        mv -fT "$cache/guest/.vmlinux.$$" "$cache/guest/vmlinux"
    fi
    echo "$1"
}

main() {
    local tarball hash key
    [[ $# == 0 ]] || die "takes no arguments; see the comment at the top of build.sh"
    [[ $(uname -m) == x86_64 ]] || die "builds for x86_64 on x86_64 only"
    install_tools
    mkdir -p "$store"
    exec 9>"$store/lock"
    if ! flock -n 9; then
        say "waiting for another build"
        flock 9
    fi
    tarball=$(find_source)
    hash=$(source_hash "$tarball")
    key=$(build_key "$hash")
    if [[ ! -f $store/$key/vmlinux ]]; then
        work=$(mktemp -d "${TMPDIR:-/var/tmp}/zeroboot-kernel.XXXXXX")
        unpack "$tarball"
        configure
        compile
        store_result "$key" "$tarball" "$hash"
    fi
    publish "$store/$key/vmlinux"
}

main "$@"
