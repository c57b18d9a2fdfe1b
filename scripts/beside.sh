#!/bin/sh
# Checks that a program builds with this library next to the Redis client, with each set of the
# client's features; that README's program builds with README's dependencies; and that the command
# line builds without proptest. Build results stay in target/beside, so later runs take some
# seconds.
set -eu

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cargo=${CARGO:-cargo}
beside=$repo/target/beside
mkdir -p "$beside/program/src" "$beside/readme/src"

# The versions of this repository's lock file, and the newest of all other packages.
lock() {
    if [ ! -f "$1/Cargo.lock" ] || [ "$repo/Cargo.lock" -nt "$1/Cargo.lock" ]; then
        cp "$repo/Cargo.lock" "$1/Cargo.lock"
    fi
}

check() {
    CARGO_TARGET_DIR=$beside/target "$cargo" check --quiet --manifest-path "$beside/$1/Cargo.toml" --features "$2"
}

cat >"$beside/program/Cargo.toml" <<END
[package]
name = "beside"
edition = "2024"

[features]
tokio-comp = ["redis/tokio-comp"]
tokio-rustls-comp = ["redis/tokio-rustls-comp"]
tls-rustls = ["redis/tls-rustls"]
cluster-async = ["redis/cluster-async", "redis/tokio-comp"]
tls = ["cachetx/tls"]
tokio = ["cachetx/tokio"]
redis-1 = ["cachetx/redis-1"]

[dependencies]
cachetx = { path = "$repo" }
redis = { version = "1.8.1", default-features = false }

[workspace]
END
cat >"$beside/program/src/main.rs" <<'END'
fn main() {
    println!("{:?}", cachetx::TlsOptions::new());
    redis::cmd("PING");
}
END
lock "$beside/program"
for theirs in tokio-comp tokio-rustls-comp tls-rustls cluster-async; do
    for ours in "" ,tls ,tokio ,redis-1 ,tls,tokio,redis-1; do
        echo "beside redis with $theirs: default features$ours"
        check program "$theirs$ours"
    done
done

# Prints the first block of that language in README.
block() {
    awk -v begin="\`\`\`$1" '$0 == begin { take = 1; next } /^```$/ { if (take) exit } take' "$repo/README.md"
}
{
    printf '[package]\nname = "readme"\nedition = "2024"\n\n[workspace]\n\n[features]\nall = []\n\n'
    block toml | sed "s|^cachetx = \"[^\"]*\"|cachetx = { path = \"$repo\" }|"
} >"$beside/readme/Cargo.toml"
block rust >"$beside/readme/src/main.rs"
lock "$beside/readme"
echo "README's program with README's dependencies"
check readme all

echo "what the command line builds"
if "$cargo" tree --edges normal --manifest-path "$repo/Cargo.toml" --features cli | grep -w proptest; then
    echo "the feature cli compiles proptest" >&2
    exit 1
fi
echo "beside ok"
