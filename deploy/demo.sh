#!/usr/bin/env bash
# The main job in one go: a real public suite (networkx, from PyPI) over a scheduler and two executors, one of which is
# killed half way. Everything lives in a throwaway directory; the processes end with it. With a path as its argument the
# report of the run is kept there.
set -euo pipefail
cd "$(dirname "$0")/.."
seagull="${CARGO_TARGET_DIR:-$PWD/target}/debug/seagull"
venv="${CARGO_TARGET_DIR:-$PWD/target}/demo-venv"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { echo "$*" >&2; exit 1; }

# await PID FILE TEXT: shows the line with TEXT as soon as the process has written it.
await() {
    for _ in $(seq 300); do
        grep -s -m 1 "$3" "$2" && return
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    cat "$2" >&2
    fail "process $1 has not said: $3"
}

say "networkx and pytest in a virtual environment"
# The newest that this Python can have.
deploy/venv.sh "$venv" "networkx>=3.4,<3.7" "pytest>=8,<9.3"

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
scheduler=$!
pids+=("$scheduler")
await "$scheduler" "$work/address" http
url=$(grep -o 'http://[^ ]*' "$work/address")
for id in one two; do
    VIRTUAL_ENV="$venv" "$seagull" executor --scheduler "$url" --token-file "$work/scheduler/token" \
        --slots 1 --state "$work/executor-$id" --id "executor-$id" 2>"$work/executor-$id.log" &
    executor=$!
    pids+=("$executor")
    # It says so when the scheduler has answered, and joins at once; the plan's line counts both.
    await "$executor" "$work/executor-$id.log" "^executor executor-$id .* offers"
done

: >"$work/out"
say "networkx's own tests on both"
(cd "$work/suite" && exec "$seagull" run --scheduler "$url" --token-file "$work/scheduler/token" --output plain \
    --junit "$work/report.xml" -- --pyargs networkx) >"$work/out" 2>&1 &
run=$!
pids+=("$run")
tail -n +1 -f --pid="$run" "$work/out" &
pids+=($!)

# A line of progress: ` 52 %  3221/6166, 30 s, about 27 s left`.
until half=$(grep -m 1 -oE '^ *([5-9][0-9]|100) %  [0-9]+/[0-9]+' "$work/out"); do
    kill -0 "$run" 2>/dev/null || fail "the run ended before half of its tests were done"
    sleep 0.1
done
say "half way (${half##* } tests): killing executor-two (SIGKILL), with whatever it is running"
# Else bash would tell of its end in words of its own.
disown "$executor"
kill -KILL "$executor"

code=0
wait "$run" || code=$?
sleep 0.5
# The last line: `passed: 6166 tests in ...`; the report: one testcase for each test of the manifest.
tests=$(sed -nE 's/^[a-z]+: ([0-9]+) tests .*/\1/p' "$work/out" | tail -n 1)
cases=$(grep -c '<testcase ' "$work/report.xml" || true)
distinct=$(grep -o '<testcase [^>]*name="[^"]*" classname="[^"]*"' "$work/report.xml" | sort -u | wc -l)
say "exit code $code; $tests tests, $cases in the report, each with one verdict"
grep -q '^plan: .* on 2 slots, ' "$work/out" || fail "the plan was not for both executors"
grep -qE '^EXECUTOR LOST executor-two(:|$)' "$work/out" || fail "the loss of executor-two was not told"
[ "${tests:-0}" -ge 5000 ] || fail "only ${tests:-no} tests"
[ "$cases" = "$tests" ] && [ "$distinct" = "$tests" ] || fail "$cases cases, $distinct distinct, for $tests tests"
[ $# = 0 ] || cp "$work/report.xml" "$1"
exit "$code"
