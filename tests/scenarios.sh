#!/usr/bin/env bash
# The scenario table, round after round: tests/scenarios.sh [--rounds N] [--seed N] [--subject networkx] [--stores] [SCENARIO]...
# A scenario is a part of a test's name in tests/scenarios/. Each round has a seed of its own, from --seed on, and a line says
# what came of it. A scenario ends with its first round that goes wrong, whose seed is said: --rounds 1 plays that again.
# With --stores, schedulers have an Elasticsearch and a MinIO, which have all of each run in the end.
set -euo pipefail
cd "$(dirname "$0")/.."
export SEAGULL_ROUNDS=10 SEAGULL_SEED=1
scenarios=()
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) SEAGULL_ROUNDS=$2; shift ;;
        --seed) SEAGULL_SEED=$2; shift ;;
        --subject) export SEAGULL_SUBJECT=$2; shift ;;
        --stores) export SEAGULL_STORES=1 ;;
        -*) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
        *) scenarios+=("$1") ;;
    esac
    shift
done
[ ${#scenarios[@]} -gt 0 ] || scenarios=(scenarios::)

cargo test --locked --workspace --test integration --no-run
echo '| scenario | seed | faults | executors lost | tests | exit code | took |'
echo '|---|---|---|---|---|---|---|'
for scenario in "${scenarios[@]}"; do
    # Lines that tests print, and what is skipped, come out as they are said.
    cargo test --quiet --locked --workspace --test integration -- "$scenario" --test-threads=1 --nocapture
done
