#!/bin/sh
# Runs the tests of saves, outages, transactions, loads, locks and topologies with a library whose
# threads let tasks of tokio do their work. Arguments go to `cargo test`; by default all of these
# tests run.
set -eu

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$repo"
# Affects only builds of this crate, as in the negative controls.
wrapper=$repo/target/weakened/cachetx_by_tasks
mkdir -p "$repo/target/weakened"
# shellcheck disable=SC2016 # the wrapper expands these, not this script
printf '#!/bin/sh\nrustc=$1\nshift\nexec "$rustc" "$@" --cfg cachetx_by_tasks\n' >"$wrapper"
chmod +x "$wrapper"
export RUSTC_WORKSPACE_WRAPPER="$wrapper" RUST_BACKTRACE=0
[ $# -gt 0 ] || set -- --test away --test saves --test transactions --test loads --test locks --test cluster --no-fail-fast
exec "${CARGO:-cargo}" test --features strategies,tls,tokio "$@"
