"""Attachments: what a test leaves in the directory that it is told of is put aside as that test's when it has ended."""

import os

# Bound here because tests patch them.
stat, change_times, make_directory, rename = os.stat, os.utime, os.mkdir, os.rename


class Attachments:
    """The directory stays the same for all tests, so that whoever keeps its path keeps the right one."""

    def __init__(self):
        self.directory = os.environ.get("SEAGULL_ATTACHMENTS")
        self.aside = 0
        self.reset()

    def reset(self):
        """Whatever is made in it changes its time, but perhaps not from one that is now."""
        if self.directory:
            try:
                change_times(self.directory, ns=(0, 0))
            except OSError:
                pass

    def put_aside(self):
        """The number of the directory beside it that has what was left, if anything was."""
        if not self.directory:
            return None
        try:
            if stat(self.directory).st_mtime_ns == 0:
                return None
            self.aside += 1
            rename(self.directory, os.path.join(os.path.dirname(self.directory), str(self.aside)))
            left = self.aside
        except OSError:
            left = None
        try:
            make_directory(self.directory)
        except OSError:
            pass
        self.reset()
        return left
