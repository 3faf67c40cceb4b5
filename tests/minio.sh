#!/usr/bin/env bash
# A MinIO for the tests, an S3 server as good as any: built once from its module, listening on loopback. Started when it
# is not there, and gone by itself a minute after the last test that uses it.
#
#   tests/minio.sh DIR          sees to it that the server is there; DIR/address has its host and port, DIR/minio is its
#                               program. Whoever uses it keeps DIR/users locked (shared). Its keys are those below.
#
# Exits with 3 and a line that says why, where there can be none.
set -euo pipefail
directory=$1
module=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
export MINIO_ROOT_USER=testtest MINIO_ROOT_PASSWORD=testtest MINIO_BROWSER=off MINIO_UPDATE=off

cannot() { echo "no S3 server: $*" >&2; exit 3; }
# It says that it is ready before it takes requests.
answers() {
    [ -s "$directory/address" ] && curl -fsS --max-time 5 --aws-sigv4 aws:amz:us-east-1:s3 \
        --user "$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD" "http://$(cat "$directory/address")/" >/dev/null 2>&1
}

# The server, for as long as anybody uses it. Port 0 would not be told, so that one that is free now is taken.
serve() {
    local port idle=0
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    rm -rf "$directory/data"
    mkdir -p "$directory/data"
    "$directory/minio" server --quiet --address "127.0.0.1:$port" "$directory/data" 9>&- &
    echo "127.0.0.1:$port" >"$directory/address"
    while kill -0 $! 2>/dev/null && [ $idle -lt 30 ]; do
        sleep 2
        if flock --nonblock --exclusive "$directory/users" true; then idle=$((idle + 1)); else idle=0; fi
    done
    rm -f "$directory/address"
    kill $! 2>/dev/null || true
    wait
}

if [ "${2:-}" = serve ]; then
    serve
    exit
fi
for program in curl flock python3 setsid; do
    command -v "$program" >/dev/null || cannot "$program is not installed"
done
mkdir -p "$directory"
touch "$directory/users"
exec 9>"$directory/start"
flock 9
if [ ! -x "$directory/minio" ]; then
    command -v go >/dev/null || cannot "go is not installed, which builds it (Debian: golang)"
    GOBIN=$(cd "$directory" && pwd)/built GOFLAGS=-trimpath CGO_ENABLED=0 go install -ldflags '-s -w' "$module" \
        >"$directory/build.log" 2>&1 || cannot "it cannot be built: $(tail -n 1 "$directory/build.log")"
    mv "$directory/built/minio" "$directory/minio"
fi
if ! answers; then
    setsid "$0" "$directory" serve >"$directory/log" 2>&1 </dev/null 9>&- &
    keeper=$!
    for _ in $(seq 1200); do
        answers && exit
        kill -0 "$keeper" 2>/dev/null || cannot "it does not start: $(tail -n 3 "$directory/log")"
        sleep 0.1
    done
    # There is one, so that nothing may be skipped.
    echo "MinIO does not answer: $(tail -n 3 "$directory/log")" >&2
    exit 1
fi
