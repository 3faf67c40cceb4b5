# `make demo` shows the main job on a fresh machine, `make test` passes the tests. Both install what they need, or say
# the line that does. `make soak MINUTES=10` plays histories of the simulation for so long (a night, where it is not said),
# from the seed START (one of the moment, where there is none).
.PHONY: demo test soak prepare build

demo: build
	deploy/demo.sh

test: build
	tests/run.sh

soak:
	SEAGULL_SIM_MINUTES=$(or $(MINUTES),480) SEAGULL_SIM_START=$(START) cargo test --locked --workspace --test histories -- --nocapture

build: prepare
	cargo build --locked --workspace

prepare:
	deploy/prepare.sh $(or $(MAKECMDGOALS),demo)
