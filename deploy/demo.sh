#!/usr/bin/env bash
# The main job in one go: a real public suite (networkx, from PyPI) over a scheduler and two executors, one of which is
# killed half way. Everything lives in a throwaway directory; the processes end with it.
set -euo pipefail
cd "$(dirname "$0")/.."
seagull="${CARGO_TARGET_DIR:-$PWD/target}/debug/seagull"
venv="${CARGO_TARGET_DIR:-$PWD/target}/demo-venv"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { echo "$*" >&2; exit 1; }

if [ ! -x "$venv/bin/pytest" ]; then
    say "a virtual environment with networkx and pytest"
    python3 -m venv "$venv"
    # The newest that this Python can have.
    "$venv/bin/pip" install -q --disable-pip-version-check "networkx>=3.2,<3.7" "pytest>=8,<9.3"
fi

work=$(mktemp -d)
pids=()
finish() {
    kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# The artifact: a small explicit root. The tests themselves come with the environment.
mkdir "$work/suite"
printf '[artifact]\nroot = "."\n' >"$work/suite/seagull.toml"
printf '[pytest]\n' >"$work/suite/pytest.ini"

say "a scheduler, and two executors of one slot each"
"$seagull" scheduler --listen 127.0.0.1:0 --state "$work/scheduler" >"$work/address" &
pids+=($!)
for _ in $(seq 100); do
    grep -q http "$work/address" && break
    kill -0 "${pids[0]}"
    sleep 0.1
done
url=$(grep -o 'http://[^ ]*' "$work/address")
for id in one two; do
    VIRTUAL_ENV="$venv" "$seagull" executor --scheduler "$url" --token-file "$work/scheduler/token" \
        --slots 1 --state "$work/executor-$id" --id "executor-$id" &
    pids+=($!)
done

: >"$work/out"
say "networkx's own tests on both"
(cd "$work/suite" && exec "$seagull" run --scheduler "$url" --token-file "$work/scheduler/token" --output plain \
    --junit "$work/report.xml" -- --pyargs networkx) >"$work/out" 2>&1 &
run=$!
pids+=("$run")
tail -n +1 -f --pid="$run" "$work/out" &
pids+=($!)

while kill -0 "$run" 2>/dev/null && ! grep -qE '^ *([4-9][0-9]|100) %' "$work/out"; do sleep 0.2; done
say "half way: killing executor-two (SIGKILL), with whatever it is running"
kill -KILL "${pids[2]}"

code=0
wait "$run" || code=$?
sleep 0.5
# The last line: `passed: 6166 tests in ...`; the report: one testcase for each test of the manifest.
tests=$(sed -nE 's/^[a-z]+: ([0-9]+) tests .*/\1/p' "$work/out" | tail -n 1)
cases=$(grep -c '<testcase ' "$work/report.xml" || true)
distinct=$(grep -o '<testcase [^>]*name="[^"]*" classname="[^"]*"' "$work/report.xml" | sort -u | wc -l)
say "exit code $code; $tests tests, $cases in the report, each with one verdict"
grep -q 'executor-two' "$work/out" || fail "the loss of executor-two was not told"
[ "${tests:-0}" -gt 5000 ] || fail "only ${tests:-no} tests"
[ "$cases" = "$tests" ] && [ "$distinct" = "$tests" ] || fail "$cases cases, $distinct distinct, for $tests tests"
exit "$code"
