# shellcheck shell=bash
# What build and test.sh share: a cached environment with the tools that they need. To be sourced.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHON=${PYTHON:-python3}
TOOLS=(hatchling mypy pytest)
export ZEROBOOT_LIBRARY_DIR=${ZEROBOOT_LIBRARY_DIR:-$HERE/../../target/release}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1

# One environment for each Python and each list of tools.
tools_environment() {
    local key environment
    key=$({ "$PYTHON" -c 'import sys; print(sys.version, sys.prefix)'; echo "${TOOLS[@]}"; } | sha256sum | cut -c 1-16)
    environment=${XDG_CACHE_HOME:-$HOME/.cache}/zeroboot/bindings-python/$key
    mkdir -p "${environment%/*}"
    (
        flock 9
        [[ -e $environment/complete ]] && exit
        rm -rf "$environment"
        "$PYTHON" -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet "${TOOLS[@]}"
        touch "$environment/complete"
    ) 9> "$environment.lock" >&2
    echo "$environment"
}
