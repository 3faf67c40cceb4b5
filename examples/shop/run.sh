#!/usr/bin/env bash
# run.sh [OPTION...]: makes the image of the shop if need be, and runs its tests. Options are those of `seagull run`.
set -euo pipefail
cd "$(dirname "$0")"
./image.sh
PATH="$PWD/../../target/debug:$PATH" exec seagull run "$@"
