#!/usr/bin/env bash
# The registry of Docker's distribution, from the package of the distribution's own archive, unpacked and not installed: an
# installed one would run as a service.
#
#   tests/registry.sh DIR       sees to it that DIR/usr/bin/docker-registry is there
#
# Exits with 3 and a line that says why, where there can be none.
set -euo pipefail
directory=$1
cannot() { echo "no registry: $*" >&2; exit 3; }

mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
[ ! -x "$directory/usr/bin/docker-registry" ] || exit 0
for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || cannot "$program is not there"
done
rm -rf "$directory/package"
mkdir "$directory/package"
cd "$directory/package"
# As somebody else apt would not write here.
apt-get download -o APT::Sandbox::User=root docker-registry >log 2>&1 || cannot "$(tail -n 1 log)"
dpkg-deb -x docker-registry_*.deb "$directory" || cannot "its package cannot be unpacked"
rm -rf "$directory/package"
