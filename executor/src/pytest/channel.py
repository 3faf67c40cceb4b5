"""The line protocol: commands and events over the executor's socket, as JSON."""

import fcntl
import os
import select
import signal
import socket

BLOCKING_WRITE = 32 * 1024
"""Longer writes can end half way when a signal comes, so SIGINT waits for them."""


class Channel:
    """Lines of JSON over the socket, by its bare descriptor; a forked child does not take part."""

    def __init__(self, path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            # Away from the low numbers that tests dup onto or expect to get.
            self.fd = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, 64)
        self.unsent, self.received, self.supervisor = [], b"", parent()
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLIN)
        os.register_at_fork(after_in_child=self.close)

    def event(self, name, **fields):
        """Holds an event until the next flush."""
        self.unsent.append(encode({"event": name, **fields}) + "\n")

    def flush(self):
        # Nothing is told when the supervisor is dead: so the test that killed it is in flight, and the next has not begun.
        if self.fd >= 0 and parent() != self.supervisor:
            leave(1)
        data, self.unsent = "".join(self.unsent).encode("utf-8", "replace"), []
        if len(data) <= BLOCKING_WRITE:
            self.write(data)
            return
        blocked = mask_signals(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self.write(data)
        finally:
            mask_signals(signal.SIG_SETMASK, blocked)

    def write(self, data):
        try:
            while data and self.fd >= 0:
                data = data[write(self.fd, data) :]
        except (BrokenPipeError, ConnectionResetError):
            self.close()

    def receive(self, timeout):
        """Commands that have come, waiting `timeout` seconds (None: for ever) for the first; none if none came."""
        while b"\n" not in self.received:
            if self.fd < 0:
                return [{"command": "finish"}]
            if not self.poll.poll(None if timeout is None else timeout * 1000):
                return []
            try:
                data = read(self.fd, 1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                self.close()
            self.received += data
        lines, _, rest = self.received.rpartition(b"\n")
        commands = [decode(line) for line in lines.decode().split("\n")]
        self.received = rest
        return commands

    def close(self):
        if self.fd >= 0:
            close(self.fd)
            self.fd = -1
