#!/usr/bin/env python3
"""What sandboxes of services cost: made, restored, taken from those that wait, and in number, beside `docker` by hand; and
bundles an hour in them, beside workers on the machine and `pytest` alone.

    benches/sandboxes.py [--rounds 5] [--number 40] [--compose PATH] [--testcontainers PYTHON]

Takes the Docker engine that DOCKER_HOST names, and the image of examples/shop, which examples/shop/image.sh makes. What is
started is the shop's database, as its seagull.toml has it; by hand, the same container with the same limits by the `docker` of
this machine, one command after the other. With the binary of Docker Compose, version 2, and an interpreter that has
testcontainers, the same by these, in turn with the others. Writes benches/results/sandboxes.md.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import record

SHOP = record.TOP / "examples" / "shop"
IMAGE = "seagull-shop:1"
POSTGRES = """
export PATH=/usr/lib/postgresql/15/bin:$PATH
cd /var/lib/postgresql
initdb --pgdata=data --auth=trust --no-sync --wal-segsize=1 >/dev/null
echo 'host all all all trust' >>data/pg_hba.conf
exec postgres -D data -k /tmp -c listen_addresses='*' -c fsync=off -c full_page_writes=off
"""
LIMITS = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "1024"]
# Its reaper is off: that is a container more.
TESTCONTAINERS = """
import json, sys, time
from testcontainers.core.container import DockerContainer
given = json.load(sys.stdin)
limits = {"user": "postgres", "mem_limit": "256m", "pids_limit": 1024, "cap_drop": ["ALL"]}
began = time.monotonic()
database = DockerContainer(given["image"]).with_exposed_ports(5432).with_command(given["command"])
database = database.with_kwargs(security_opt=["no-new-privileges"], **limits).start()
while database.exec(["pg_isready", "-q", "-h", "127.0.0.1"])[0]:
    time.sleep(0.01)
for command in ["createdb", "-h", "/tmp", "shop"], ["psql", "-q", "-h", "/tmp", "-c", given["schema"], "shop"]:
    code, said = database.exec(command)
    assert code == 0, said
