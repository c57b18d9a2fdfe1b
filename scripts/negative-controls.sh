#!/bin/sh
# Builds the library with one check removed, by a --cfg flag, and expects the test that guards it to
# fail.
# Only this crate is rebuilt: for members of the workspace a wrapper replaces rustc and adds the
# flag. Each flag has its own wrapper, since cargo keeps the builds of different wrappers apart,
# except executables that must be found by name. So the command line, which tests run, is not built
# here: it would replace theirs with a weakened one.
set -u

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$repo" || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
failed=0

# control <flag> <test binary, or lib> <message> [<test>]: the binary must compile, run, and fail
# with that message: a test that fails because there is no server would prove nothing.
control() {
    wrapper=$repo/target/weakened/$1
    binary="--test $2"
    [ "$2" != lib ] || binary=--lib
    mkdir -p "$repo/target/weakened"
    # shellcheck disable=SC2016 # the wrapper expands these, not this script
    printf '#!/bin/sh\nrustc=$1\nshift\nexec "$rustc" "$@" --cfg %s -C opt-level=0\n' "$1" >"$wrapper"
    chmod +x "$wrapper"
    # shellcheck disable=SC2086 # two words
    RUSTC_WORKSPACE_WRAPPER=$wrapper ${CARGO:-cargo} test --features strategies,tls,tokio $binary --no-fail-fast ${4:+-- "$4"} >"$log" 2>&1
    if grep -q '^test result: FAILED' "$log" && grep -q -F "$3" "$log"; then
        tests=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | tr '\n' ' ')
        echo "negative control ok: with $1, $2 fails: $tests"
    else
        echo "negative control FAILED: with $1, $2 does not fail by saying '$3':"
        tail -n 40 "$log"
        failed=1
    fi
}

control cachetx_without_stamp_check saves 'the first holder had not seen it: Outcome' no_lost_save::
control cachetx_without_stamp_check saves 'updates were lost' counter::no_update_is_lost_without_a_holder
control cachetx_without_read_lock lib 'robbed: ' updates_and_holders_of_the_lock
control cachetx_early_look lib 'robbed: ' updates_and_holders_of_the_lock
control cachetx_patient_look saves 'OS lock for over 5 s' update::a_look_that_hangs
control cachetx_without_short_life lib 'the value stays' a_value_whose_program_is_lost
control cachetx_without_last_look saves 'an acknowledged save was overwritten' no_lost_save::a_sidecar_is_deleted_during_a_save
control cachetx_without_change_time files 'a snapshot of an older file was returned' identity::a_tool_that_sets_one_fixed_time_is_seen
control cachetx_without_slot_check cluster 'ash is in another slot: Outcome' keys_of_several_slots
control cachetx_without_snapshot_check files 'a snapshot of an older file was returned' snapshot::
control cachetx_without_replay away 'waited too long until the dependents are gone' outbox::a_save_while_the_server_is_away
control cachetx_without_echo loads 'waited too long until the old content is gone' echo::an_own_entry
control cachetx_without_marks saves 'deleted before the rename' crash_safe::nobody_fills
control cachetx_without_wake_up locks 'of waiting: the waiters poll' lock_wait::a_lock_goes_round
control cachetx_without_journal transactions 'some documents are saved and some are not' at_every_step_all_documents
control cachetx_without_image_check transactions 'the rest is finished' what_a_foreign_program_wrote
control cachetx_without_fresh_tokens lib 'believes in 60s, the server has Some(59.5s)' lives::no_lock_is_asked
control cachetx_without_fresh_tokens away 'older than the truth' held_back::
control cachetx_without_retries_on_signals away 'signals cost saves' interrupted::saves_on_one_server
control cachetx_without_tasks_of_their_own tasks 'not in time: no lock is held' dropped::whatever_is_dropped
control cachetx_without_progress tasks 'no reply in time' links::a_slow_network
control cachetx_counts_callers away 'left: Open' breaker::a_server_that_stands_still
control cachetx_without_patience away 'circuit breaker' breaker::who_may_wait
exit "$failed"
