# The first process of a test container, in the same text before bootstrap.py: `PYTHON -c THIS DIR LOG SECRET...`. Its child
# goes on with the bootstrap and becomes the worker, with LOG as its output and the secrets as variables. It passes signals on
# and buries the dead; when the kernel has killed something for want of memory it ends all. Its own output is one line, how
# the worker ended, as the executor's supervisors say it. When it ends, the kernel ends what is left in the container.
import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]

import os
import resource
import signal

# Files of the memory's control group, of either version; only those of one are there.
NEW, OLD = "/sys/fs/cgroup/memory.", "/sys/fs/cgroup/memory/memory."
# What is heard, and what the worker hears of it: an interrupt, and that it is to write its stacks.
PASSED = {signal.SIGINT: signal.SIGINT, signal.SIGUSR1: signal.SIGRTMIN + 11}
HEARD = {signal.SIGCHLD, *PASSED}
LOOK = 0.2
# Bytes of what the kernel takes at a time at most.
PAGES = 1 << 20
# How often, and how far apart, it is looked whether what the worker has left ends with it.
LEFT_TRIES, LEFT_PAUSE = 20, 0.01
# What pytest tells of its present test; how much is read of a file, and told of what is left: in all, and of each, as
# supervisors do.
TEST, MOST, LINE = "PYTEST_CURRENT_TEST=", 1 << 22, 6000
COMMAND_BYTES, PORTS = 400, 20


def number(path, name=""):
    """A number in such a file, in the line of its name where it has one; 0 where there is none."""
    try:
        with open(path) as lines:
            for line in lines:
                words = line.split()
                if not name or words[0] == name:
                    return int(words[-1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def killed():
    """How often the kernel has killed something here for want of memory."""
    return number(NEW + "events", "oom_kill") + number(OLD + "oom_control", "oom_kill")


def out_of_memory():
    """Whether it has, and whether that was for the container's limit or for the machine's want."""
    if not killed():
        return "null"
    # What the older version counts as failed depends on the kernel; but then there were no pages left below the limit.
    old = number(OLD + "limit_in_bytes")
    met = number(NEW + "events", "oom") or old and number(OLD + "max_usage_in_bytes") > old - PAGES
    return '"limit"' if met else '"machine"'


def watch(worker):
    """Waits for the worker's end, as the system tells it."""
    while True:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == worker:
            return status
        if child:
            continue
        if killed():
            os.kill(worker, signal.SIGKILL)
        heard = signal.sigtimedwait(HEARD, LOOK)
        if heard is not None and heard.si_signo in PASSED:
            os.kill(worker, PASSED[heard.si_signo])


def others():
    """All processes here but this one, which is the parent of those whose own has ended."""
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()]


def bury():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def whole(pid, name):
    """A file of the kernel's about a process; nothing of one that is gone."""
    try:
        with open("/proc/%s/%s" % (pid, name), "rb") as file:
            return file.read(MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def ports(pid):
    """The TCP ports at which a process listens."""
    sockets = set()
    try:
        for descriptor in os.listdir("/proc/%s/fd" % pid):
            sockets.add(os.readlink("/proc/%s/fd/%s" % (pid, descriptor)))
    except OSError:
        pass
    for line in (whole(pid, "net/tcp") + whole(pid, "net/tcp6")).splitlines():
        words = line.split()
        if len(words) > 9 and words[3] == "0A" and "socket:[%s]" % words[9] in sockets:
            yield int(words[1].rpartition(":")[2], 16)


def left():
    """What outlives the worker for more than a moment, as supervisors tell it, within what an engine logs as one line."""
    for _ in range(LEFT_TRIES):
        bury()
        if not others():
            return "[]"
        signal.sigtimedwait((), LEFT_PAUSE)
    own, room, seen = whole("self", "cmdline"), LINE, {}
    for pid in others():
        command, variables = whole(pid, "cmdline"), whole(pid, "environ").split("\0")
        tests = [variable[len(TEST) :] for variable in variables if variable.startswith(TEST)]
        command = "(a fork of its worker)" if command == own else command.replace("\0", " ").strip()[:COMMAND_BYTES]
        key = (command, tests[0] if tests else "")
        if key not in seen and sum(map(len, key)) > room:
            key = ("", "")
        elif key not in seen:
            room -= sum(map(len, key))
        count, listens = seen.setdefault(key, [0, set()])
        seen[key] = [count + 1, listens.union(ports(pid))]
    import json

    names = ("command", "during", "processes", "ports")
    return json.dumps([dict(zip(names, (*key, count, sorted(listens)[:PORTS]))) for key, (count, listens) in seen.items()])


def told(status):
    signalled = os.WIFSIGNALED(status)
    word, end = ("signal", os.WTERMSIG(status)) if signalled else ("code", os.WEXITSTATUS(status))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = number(NEW + "peak") or number(OLD + "max_usage_in_bytes") or used.ru_maxrss * 1024
    try:
        stay = "[]" if signalled else left()
    except Exception:
        # How the worker ended is told in any case.
        stay = "[]"
    return (
        '{"end": {"%s": %d}, "usage": {"user_seconds": %f, "system_seconds": %f, "peak_bytes": %d}, "leftovers": %d, '
        '"surviving": 0, "directory_left": null, "out_of_memory": %s, '
        '"left": %s}\n' % (word, end, used.ru_utime, used.ru_stime, peak, len(others()), out_of_memory(), stay)
    )


def begin(before):
    """Makes this process what a worker is on its executor's machine."""
    os.setpgid(0, 0)
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for name in sys.argv[3:]:
        with open("/run/secrets/" + name, "rb") as secret:
            os.environb[os.fsencode(name)] = secret.read()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
worker = os.fork()
if worker:
    line = told(watch(worker))
    os.write(1, line.encode())
    os._exit(0)
begin(before)
