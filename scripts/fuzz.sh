#!/bin/sh
# Fuzzes each target of fuzz/ for FUZZ_SECONDS (60) on the stable toolchain, one after the other.
# Arguments name targets; none means all.
#
# Needs Rust and a C++ compiler (for libFuzzer, which cargo builds). Installs nothing: everything is
# built under target/fuzz. Inputs that reach new code are kept in target/fuzz/corpus/<target>,
# inputs that fail in target/fuzz/failures.
# Targets that need files create them in TMPDIR; its default is /dev/shm if that exists.
# FUZZ_RSS_MB (2048) and FUZZ_TIMEOUT (10 s for one input) limit memory and time. CACHETX_FUZZ_RULES
# is the file for `own_rules`.
set -u

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cargo=${CARGO:-cargo}
seconds=${FUZZ_SECONDS:-60}
target_dir=$repo/target/fuzz

if ! "${CXX:-c++}" --version >/dev/null 2>&1; then
    echo "fuzz: no C++ compiler (tried ${CXX:-c++}): install g++ or clang, or set CXX" >&2
    exit 1
fi
host=$(rustc -vV | sed -n 's/^host: //p')
[ -n "$host" ] || exit 1

# The flags of `cargo fuzz --sanitizer none`. The compiler's own coverage passes need no nightly;
# sanitizers would.
coverage="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage="$coverage -Cllvm-args=-sanitizer-coverage-$option"
done
# With --target the flags apply to the targets only, not to build scripts.
if ! RUSTFLAGS="$coverage -Ccodegen-units=1 --cfg fuzzing" "$cargo" build --quiet --release --locked \
    --manifest-path "$repo/fuzz/Cargo.toml" --target "$host" --target-dir "$target_dir"; then
    echo "fuzz: the targets did not build" >&2
    exit 1
fi

if [ "$#" -eq 0 ]; then
    for path in "$repo"/fuzz/targets/*.rs; do
        name=${path##*/}
        set -- "$@" "${name%.rs}"
    done
fi

[ -n "${TMPDIR:-}" ] || ! [ -w /dev/shm ] || TMPDIR=/dev/shm
[ -z "${TMPDIR:-}" ] || export TMPDIR

mkdir -p "$target_dir/failures" "$target_dir/logs" || exit 1
RUST_BACKTRACE=1
export RUST_BACKTRACE
failed=0
for name in "$@"; do
    corpus=$target_dir/corpus/$name
    log=$target_dir/logs/$name.log
    mkdir -p "$corpus" || exit 1
    if "$target_dir/$host/release/$name" -max_total_time="$seconds" -timeout="${FUZZ_TIMEOUT:-10}" \
        -rss_limit_mb="${FUZZ_RSS_MB:-2048}" -print_final_stats=1 -artifact_prefix="$target_dir/failures/$name-" \
        "$corpus" "$repo/fuzz/seeds/$name" >"$log" 2>&1; then
        result=ok
    else
        result=FAILED
        failed=1
    fi
    awk -v name="$name" -v result="$result" '
        / cov: / { for (n = 1; n <= NF; n++) { if ($n == "cov:") cov = $(n + 1); if ($n == "ft:") ft = $(n + 1) } }
        /^stat::number_of_executed_units:/ { runs = $2 }
        /^stat::peak_rss_mb:/ { rss = $2 }
        END { printf "%-10s %s: %s executions, cov %s, ft %s, peak %s MB\n", name, result, runs, cov, ft, rss }
    ' "$log"
    if [ "$result" = FAILED ]; then
        tail -n 40 "$log"
        echo "$log"
    fi
done
exit "$failed"
