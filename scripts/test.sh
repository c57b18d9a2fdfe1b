#!/bin/sh
# Runs every test, even after failures, then the negative controls. Ends with the failed tests, each
# with its seed and the command that repeats it. Arguments go to `cargo test`; RUST_TEST_THREADS
# overrides the number of parallel tests.
set -u

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$repo" || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Most tests spend half of their time waiting for a server or a disk.
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * cores))}
export RUST_TEST_THREADS
# Tests panic on purpose, and a backtrace of a debug build takes seconds on a busy machine.
RUST_BACKTRACE=0
export RUST_BACKTRACE

# run <log> <cargo test's arguments …>: shows and keeps the output.
run() {
    log=$work/$1
    shift
    { "${CARGO:-cargo}" test --all-features --no-fail-fast "$@" 2>&1 || : >"$work/failed"; } | tee -a "$log"
}

"${CARGO:-cargo}" test --all-features --no-run "$@" || exit 1
# Failover tests mostly wait, and so do most negative controls: other tests use the cores meanwhile.
# The engine's tests also run in tasks.
{
    run cluster.log "$@" --test cluster
    (
        CACHETX_TASKS=1
        export CACHETX_TASKS
        run tasks.log "$@" --lib -- engine::
    )
    sh scripts/negative-controls.sh || : >"$work/failed"
} >"$work/beside.shown" 2>&1 &
others=$(cd tests && for main in */main.rs; do echo "--test ${main%/main.rs}"; done | grep -v 'test cluster$')
# shellcheck disable=SC2086 # a word each
run others.log "$@" --lib --bins --examples $others
run others.log "$@" --doc
wait
cat "$work/beside.shown"

# A test's output is under `---- <name> stdout ----`, after the tests of its binary.
awk -v cargo="${CARGO:-cargo} test --all-features $*" '
    /^     Running / {
        target = "--lib"
        if ($2 ~ /^tests\//) { split($2, path, "/"); target = "--test " path[2] }
        if ($3 ~ /^examples\//) { target = "--example " substr($3, 10, length($3) - 12) }
    }
    /^   Doc-tests / { target = "--doc" }
    /^test result: / { passed += $4 }
    /^test .* \.\.\. FAILED$/ {
        name = $0
        sub(/^test /, "", name)
        sub(/ \.\.\. FAILED$/, "", name)
        sub(/ - should panic$/, "", name)
        order[++count] = name
        of[name] = target
        by[name] = FILENAME ~ /tasks.log$/ ? "CACHETX_TASKS=1 " : ""
    }
    /^---- .* stdout ----$/ { current = $0; sub(/^---- /, "", current); sub(/ stdout ----$/, "", current) }
    /^failures:$/ { current = "" }
    current != "" && match($0, /CACHETX_[A-Z_]*SEED=[0-9]+/) { seed[current] = substr($0, RSTART, RLENGTH) " " }
    END {
        for (n = 1; n <= count; n++) {
            name = order[n]
            exact = of[name] == "--doc" ? "" : " --exact"
            printf "FAILED %s\n    repeat: %s%s%s %s --%s \"%s\"\n", name, by[name], seed[name], cargo, of[name], exact, name
        }
        printf "%d passed, %d failed\n", passed, count
    }
' "$work/others.log" "$work/cluster.log" "$work/tasks.log"
[ ! -e "$work/failed" ]
