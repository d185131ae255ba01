#!/bin/bash
# Builds the wheel, installs it, checks the types and runs all tests, against the library in
# ZEROBOOT_LIBRARY_DIR (default: target/release) and the template "python". Arguments go to pytest.
set -euo pipefail
# shellcheck source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
tools=$(tools_environment)
zeroboot=$ZEROBOOT_LIBRARY_DIR/zeroboot
"$zeroboot" template build python >&2
ZEROBOOT_TEST_TEMPLATE=$("$zeroboot" template inspect --path python)
ZEROBOOT_TEST_WHEEL=$("$HERE/build")
export ZEROBOOT_TEST_TEMPLATE ZEROBOOT_TEST_WHEEL
unset ZEROBOOT_LIBRARY PYTHONPATH

# What is tested is what the wheel has, not what is in this directory.
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$tools/bin/python" -m pip install --quiet --no-deps --no-index --no-compile --target "$site" "$ZEROBOOT_TEST_WHEEL"
cd "$HERE"
export PYTHONPATH=$site
"$tools/bin/mypy" --cache-dir "$tools/mypy" --no-error-summary "$site/zeroboot" tests bench.py wheel_hook.py
"$tools/bin/pytest" --quiet "$@"
