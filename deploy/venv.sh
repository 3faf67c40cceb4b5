#!/usr/bin/env bash
# venv.sh DIR PACKAGE...: a virtual environment with these packages, made anew unless DIR is one of the same Python and
# the same packages already.
set -euo pipefail
directory=$1
shift
recipe="$(python3 --version) $*"
[ "$(cat "$directory/recipe" 2>/dev/null)" != "$recipe" ] || exit 0
echo "installing $* into $directory" >&2
python3 -m venv --clear "$directory"
"$directory/bin/pip" install -q --disable-pip-version-check "$@"
# Written last: an environment without it is half made.
echo "$recipe" >"$directory/recipe"
