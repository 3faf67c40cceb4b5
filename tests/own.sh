#!/usr/bin/env bash
# Seagull runs its own tests, each in a process of its own. It is not believed: cargo says how many there are.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-$PWD/target}"
what=(--locked --workspace)

cargo test "${what[@]}" --no-run
count=$(cargo test "${what[@]}" -- --list --format terse 2>/dev/null | grep -c ': test$')
run="own-$$-$(date +%s)"
"$target/debug/seagull" run --state "$target/own" --run-id "$run" -- "${what[@]}"
passed=$("$target/debug/seagull" results "$run" --state "$target/own" --output json | grep -c '"verdict":"passed"')
if [ "$passed" != "$count" ]; then
    echo "cargo lists $count tests, and $passed of them passed by seagull" >&2
    exit 1
fi
