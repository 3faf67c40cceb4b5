#!/usr/bin/env bash
# All tests, in the order in which they fail fastest. `make test` calls it; CI does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-$PWD/target}"
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings

step "unit, property, simulation, snapshot and integration tests"
cargo test --locked --workspace

step "the pytest adapter on pytest 7.4, 8 and 9"
pythons=()
for version in 7.4.4 8.4.2 9.2.0; do
    venv="$target/test-venvs/pytest-$version"
    if [ ! -x "$venv/bin/pytest" ]; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check "pytest==$version" pytest-xdist==3.8.0
    fi
    pythons+=("$venv/bin/python")
done
SEAGULL_TEST_PYTHONS=$(IFS=:; echo "${pythons[*]}") python3 -W ignore -m unittest discover -s tests/adapter

step "the demo"
deploy/demo.sh

step "done"
