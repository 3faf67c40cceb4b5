#!/usr/bin/env python3
"""What sandboxes of services cost: made, restored, taken from those that wait, and in number; beside `docker` by hand.

    benches/sandboxes.py [--rounds 5] [--number 40]

Takes the Docker engine that DOCKER_HOST names, and the image of examples/shop, which examples/shop/image.sh makes. What is
started is the shop's database, as its seagull.toml has it; by hand, the same container with the same limits by the `docker` of
this machine, one command after the other. Writes benches/results/sandboxes.md.
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

    def tests(self, count, seconds=0):
        """So many files of a test each that takes so long, instead of its own."""
        shutil.rmtree(self.place / "tests")
        (self.place / "tests").mkdir()
        (self.place / "tests" / "conftest.py").write_text(CONFTEST)
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
    run("docker", "exec", "bench-pg", "createdb", "-h", "/tmp", "shop")
    schema = (SHOP / "schema.sql").read_text()
    run("docker", "exec", "-i", "bench-pg", "psql", "-q", "-h", "/tmp", "shop", input=schema)
    took = time.monotonic() - began
    run("docker", "rm", "--force", "--volumes", "bench-pg")
    run("docker", "network", "rm", "bench")
    return took


def without_template(text):
    return text.replace("template = true\n", "")


def for_each_bundle(text):
    """One environment for all tests, its database new for each bundle."""
    kept, _, _ = text.partition("# What needs nothing")
    kept = kept.replace("template = true\n", 'template = true\nscope = "bundle"\n')
    return kept + f'[environment.default]\nimage = "{IMAGE}"\nservices = ["postgres"]\nmemory = "256MiB"\n'


def up(parent, rounds):
    """Until services are up: prepared, restored, and by hand, in turn."""
    plain, saved = Shop(parent, without_template), Shop(parent)
    saved.up("orders")
    ways = {
        "prepared": lambda: plain.up("orders"),
        "restored from its template": lambda: saved.up("orders"),
        "by hand, `docker run` and `docker exec`": by_hand,
    }
    taken = {name: [] for name in ways}
    for number in range(rounds):
        for name in record.rotated(list(ways), number):
            taken[name].append(ways[name]())
    saved.seagull("services", "templates", "--remove")
    return taken


def bundles(parent, seconds):
    """Of runs whose bundles have a sandbox each: seconds from the first assignment to the first test, and from a bundle's
    test to the next one's, where there is time to make its sandbox meanwhile, and where there is none."""
    shop = Shop(parent, for_each_bundle)
    taken = {}
    for name, each in ("sandbox made meanwhile", seconds), ("no time to make it", 0):
        shop.tests(6, each)
        events = shop.events("--slots", "1", "--cap", "1s", "tests")
        assigned = [at for at, event in events if event["event"] == "attempt_assigned" and event["kind"] == "run"]
        started = [at for at, event in events if event["event"] == "test_started"]
        finished = [at for at, event in events if event["event"] == "test_finished"]
        taken[f"first bundle, {name}"] = [started[0] - assigned[0]]
        taken[f"next bundle, {name}"] = [begin - end for end, begin in zip(finished, started[1:])]
    shop.seagull("services", "templates", "--remove")
    return taken


def in_number(parent, count, slots):
    """Sandboxes a minute, and what the engine has of them afterwards."""
    shop = Shop(parent, for_each_bundle)
    shop.tests(count)
    before, began = objects(), time.monotonic()
    shop.events("--slots", str(slots), "--cap", "1s", "tests")
    took = time.monotonic() - began
    left = objects() - before
    shop.seagull("services", "templates", "--remove")
    return took, left


def table(head, taken):
    lines = [f"| {head} | seconds: median (least-most) |", "|---|---|"]
    return lines + [f"| {name} | {record.spread(values, '.2f')} |" for name, values in taken.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--number", type=int, default=40, help="how many sandboxes in a row, and how many 8 at a time")
    parser.add_argument("--seconds", type=int, default=10, help="how long a test takes during which a sandbox is made")
    parser.add_argument("--name", default="sandboxes", help="the result's name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as parent:
        engine = run("docker", "version", "--format", "{{.Server.Version}}").strip()
        lines = table("the shop's database, up", up(parent, options.rounds)) + [""]
        lines += table("from a bundle to a test, in a container", bundles(parent, options.seconds)) + [""]
        lines += ["| sandboxes | seconds | objects left on the engine |", "|---|---|---|"]
        for slots in (1, 8):
            took, left = in_number(parent, options.number, slots)
            lines.append(f"| {options.number}, {slots} at a time | {took:.1f} | {left} |")
    head = ["# Sandboxes of services", "", *record.circumstances(), f"Docker {engine}.", ""]
    record.write(options.name, head + lines)


main()
