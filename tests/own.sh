#!/usr/bin/env bash
# Seagull runs its own tests, each in a process of its own. It is not believed: cargo says how many there are.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-$PWD/target}"
what=(--locked --workspace)

cargo test "${what[@]}" --no-run
listed() { cargo test "${what[@]}" -- --list --format terse "$@" 2>/dev/null | grep -c ': test$' || true; }
count=$(listed) ignored=$(listed --ignored)
# The servers that some of them use are no processes of theirs: they would end with the slot that began them.
mkdir -p "$target"/{docker,minio,elasticsearch/shared}
exec 6>>"$target/docker/users" 7>>"$target/minio/users" 8>>"$target/elasticsearch/shared/users"
for users in 6 7 8; do flock --shared $users; done
for server in docker minio elasticsearch; do
    "tests/$server.sh" "$target/$server" 6>&- 7>&- 8>&- || [ $? = 3 ]
done
run="own-$$-$(date +%s)"
"$target/debug/seagull" run --state "$target/own" --run-id "$run" -- "${what[@]}"
results=$("$target/debug/seagull" results "$run" --state "$target/own" --output json)
passed=$(grep -c '"verdict":"passed"' <<<"$results")
skipped=$(grep -c '"verdict":"skipped"' <<<"$results" || true)
if [ "$passed" != $((count - ignored)) ] || [ "$skipped" != "$ignored" ]; then
    echo "cargo lists $count tests, $ignored of them ignored; by seagull $passed passed and $skipped were skipped" >&2
    exit 1
fi
