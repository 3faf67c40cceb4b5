# `make demo` shows the main job on a fresh machine, `make test` passes the tests. Both install what they need, or say
# the line that does.
.PHONY: demo test prepare build

demo: build
	deploy/demo.sh

test: build
	tests/run.sh

build: prepare
	cargo build --locked --workspace

prepare:
	deploy/prepare.sh $(or $(MAKECMDGOALS),demo)
