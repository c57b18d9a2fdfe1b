#!/bin/sh
# Runs clippy and rustdoc without a warning, with every feature alone and all together.
set -eu

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$repo"
cargo=${CARGO:-cargo}
for features in "" tls tokio redis-1 redis-1,tokio watch metrics tracing testing strategies cli; do
    echo "clippy, features: ${features:-none}"
    "$cargo" clippy --quiet --all-targets --no-default-features --features "$features" -- -D warnings
    RUSTDOCFLAGS="-D warnings" "$cargo" doc --quiet --no-deps --no-default-features --features "$features"
done
echo "clippy, all features"
"$cargo" clippy --quiet --all-targets --all-features -- -D warnings
RUSTDOCFLAGS="-D warnings" "$cargo" doc --quiet --no-deps --all-features
sh scripts/beside.sh
echo "lint ok"
