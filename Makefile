# `make demo` shows the main job on a fresh machine, `make test` passes the tests. Both install what they need, or say
# the line that does. `make soak MINUTES=10` plays histories of the simulation for so long (a night, where it is not said),
# from the seed START (one of the moment, where there is none).
# `make chaos` kills what takes part in sandboxes on a Docker engine, one after the other at each of its steps, and prints
# what became of the runs.
.PHONY: demo test soak chaos prepare build

demo: build
	deploy/demo.sh

test: build
	tests/run.sh

soak:
	SEAGULL_SIM_MINUTES=$(or $(MINUTES),480) SEAGULL_SIM_START=$(START) cargo test --locked --workspace --test histories -- --nocapture

chaos: build
	cargo test --locked --workspace --test integration -- --ignored --nocapture chaos::

build: prepare
	cargo build --locked --workspace

prepare:
	deploy/prepare.sh $(or $(MAKECMDGOALS),demo)
