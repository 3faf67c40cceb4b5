#!/usr/bin/env bash
# Checks for what building and testing take, and installs what is missing from Debian's or Ubuntu's packages where it
# may; else it says the line to run.
set -euo pipefail

packages=()
command -v cc >/dev/null || packages+=(build-essential)
command -v git >/dev/null || packages+=(git)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
    install="apt-get install -y --no-install-recommends ${packages[*]}"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing ${packages[*]}"
        apt-get update -q && $install
    else
        echo "missing: ${packages[*]}" >&2
        echo "hint: sudo $install" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null; then
    echo "missing: Rust" >&2
    echo "hint: sudo apt-get install -y rustup && rustup toolchain install $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)" >&2
    exit 1
fi
