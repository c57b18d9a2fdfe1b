# Each target sets up all it needs on a machine with Rust and Python's pip.
.PHONY: demo test fuzz lint bench bench-check soak tasks servers python promtool negative-controls

CARGO ?= cargo

# The main job on a private server: rules, a save in a transaction, what readers see, the server killed.
demo:
	@sh scripts/servers.sh || echo 'no server could be had: the demo runs on the in-memory model'
	$(CARGO) run --quiet --release --features cli -- demo

# Every test, on every server that could be installed, and the negative controls. About four and a half minutes on two cores, once built.
test: servers python promtool
	@sh scripts/test.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	sh scripts/lint.sh

# Measures all that docs/performance.md shows, and writes it and its plots. Four to eight minutes on two cores, once built, by what else runs.
bench: servers
	@sh scripts/python.sh bench
	$(CARGO) bench --features testing,tokio --bench performance

# What a save costs that can be counted exactly, against benches/counts.txt; ACCEPT=1 writes that. A part of `make test`.
bench-check: servers
	$(if $(ACCEPT),CACHETX_BLESS=1) $(CARGO) test --all-features --test counts

# The long runs: more histories and cases of everything that is random.
soak: servers python
	CACHETX_SOAK=1 CACHETX_HISTORIES=10000 CACHETX_CUTS=1000 CACHETX_OUTBOX_RECORDS=10000 CACHETX_OUTBOX_SAVES=200 CACHETX_DROPS=10000 PROPTEST_CASES=10000 sh scripts/test.sh --release

# The tests of saves, outages, transactions, loads, locks and topologies once more, by tasks of tokio. About 12 minutes on two cores.
tasks: servers python
	sh scripts/tasks.sh

# Fuzzes each target of fuzz/ for a minute (FUZZ_SECONDS=…) on the stable toolchain; needs a C++ compiler.
fuzz:
	@sh scripts/fuzz.sh

# The servers that tests run, under target/servers; needs no root.
servers:
	@sh scripts/servers.sh

# redis-py, for the test with a foreign client; without Python that test is skipped by name.
python:
	@sh scripts/python.sh

# promtool, for the test of examples/monitoring/alerts.yml; without it that test is skipped by name.
promtool:
	@sh scripts/promtool.sh

negative-controls:
	sh scripts/negative-controls.sh
