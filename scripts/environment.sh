# shellcheck shell=bash
# What the scripts need on the machine: sourced by scripts/demo, scripts/test and scripts/check.
# Starts from a Debian 12 with nothing but a shell, apt and git.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
export ROOT VENV
# Debian's programs for root are not on every user's path.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# The plugin directory of a source tree is found by way of the path.
export PYTHONPATH=$ROOT
export PYTHONDONTWRITEBYTECODE=1
# pip trusts what the machine trusts, a company's proxy included.
if [ -z "${PIP_CERT:-}" ] && [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    export PIP_CERT=/etc/ssl/certs/ca-certificates.crt
fi

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$(basename "$0"): $*"
    exit 1
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

can_install() {
    is_root && command -v apt-get >/dev/null
}

# apt_install PROGRAM PACKAGE [PROGRAM PACKAGE ...]: install the packages whose program is absent.
apt_install() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    can_install || return 1
    say "installing ${missing[*]} with apt"
    apt_run install "${missing[@]}"
}

# apt_run COMMAND ARGUMENT...: let apt-get install something.
# Services that come with it are not started; the scripts run private ones.
apt_run() (
    policy=/usr/sbin/policy-rc.d
    log=$(mktemp)
    made=
    # Left behind, it would keep services from starting for ever.
    trap 'rm -f "$log" $made' EXIT
    if [ ! -e "$policy" ]; then
        made=$policy
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get "$1" -y --no-install-recommends "${@:2}"
    } >"$log" 2>&1 </dev/null || {
        tail -n 20 "$log" >&2
        exit 1
    }
)

# Print a Python that the package runs on.
find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    return 1
}

# make_venv EXTRA [PIP-ARGUMENT...]: a virtual environment with the package in development mode and
# one of its extras; made anew only when what decides about it has changed.
make_venv() {
    local extra=$1
    shift
    local python stamp wanted log
    if ! python=$(find_python); then
        apt_install no-python-3.11 python3-venv ||
            die "needs Python 3.11 or newer with venv (apt install python3-venv)"
        python=$(find_python) || die "this system's python3 is older than 3.11"
    fi
    stamp=$VENV/.image-cri-shim
    wanted=$(
        "$python" -c 'import sys; print(sys.version)'
        echo "$ROOT $extra $*"
        cd "$ROOT" && cat setup.cfg setup.py pyproject.toml protos/*.proto requirements/*.txt
    )
    wanted=$(printf '%s' "$wanted" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] &&
        [ -e "$ROOT/image_cri_shim/cri/_generated/cri_pb2.py" ] && return 0
    say "making a virtual environment in ${VENV#"$ROOT"/} (takes a minute)"
    log=$(mktemp)
    {
        [ -x "$VENV/bin/python" ] && [ -e "$stamp" ] || "$python" -m venv --clear "$VENV"
        rm -f "$stamp"
        cd "$ROOT" && "$VENV/bin/python" -m pip install --disable-pip-version-check \
            "$@" -e ".[$extra]"
    } >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        die "the virtual environment could not be made"
    }
    rm -f "$log"
    printf '%s' "$wanted" >"$stamp"
}
