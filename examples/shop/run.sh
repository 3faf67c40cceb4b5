#!/usr/bin/env bash
# run.sh [OPTION...]: makes the image of the shop if need be, and runs its tests. Options are those of `seagull run`.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../../target/debug:$PATH"
command -v seagull >/dev/null || { echo "there is no seagull yet: make build, in the top folder, makes it" >&2; exit 3; }
./image.sh
exec seagull run "$@"
