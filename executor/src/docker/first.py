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


def told(status):
    signalled = os.WIFSIGNALED(status)
    word, end = ("signal", os.WTERMSIG(status)) if signalled else ("code", os.WEXITSTATUS(status))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = number(NEW + "peak") or number(OLD + "max_usage_in_bytes") or used.ru_maxrss * 1024
    others = sum(name.isdigit() for name in os.listdir("/proc")) - 1
    return (
        '{"end": {"%s": %d}, "usage": {"user_seconds": %f, "system_seconds": %f, "peak_bytes": %d}, "leftovers": %d, '
        '"surviving": 0, "directory_left": null, "out_of_memory": %s}\n'
        % (word, end, used.ru_utime, used.ru_stime, peak, others, out_of_memory())
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
