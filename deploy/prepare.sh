#!/usr/bin/env bash
# Checks for what building and testing take, and installs what is missing from Debian's or Ubuntu's packages where it
# may; else it says the line to run.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v cc >/dev/null || packages+=(build-essential)
command -v git >/dev/null || packages+=(git)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
    install="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing ${packages[*]}"
        sh -c "$install"
    else
        echo "missing: ${packages[*]}" >&2
        echo "hint: sudo sh -c '$install'" >&2
        exit 1
    fi
fi

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "python3 is $(python3 --version | cut -d' ' -f2), the tests need 3.11 or later" >&2
    echo "hint: put a newer python3 first on PATH" >&2
    exit 1
fi

wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
found=$(cargo --version 2>/dev/null | cut -d' ' -f2 || true)
if [ -z "$found" ] || [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "Rust is ${found:-missing}, $wanted is needed" >&2
    if command -v rustup >/dev/null; then
        echo "hint: rustup toolchain install $wanted" >&2
    else
        echo "hint: install rustup (a package of Debian 13 and Ubuntu 24.04, else from rustup.rs), then" >&2
        echo "      rustup toolchain install $wanted" >&2
    fi
    exit 1
fi
