# The same four commands for people and CI; each sets up what it needs and says what it could not.
# Arguments of the demo: make demo ARGS='--for 20s --report r.json'

.PHONY: demo test check bench fmt clippy docs deny tidy layers

demo:
	@ci/demo $(ARGS)

test:
	@ci/test $(ARGS)

bench:
	@ci/bench $(ARGS)

check: fmt clippy docs deny tidy layers

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet

deny:
	@ci/deny

tidy:
	@cargo xtask tidy

layers:
	@cargo xtask layers
