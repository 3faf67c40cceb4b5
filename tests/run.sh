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

step "unit, property, simulation, snapshot and integration tests, run by seagull"
tests/own.sh

step "scripts of deployment and benchmarks"
python3 -W ignore -m unittest discover -s tests/scripts

step "the demo"
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
deploy/demo.sh "$kept/demo.xml"

# Plain pytest takes one core, and so do the adapter's tests.
plain() {
    printf '[pytest]\n' >"$kept/pytest.ini"
    (cd "$kept" && "$target/demo-venv/bin/python" -B -m pytest -q -p no:cacheprovider --junitxml="$1" --pyargs networkx) \
        >"$kept/plain.log" 2>&1 || { tail -n 30 "$kept/plain.log" >&2; return 1; }
}
plain "$kept/plain.xml" &
plain=$!

step "the pytest adapter on pytest 7.4, 8 and 9"
pythons=()
for requirements in \
    "pytest==7.4.4 pluggy==1.5.0 pytest-xdist==3.8.0" \
    "pytest==8.4.2 pytest-xdist==3.8.0" \
    "pytest==9.2.0 pytest-xdist==3.8.0 pytest-cov==7.1.0 pytest-randomly==5.1.0 pytest-rerunfailures==16.7 pytest-order==1.5.0 pytest-dependency==0.6.1"; do
    read -r -a packages <<<"$requirements"
    venv="$target/test-venvs/${packages[0]/==/-}"
    deploy/venv.sh "$venv" "${packages[@]}"
    pythons+=("$venv/bin/python")
done
SEAGULL_TEST_PYTHONS=$(IFS=:; echo "${pythons[*]}") python3 -W ignore -m unittest discover -s tests/adapter

step "every verdict of the demo is plain pytest's"
wait "$plain"
if ! tests/same_verdicts.py "$kept/demo.xml" "$kept/plain.xml"; then
    plain "$kept/again.xml"
    tests/same_verdicts.py "$kept/demo.xml" "$kept/plain.xml" "$kept/again.xml"
fi

step "done"
