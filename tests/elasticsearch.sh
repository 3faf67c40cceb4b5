#!/usr/bin/env bash
# An Elasticsearch for the tests, on loopback: got once by Maven and kept, started when it is not there, and gone by itself
# a minute after the last test that uses it.
#
#   tests/elasticsearch.sh DIR [NAME]   sees to it that the instance NAME (shared, if none is named) is up: its address is
#                                       in DIR/NAME/url, its process in DIR/NAME/pid. Whoever uses it keeps
#                                       DIR/NAME/users locked (shared). What it holds outlives its process.
#
# Exits with 3 and a line that says why, where there can be none.
set -euo pipefail
version=8.19.3
mkdir -p "$1"
directory=$(readlink -f "$1")
name=${2:-shared}
instance=$directory/$name

cannot() { echo "no Elasticsearch: $*" >&2; exit 3; }
answers() { curl -fsS --max-time 5 "$(cat "$instance/url")/_cluster/health?wait_for_status=yellow&timeout=1s" >/dev/null 2>&1; }

get() {
    rm -rf "$directory/$version" "$directory/new"
    artifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:$version:zip
    mvn -q -B dependency:get -Dtransitive=false "-Dartifact=$artifact" >"$directory/get.log" 2>&1 </dev/null &&
        mvn -q -B dependency:copy "-Dartifact=$artifact" "-DoutputDirectory=$directory/new" >>"$directory/get.log" 2>&1 </dev/null ||
        cannot "Maven does not get it: $(grep -m 1 ERROR "$directory/get.log")"
    python3 -m zipfile -e "$directory/new/elasticsearch-$version.zip" "$directory/new"
    chmod -R a+rX "$directory/new/elasticsearch-$version"
    chmod a+x "$directory/new/elasticsearch-$version"/bin/*
    mv "$directory/new/elasticsearch-$version" "$directory/$version"
    rm -rf "$directory/new"
}

free_ports() {
    python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))'
}

# What an instance has lives with it: its ports too, so that it comes back where it was.
configure() {
    mkdir -p "$instance"/{config,data,logs,home}
    read -r http transport < <(free_ports)
    cp "$directory/$version"/config/{jvm.options,log4j2.properties} "$instance/config"
    printf '%s\n' 'discovery.type: single-node' 'network.host: 127.0.0.1' "http.port: $http" "transport.port: $transport" \
        'path.data: ../'"$name"'/data' 'path.logs: ../'"$name"'/logs' 'xpack.security.enabled: false' \
        'cluster.routing.allocation.disk.threshold_enabled: false' 'action.auto_create_index: true' \
        'cluster.max_shards_per_node: 5000' >"$instance/config/elasticsearch.yml"
    echo "http://127.0.0.1:$http" >"$instance/url"
}

# Elasticsearch does not run as root, and whom it runs as need not be able to see this directory where it is.
start() {
    as=() seen=$directory
    if [ "$(id -u)" = 0 ]; then
        chown -R nobody "$instance"
        mount --make-rprivate /
        mount --bind "$directory" /mnt
        seen=/mnt as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    fi
    cd "$seen/$version"
    ES_PATH_CONF=$seen/$name/config HOME=$seen/$name/home ES_JAVA_OPTS="-Xms512m -Xmx512m" \
        ES_JAVA_HOME=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")") \
        exec "${as[@]}" bin/elasticsearch -p "$seen/$name/pid" 9>&-
}

# For as long as anybody uses it.
serve() {
    start &
    idle=0
    while kill -0 $! 2>/dev/null && [ $idle -lt 30 ]; do
        sleep 2
        if flock --nonblock --exclusive "$instance/users" true; then idle=$((idle + 1)); else idle=0; fi
    done
    kill $! 2>/dev/null || true
    wait
}

if [ "${3:-}" = serve ]; then
    serve
    exit
fi
[ "$(uname)" = Linux ] || cannot "this is no Linux"
for program in mvn java curl flock python3 setpriv unshare; do
    command -v "$program" >/dev/null || cannot "$program is not installed (Debian: maven curl util-linux)"
done
exec 9>"$directory/start"
flock 9
[ -x "$directory/$version/bin/elasticsearch" ] || get
[ -f "$instance/url" ] || configure
touch "$instance/users"
if ! answers; then
    apart=()
    [ "$(id -u)" != 0 ] || apart=(unshare --mount)
    setsid "${apart[@]}" "$0" "$directory" "$name" serve >"$instance/log" 2>&1 </dev/null 9>&- &
    keeper=$!
    for _ in $(seq 300); do
        answers && break
        kill -0 "$keeper" 2>/dev/null || cannot "it does not start: $(grep -m 1 -i -E 'error|exception|cannot' "$instance/log")"
        sleep 0.3
    done
    answers || cannot "it does not answer: $(tail -n 3 "$instance/log")"
fi
