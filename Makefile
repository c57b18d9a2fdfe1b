# Each target sets up everything it needs on a machine with Rust and Python's pip.
.PHONY: demo test fuzz lint package bench bench-check soak tasks servers python promtool negative-controls

CARGO ?= cargo

# The main use case on a private server: rules, a save in a transaction, what readers see, the
# server killed.
demo:
	@sh scripts/servers.sh || echo 'no server could be had: the demo runs on the in-memory model'
	$(CARGO) run --quiet --release --features cli -- demo

# Runs every test, on every server that could be installed, and the negative controls. Takes about
# four and a half minutes on two cores, once built.
test: servers python promtool
	@sh scripts/test.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	sh scripts/lint.sh

# Measures everything that docs/performance.md shows, and writes it with its plots. Takes four to
# eight minutes on two cores, once built, depending on the load.
bench: servers
	@sh scripts/python.sh bench
	$(CARGO) bench --features testing,tokio --bench performance

# Compares what can be counted exactly of a save's cost with benches/counts.txt; ACCEPT=1 writes
# that file. Part of `make test`.
bench-check: servers
	$(if $(ACCEPT),CACHETX_BLESS=1) $(CARGO) test --all-features --test counts

# The long runs: more histories and more cases of everything that is random.
soak: servers python
	CACHETX_SOAK=1 CACHETX_HISTORIES=10000 CACHETX_CUTS=1000 CACHETX_OUTBOX_RECORDS=10000 CACHETX_OUTBOX_SAVES=200 CACHETX_DROPS=10000 PROPTEST_CASES=10000 sh scripts/test.sh --release

# Runs the tests of saves, outages, transactions, loads, locks and topologies again, in tasks of
# tokio. Takes about 12 minutes on two cores.
tasks: servers python
	sh scripts/tasks.sh

# Fuzzes each target of fuzz/ for a minute (FUZZ_SECONDS=…) on the stable toolchain; needs a C++ compiler.
fuzz:
	@sh scripts/fuzz.sh

# Checks what is published: the packed crate builds with each set of features, README's program runs
# with it, its public API matches public-api.txt (ACCEPT=1 writes it), licences and advisories
# comply with deny.toml. The last two need cargo-public-api with a nightly toolchain, and
# cargo-deny; without them they are reported as skipped. Takes ten to twenty-five minutes on two cores.
package:
	@sh scripts/package.sh

# Installs the servers for the tests under target/servers; needs no root.
servers:
	@sh scripts/servers.sh

# Installs redis-py, for the test with a foreign client; without Python that test is reported as
# skipped.
python:
	@sh scripts/python.sh

# promtool, for the test of examples/monitoring/alerts.yml; without it that test is skipped by name.
promtool:
	@sh scripts/promtool.sh

negative-controls:
	sh scripts/negative-controls.sh
