#!/bin/bash
# Builds the addon into prebuilt/linux-x64, beside a copy of libzeroboot.so. Needs Node 20 or later with
# npm, a C compiler and binutils; npm gets the headers of Node-API and the tools of the tests.
set -euo pipefail
cd "$(dirname "$0")"

: "${ZEROBOOT_LIBRARY_DIR:=../../target/release}"
out=prebuilt/linux-x64

fail() {
    echo "bindings/node/build.sh: $*" >&2
    exit 1
}

command -v node > /dev/null || fail "no 'node' found; Node 20 or later is needed"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || fail "$(command -v node) is Node $(node -v); Node 20 or later is needed"
for tool in npm "${CC:-cc}" objdump strip; do
    command -v "$tool" > /dev/null || fail "no '$tool' found"
done
library=$ZEROBOOT_LIBRARY_DIR/libzeroboot.so
[ -e "$library" ] || fail "no $library; build the library first, or set ZEROBOOT_LIBRARY_DIR"

if [ ! -e node_modules/.installed ] || [ package-lock.json -nt node_modules/.installed ]; then
    npm ci --no-audit --no-fund --loglevel=error
    touch node_modules/.installed
fi

# The name under which the loader will look for it.
name=$(objdump -p "$library" | awk '$1 == "SONAME" { print $2 }')
name=${name:-libzeroboot.so}

# Which library $out has: a change of ZEROBOOT_LIBRARY_DIR need not give a newer one.
stamp=node_modules/.library
identity=$(stat -L --printf '%n %s %y' "$(realpath "$library")")

stale() {
    [ ! -e "$out/zeroboot.node" ] || [ ! -e "$out/$name" ] || [ "$(cat "$stamp" 2> /dev/null)" != "$identity" ] ||
        [ -n "$(find src ../../include/zeroboot.h "$library" build.sh package.json -newer "$out/zeroboot.node" -print -quit)" ]
}

if stale; then
    rm -rf "$out"
    mkdir -p "$out"
    strip --strip-unneeded -o "$out/$name" "$library"
    # shellcheck disable=SC2016 # the loader expands it
    "${CC:-cc}" -std=gnu11 -O2 -g1 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden -pthread \
        -DNAPI_VERSION=8 -I node_modules/node-api-headers/include -I ../../include \
        src/*.c -L "$out" -l:"$name" -Wl,-rpath,'$ORIGIN' -Wl,-z,now -o "$out/zeroboot.tmp"
    mv "$out/zeroboot.tmp" "$out/zeroboot.node"
    echo "$identity" > "$stamp"
fi
cp ../../LICENSE LICENSE
