#!/bin/bash
# Builds the addon and runs all tests, against the library in ZEROBOOT_LIBRARY_DIR (default:
# target/release) and the template "python". Arguments go to node --test; without any, all tests run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${ZEROBOOT_LIBRARY_DIR:=$here/../../target/release}"
ZEROBOOT_LIBRARY_DIR=$(realpath "$ZEROBOOT_LIBRARY_DIR")
export ZEROBOOT_LIBRARY_DIR
"$here/build.sh"

zeroboot=$ZEROBOOT_LIBRARY_DIR/zeroboot
"$zeroboot" template build python >&2
ZEROBOOT_TEMPLATE=$("$zeroboot" template inspect --path python)
export ZEROBOOT_TEMPLATE
cd "$here"
[ $# -gt 0 ] || set -- test/*.test.mjs
exec node --test --test-reporter=spec "$@"