print(time.monotonic() - began)
database.stop()
"""
CONTAINER = f'[environment.default]\nimage = "{IMAGE}"\nmemory = "256MiB"\n'
TEST = "import time\n\n\ndef test_{number}():\n    time.sleep({seconds})\n"
CONFTEST = "import psycopg2\n"


def run(*command, **how):
    return subprocess.run(command, check=True, capture_output=True, text=True, **how).stdout


def objects():
    """All that the engine has of containers, networks of its users, and volumes."""
    lists = (["ps", "-aq"], ["network", "ls", "-q", "--filter", "type=custom"], ["volume", "ls", "-q"])
    return sum(len(run("docker", *arguments).split()) for arguments in lists)


class Shop:
    """A copy of the example, with services of its own."""

    def __init__(self, parent, change=lambda text: text):
        self.place = pathlib.Path(tempfile.mkdtemp(dir=parent))
        shutil.copytree(SHOP, self.place, dirs_exist_ok=True)
        settings = self.place / "seagull.toml"
        settings.write_text(change(settings.read_text()))

    def seagull(self, *arguments):
        return run(record.SEAGULL, *arguments, cwd=self.place)

    def up(self, environment):
        """Seconds until its services are up and ready; they are down again then."""
        began = time.monotonic()
        self.seagull("services", "up", environment)
        took = time.monotonic() - began
        self.seagull("services", "down", environment)
        return took

    def tests(self, count, seconds=0, conftest=CONFTEST):
        """So many files of a test each that takes so long, instead of its own."""
        shutil.rmtree(self.place / "tests")
        (self.place / "tests").mkdir()
        (self.place / "tests" / "conftest.py").write_text(conftest)
        for number in range(count):
            (self.place / "tests" / f"test_{number}.py").write_text(TEST.format(number=number, seconds=seconds))

    def events(self, *arguments):
        """The events of a run, each with when it came."""
        command = [record.SEAGULL, "run", "--output", "json", *arguments]
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        running = subprocess.Popen(command, cwd=self.place, **quiet)
        events = [(time.monotonic(), json.loads(line)) for line in running.stdout]
        assert running.wait() == 0, f"exit code {running.returncode}"
        return events


def by_hand():
    """Seconds until the database is up, by hand; removed again then."""
    began = time.monotonic()
    run("docker", "network", "create", "bench")
    flags = ["run", "--detach", "--network", "bench", "--name", "bench-pg", *LIMITS, "--memory", "256m"]
    run("docker", *flags, "--user", "postgres", "--publish", "127.0.0.1::5432", IMAGE, "sh", "-c", POSTGRES)
    ready = ["docker", "exec", "bench-pg", "pg_isready", "-q", "-h", "127.0.0.1"]
    while subprocess.run(ready, capture_output=True).returncode:
        time.sleep(0.01)
    schema("bench-pg")
    took = time.monotonic() - began
    run("docker", "rm", "--force", "--volumes", "bench-pg")
    run("docker", "network", "rm", "bench")
    return took


def schema(database):
    """Prepares a database, by hand."""
    run("docker", "exec", database, "createdb", "-h", "/tmp", "shop")
    run("docker", "exec", "-i", database, "psql", "-q", "-h", "/tmp", "shop", input=(SHOP / "schema.sql").read_text())


class Compose:
    """The same by `docker compose up --wait`."""

    def __init__(self, parent, program):
        self.place = pathlib.Path(tempfile.mkdtemp(dir=parent))
        health = {"test": ["CMD", "pg_isready", "-q", "-h", "127.0.0.1"], "interval": "50ms", "retries": 1000}
        service = {
            "image": IMAGE, "command": ["sh", "-c", POSTGRES.replace("$", "$$")], "user": "postgres",
            "healthcheck": health, "ports": ["127.0.0.1::5432"], "mem_limit": "256m", "pids_limit": 1024,
            "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"],
        }  # fmt: skip
        # JSON is YAML.
        (self.place / "compose.yaml").write_text(json.dumps({"name": "bench", "services": {"postgres": service}}))
        self.command = [program, "--file", str(self.place / "compose.yaml")]

    def up(self):
        """Seconds until the database is up and prepared; removed again then."""
        began = time.monotonic()
        run(*self.command, "up", "--wait", "--quiet-pull")
        schema("bench-postgres-1")
        took = time.monotonic() - began
        self.down()
        return took

    def down(self):
        run(*self.command, "down", "--volumes", "--timeout", "0")

    def tested(self):
        """Seconds until the first test begins that `docker run` runs beside the database."""
        test = self.place / "test_x.py"
        test.write_text("import time, psycopg2\n\n\ndef test_x():\n    print('began', time.time())\n")
        began = time.time()
        run(*self.command, "up", "--wait", "--quiet-pull")
        schema("bench-postgres-1")
        flags = ["run", "--rm", "--network", "bench_default", *LIMITS, "--memory", "256m"]
        shown = ["--volume", f"{self.place}:/suite:ro", "--workdir", "/suite", "--env", "PYTHONDONTWRITEBYTECODE=1"]
        pytest = ["python3", "-m", "pytest", "-s", "-p", "no:cacheprovider", "test_x.py"]
        said = run("docker", *flags, *shown, IMAGE, *pytest)
        self.down()
        return float(said.split("began ")[1].split()[0]) - began


def by_testcontainers(python):
    """Seconds until the database is up and prepared by testcontainers, which is imported by then; removed again then."""
    given = {"image": IMAGE, "command": ["sh", "-c", POSTGRES], "schema": (SHOP / "schema.sql").read_text()}
    env = {**os.environ, "TESTCONTAINERS_RYUK_DISABLED": "true"}
    return float(run(python, "-c", TESTCONTAINERS, input=json.dumps(given), env=env))


def without_template(text):
    return text.replace("template = true\n", "")


def for_each_bundle(text):
    """One environment for all tests, its database new for each bundle."""
    kept, _, _ = text.partition("# What needs nothing")
    kept = kept.replace("template = true\n", 'template = true\nscope = "bundle"\n')
    return kept + f'{CONTAINER}services = ["postgres"]\n'


def container_only(_):
    return CONTAINER


def processes_only(_):
    return ""


def up(parent, options):
    """Until services are up: prepared, restored, by hand, and by others' tools, in turn."""
    plain, saved = Shop(parent, without_template), Shop(parent)
    saved.up("orders")
    ways = {
        "prepared": lambda: plain.up("orders"),
        "restored from its template": lambda: saved.up("orders"),
        "by hand, `docker run` and `docker exec`": by_hand,
    }
    if options.compose:
        ways["`docker compose up --wait` and `docker exec`"] = Compose(parent, options.compose).up
    if options.testcontainers:
        ways["testcontainers, without its reaper"] = lambda: by_testcontainers(options.testcontainers)
    taken = {name: [] for name in ways}
    for number in range(options.rounds):
        for name in record.rotated(list(ways), number):
            taken[name].append(ways[name]())
    saved.seagull("services", "templates", "--remove")
    return taken


