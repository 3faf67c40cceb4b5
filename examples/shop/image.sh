#!/usr/bin/env bash
# image.sh: makes the image seagull-shop:1, if it is not there: by docker build; where no registry answers, of Debian's
# packages by debootstrap, which takes root. Exits with 3 and a line that says why, where neither can be.
set -euo pipefail
cd "$(dirname "$0")"
image=seagull-shop:1

cannot() { echo "no image $image: $*" >&2; exit 3; }

# What the Dockerfile installs, in a directory.
tree() {
    debootstrap --variant=minbase --include=python3-psycopg2,python3-redis,postgresql,redis-server bookworm "$1/tree"
    python3 -m venv "$1/venv"
    "$1/venv/bin/pip" install --quiet --target "$1/tree/usr/lib/python3/dist-packages" pytest==9.2.0
    rm -rf "$1"/tree/var/lib/apt/lists/* "$1"/tree/var/cache/apt/archives/*.deb "$1"/tree/usr/share/{doc,man,locale}
}

command -v docker >/dev/null || cannot "docker is not installed"
docker version >/dev/null || cannot "no Docker engine answers; start it, or say where it is with DOCKER_HOST"
if docker image inspect $image >/dev/null 2>&1 || docker build --tag $image .; then
    exit
fi
command -v debootstrap >/dev/null || cannot "docker cannot build it, and debootstrap is not installed"
[ "$(id -u)" = 0 ] || cannot "docker cannot build it, and only root can otherwise"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
tree "$made" >&2
tar -C "$made/tree" -c . | docker import - $image
