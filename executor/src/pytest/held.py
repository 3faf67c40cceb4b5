"""What the adapter holds from its start: pytest, which may be missing, and functions that tests patch."""

import os
import resource
import time

try:
    import pytest
except ImportError as error:
    pytest, import_error = None, error

# Bound here because tests patch the modules (freezegun, gevent, mock) while a teardown of theirs may need these.
clock, read, write = time.perf_counter, os.read, os.write
getrusage, RUSAGE_SELF = resource.getrusage, resource.RUSAGE_SELF
hookimpl = pytest.hookimpl if pytest else lambda **options: lambda function: function
