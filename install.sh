#!/bin/bash
# Installs what a build left in LIBRARY_DIR, so that programs find it with pkg-config:
#
#     PREFIX/bin/zeroboot
#     PREFIX/include/zeroboot.h
#     PREFIX/lib/libzeroboot.a, libzeroboot.so.VERSION and its links
#     PREFIX/lib/pkgconfig/zeroboot.pc
#
# From the environment: PREFIX (/usr/local), LIBDIR (PREFIX/lib), DESTDIR (a root to install under,
# for packages; empty), LIBRARY_DIR (target/release), COMMAND (LIBRARY_DIR/zeroboot).
#
# Cargo.toml has the metadata for the same layout, without the command, by `cargo cinstall`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PREFIX=${PREFIX:-/usr/local}
LIBDIR=${LIBDIR:-$PREFIX/lib}
LIBRARY_DIR=${LIBRARY_DIR:-target/release}
COMMAND=${COMMAND:-$LIBRARY_DIR/zeroboot}
DESTDIR=${DESTDIR:-}
VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
# The first number of the version, as version_suffix_components in Cargo.toml has it.
SONAME=libzeroboot.so.${VERSION%%.*}
# What `rustc --print native-static-libs` says of a static library.
NATIVE=(-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc)

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# link_shared OUTPUT: the shared library, of the static one. Cargo's own has no soname, which suits
# programs that are built and run in the source tree, and none other.
link_shared() {
    local roots
    mapfile -t roots < <(sed 's/^/-Wl,--require-defined=/' tests/abi/symbols.txt)
    "${CC:-cc}" -shared -o "$1" "-Wl,-soname,$SONAME" "-Wl,--version-script=$work/exports" \
        -Wl,--gc-sections,--as-needed,-z,relro,-z,now,-z,noexecstack "${roots[@]}" \
        "$LIBRARY_DIR/libzeroboot.a" "${NATIVE[@]}"
}

pkg_config() {
    cat << END
prefix=$PREFIX
libdir=$LIBDIR
includedir=\${prefix}/include

Name: zeroboot
Description: Real virtual machines for the price of a function call
Version: $VERSION
Cflags: -I\${includedir}
Libs: -L\${libdir} -lzeroboot
Libs.private: ${NATIVE[*]}
END
}

# put MODE FILE DESTINATION
put() {
    install -D -m "$1" "$2" "$DESTDIR$3"
    printf '%s\n' "$DESTDIR$3"
}

# A relative one would end up in zeroboot.pc, and mean another place there.
[[ $PREFIX == /* && $LIBDIR == /* ]] || fail "PREFIX ($PREFIX) and LIBDIR ($LIBDIR) must be absolute"
[[ -n $VERSION ]] || fail "no version in Cargo.toml"
for file in "$LIBRARY_DIR/libzeroboot.a" "$COMMAND"; do
    [[ -e $file ]] || fail "no $file: run 'make build'"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo '{ global: zb_*; local: *; };' > "$work/exports"
link_shared "$work/shared"
pkg_config > "$work/pc"

put 755 "$COMMAND" "$PREFIX/bin/zeroboot"
put 644 include/zeroboot.h "$PREFIX/include/zeroboot.h"
put 644 "$LIBRARY_DIR/libzeroboot.a" "$LIBDIR/libzeroboot.a"
put 644 "$work/shared" "$LIBDIR/libzeroboot.so.$VERSION"
for link in "$SONAME" libzeroboot.so; do
    ln -sfn "libzeroboot.so.$VERSION" "$DESTDIR$LIBDIR/$link"
    printf '%s\n' "$DESTDIR$LIBDIR/$link"
done
put 644 "$work/pc" "$LIBDIR/pkgconfig/zeroboot.pc"
