"""What the adapter holds from its start: pytest, which may be missing, and functions that tests patch."""

import json
import os
import resource
import signal
import time

try:
    import pytest
except ImportError as error:
    pytest, import_error = None, error

# Bound here because tests patch the modules (freezegun, gevent, mock) while a teardown of theirs may need these.
clock, now, mask_signals = time.perf_counter, time.time, signal.pthread_sigmask
read, write, close, parent, leave = os.read, os.write, os.close, os.getppid, os._exit
encode, decode = json.JSONEncoder(ensure_ascii=False).encode, json.JSONDecoder().decode
getrusage, RUSAGE_SELF, RUSAGE_CHILDREN = resource.getrusage, resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
hookimpl = pytest.hookimpl if pytest else lambda **options: lambda function: function
