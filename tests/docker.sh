#!/usr/bin/env bash
# A Docker engine for the tests, with a network and mounts of its own, and images made of what is installed here: no
# registry is asked. Started when it is not there, and gone by itself a minute after the last test that uses it.
#
#   tests/docker.sh DIR         sees to it that the engine is there; its socket is DIR/socket, and DIR/namespace has the
#                               number of a process in its network. Whoever uses it keeps DIR/users locked (shared).
#
# Exits with 3 and a line that says why, where there can be none.
set -euo pipefail
directory=$1
image=seagull-test

cannot() { echo "no Docker engine: $*" >&2; exit 3; }
ask() { curl -fsS --unix-socket "$directory/socket" "$@"; }

# In the namespaces: the engine, for as long as anybody uses it. One that has answered is started again when it ends, as a
# machine's own would be.
serve() {
    mount --make-rprivate /
    ip link set lo up
    echo $$ >"$directory/namespace"
    begin
    idle=0
    has_answered=
    while [ $idle -lt 60 ]; do
        sleep 1
        if ask http://engine/_ping >/dev/null 2>&1; then has_answered=1; fi
        if ! kill -0 "$engine" 2>/dev/null; then
            [ "$has_answered" ] || break
            begin
        fi
        if flock --nonblock --exclusive "$directory/users" true; then idle=$((idle + 1)); else idle=0; fi
    done
    kill "$engine" 2>/dev/null || true
    wait
    rm -f "$directory/socket" "$directory/namespace"
}
# Its containerd is killed with an engine that is killed; one that still finds its number would wait for it.
begin() {
    rm -f "$directory/exec/containerd/containerd.pid"
    dockerd --data-root "$directory/data" --exec-root "$directory/exec" --pidfile "$directory/pid" \
        --host "unix://$directory/socket" 9>&- &
    engine=$!
}

# Programs with the libraries that they need.
copy() {
    for program in "$@"; do
        real=$(readlink -f "$(type -P "$program")")
        install -D "$real" "$directory/tree$real"
        [ "$program" = "$(basename "$real")" ] || ln -sf "$real" "$directory/tree/bin/$(basename "$program")"
        libraries "$real"
    done
}
libraries() {
    { ldd "$@" 2>/dev/null || true; } | grep -o '/[^ :)]*' | grep '\.so' | sort -u | while read -r library; do
        [ -e "$directory/tree$library" ] || install -D "$(readlink -f "$library")" "$directory/tree$library"
    done
}

# A small image with a shell and Python, a second with what images declare, a volume and a health check, and a third with
# pytest.
images() {
    rm -rf "$directory/tree"
    mkdir -p "$directory/tree"/{bin,usr/bin,usr/lib,etc,tmp,run,var,root,lib64,lib}
    chmod 1777 "$directory/tree/tmp"
    PATH=/usr/bin:/bin copy sh cat echo sleep env touch ls mkdir chmod id python3
    python=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
    mkdir -p "$directory/tree$python"
    tar -C "$python" --exclude=test --exclude=__pycache__ --exclude=dist-packages --exclude='config-*' -c . |
        tar -C "$directory/tree$python" -x
    libraries "$directory/tree$python"/lib-dynload/*.so
    printf 'root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::/tmp:/bin/sh\n' >"$directory/tree/etc/passwd"
    printf 'root:x:0:\ntester:x:1000:\n' >"$directory/tree/etc/group"
    import "tag=1"
    import "tag=2" "changes=VOLUME /data" \
        "changes=HEALTHCHECK --interval=200ms --retries=50 CMD [\"/bin/sh\", \"-c\", \"cat /data/healthy\"]"
    "$(dirname "$0")/../deploy/venv.sh" "$directory/venv" pytest==9.2.0
    packages=$("$directory/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    tar -C "$packages" --exclude='pip*' --exclude='setuptools*' --exclude=__pycache__ -c . |
        tar -C "$directory/tree$python" -x
    import "tag=3"
    rm -rf "$directory/tree"
}
import() {
    query=$(/usr/bin/python3 -c 'import sys, urllib.parse as url
print(url.urlencode([tuple(pair.split("=", 1)) for pair in sys.argv[1:]]))' fromSrc=- "repo=$image" "$@")
    tar -C "$directory/tree" -c . | ask -X POST -T - "http://engine/images/create?$query" >/dev/null
}

if [ "${2:-}" = serve ]; then
    serve
    exit
fi
[ "$(uname)" = Linux ] || cannot "this is no Linux"
[ "$(id -u)" = 0 ] || cannot "only root can start one"
for program in dockerd docker curl ip iptables unshare nsenter flock /usr/bin/python3; do
    command -v "$program" >/dev/null || cannot "$program is not installed (Debian: docker.io iptables curl iproute2)"
done
mkdir -p "$directory"
touch "$directory/users"
exec 9>"$directory/start"
flock 9
if ! ask http://engine/_ping >/dev/null 2>&1; then
    setsid unshare --net --mount "$0" "$directory" serve >"$directory/log" 2>&1 </dev/null 9>&- &
    keeper=$!
    for _ in $(seq 300); do
        ask http://engine/_ping >/dev/null 2>&1 && break
        kill -0 "$keeper" 2>/dev/null || cannot "it does not start: $(tail -n 3 "$directory/log")"
        sleep 0.1
    done
    ask http://engine/_ping >/dev/null || cannot "it does not answer: $(tail -n 3 "$directory/log")"
    # What cases that failed have left.
    for kind in containers networks volumes; do ask -X POST "http://engine/$kind/prune" >/dev/null; done
    export DOCKER_HOST="unix://$directory/socket"
    docker images --quiet --filter label=seagull.template | xargs --no-run-if-empty docker rmi --force >/dev/null
fi
ask "http://engine/images/$image:3/json" >/dev/null 2>&1 || images
