# Run as `PYTHON -c THIS DIR`: executes DIR/adapter.py in a namespace of its own. The working directory, which `-c` puts
# first on the path, goes before anything is imported: a suite's `json.py` or `typing.py` must not shadow the library's.
import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]
with open(sys.argv[1] + "/adapter.py", "rb") as source:
    code = compile(source.read(), source.name, "exec", dont_inherit=True)
exec(code, {"__name__": "seagull_adapter", "__builtins__": __builtins__})
