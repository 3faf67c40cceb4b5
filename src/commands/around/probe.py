# Run as `PYTHON -c THIS ARGS...`: what pytest makes of a command line, as JSON on standard output. Nothing is collected.
import json
import os
import sys
import sysconfig

if sys.path and sys.path[0] == "":
    del sys.path[0]
answer = os.dup(1)
search = os.environ.get("PYTHONPATH", "")
# What a conftest prints goes elsewhere.
os.dup2(2, 1)

import pytest
from _pytest.config import _prepareconfig

folders = [os.path.dirname(sys.executable), sysconfig.get_path("scripts")]
scripts = [os.path.join(folder, "pytest") for folder in folders if folder]
config = _prepareconfig(sys.argv[1:])
plugin = config.pluginmanager.hasplugin
option = config.option
# What these do for workers, workers have without a controller.
served = {"_pytest", "xdist", "pytest_cov", "pytest_metadata", "pytest_randomly", "pytest_rerunfailures"}
hook = getattr(config.hook, "pytest_configure_node", None)
hooks = [] if hook is None else hook.get_hookimpls()
givers = [one.plugin_name for one in hooks if one.function.__module__.partition(".")[0] not in served]
givers = [os.path.relpath(name, config.rootpath) if os.path.isabs(name) else name for name in givers]
told = {
    "script": next(filter(os.path.isfile, scripts), None),
    "python": sys.executable,
    "version": [int(part) for part in pytest.__version__.split(".")[:2]],
    "rootdir": str(config.rootpath),
    "inipath": str(config.inipath) if config.inipath else None,
    "paths": [str(path) for path in getattr(option, "file_or_dir", None) or []],
    "distributes": bool(getattr(option, "numprocesses", None)) or getattr(option, "dist", "no") != "no",
    "search": search,
    "stops": bool(getattr(option, "maxfail", 0)),
    "shuffles": plugin("randomly"),
    "seeds": isinstance(getattr(option, "randomly_seed", None), int),
    "gives": next(iter(givers), None),
    "covers": hasattr(option, "no_cov") and bool(getattr(option, "cov_source", None)),
}
config._ensure_unconfigure()
os.write(answer, json.dumps(told).encode())
