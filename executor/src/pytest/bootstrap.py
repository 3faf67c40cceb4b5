# Run as `PYTHON -c THIS DIR`: executes the files of DIR/adapter one after the other in one namespace of their own, so
# that each sees the names of all. Nothing is imported, and what is executed has its own file in tracebacks. The working
# directory, which `-c` puts first on the path, goes before anything else: a suite's `json.py` must not shadow the library's.
import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]
names = {"__name__": "seagull_adapter", "__builtins__": __builtins__}
jobs = """held channel describe hooks collection order trouble options coverage attachments takeover worker controller
    process"""
for job in jobs.split():
    with open("{}/adapter/{}.py".format(sys.argv[1], job), "rb") as source:
        code = compile(source.read(), source.name, "exec", dont_inherit=True)
    exec(code, names)