def bundles(parent, options):
    """Of runs whose bundles have a sandbox each: seconds from the first assignment to the first test, and from a bundle's
    test to the next one's, where there is time to make its sandbox meanwhile, and where there is none."""
    shop = Shop(parent, for_each_bundle)
    taken = {}
    for name, each in ("sandbox made meanwhile", options.seconds), ("no time to make it", 0):
        shop.tests(6, each)
        events = shop.events("--slots", "1", "--cap", "1s", "tests")
        assigned = [at for at, event in events if event["event"] == "attempt_assigned" and event["kind"] == "run"]
        started = [at for at, event in events if event["event"] == "test_started"]
        finished = [at for at, event in events if event["event"] == "test_finished"]
        taken[f"first bundle, {name}"] = [started[0] - assigned[0]]
        taken[f"next bundle, {name}"] = [begin - end for end, begin in zip(finished, started[1:])]
    shop.seagull("services", "templates", "--remove")
    if options.compose:
        compose = Compose(parent, options.compose)
        taken["each, `docker compose up --wait` and `docker run`"] = [compose.tested() for _ in range(options.rounds)]
    return taken


def in_number(parent, count, slots, change):
    """Seconds that so many bundles of an empty test each take, and what the engine has of them afterwards."""
    shop = Shop(parent, change)
    shop.tests(count, conftest="")
    before = objects()
    events = shop.events("--slots", str(slots), "--cap", "1s", "tests")
    assigned = [at for at, event in events if event["event"] == "attempt_assigned" and event["kind"] == "run"]
    finished = [at for at, event in events if event["event"] == "test_finished"]
    assert len(assigned) == len(finished) == count, f"{len(assigned)} bundles of {len(finished)} tests"
    left = objects() - before
    if change is for_each_bundle:
        shop.seagull("services", "templates", "--remove")
    return finished[-1] - assigned[0], left


# What each bundle has for itself follows from its environment: a worker stays for the next bundle, unless a service does not.
BUNDLES = {
    "on the machine, in a worker that stays": processes_only,
    "in a container that stays, with its worker": container_only,
    "each in a new container with a new database": for_each_bundle,
}


def pytest_for_each(parent, count):
    """Seconds of so many `pytest` on the machine, one after the other, a file of an empty test each."""
    shop = Shop(parent)
    shop.tests(count, conftest="")
    began = time.monotonic()
    for number in range(count):
        run("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/test_{number}.py", cwd=shop.place)
    return time.monotonic() - began


def per_bundle(name, took, count, left):
    return f"| {count} {name} | {took:.1f} | {took / count:.3f} | {3600 * count / took:,.0f} | {left} |"


def table(head, taken):
    lines = [f"| {head} | seconds: median (least-most) |", "|---|---|"]
    return lines + [f"| {name} | {record.spread(values, '.2f')} |" for name, values in taken.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--number", type=int, default=40, help="how many sandboxes in a row, and how many 8 at a time")
    parser.add_argument("--seconds", type=int, default=10, help="how long a test takes during which a sandbox is made")
    parser.add_argument("--compose", help="the binary of Docker Compose, version 2")
    parser.add_argument("--testcontainers", help="an interpreter that has testcontainers")
    parser.add_argument("--name", default="sandboxes", help="the result's name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as parent:
        engine = run("docker", "version", "--format", "{{.Server.Version}}").strip()
        lines = table("the shop's database, up", up(parent, options)) + [""]
        lines += table("from a bundle to a test, in a container", bundles(parent, options)) + [""]
        lines += ["| bundles of an empty test | seconds | a bundle | bundles an hour | objects left |", "|---|---|---|---|---|"]
        by_itself = pytest_for_each(parent, options.number)
        lines.append(per_bundle("by `pytest` on the machine, a process each", by_itself, options.number, "-"))
        for slots in (1, 8):
            for name, change in BUNDLES.items():
                took, left = in_number(parent, options.number, slots, change)
                lines.append(per_bundle(f"{name}, {slots} at a time", took, options.number, left))
    head = ["# Sandboxes of services", "", *record.circumstances(), f"Docker {engine}.", ""]
    record.write(options.name, head + lines)


if __name__ == "__main__":
    main()
