//! Compares the simulated outboxes with the real ones: the same actions of several processes must
//! give the same answers.

use crate::{
    disk::{Invalidation, Outbox, OutboxAction, OutboxGot, Ticket, Work},
    rules::Params,
    sim::outbox::SimOutboxes,
};
use proptest::{prelude::*, sample::select, test_runner::TestCaseError};
use std::collections::BTreeMap;

const PROCESSES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Defer,
    Intend,
    /// An index into this process's tickets, counted from the latest.
    Ripen(usize),
    Retire(usize),
    Next,
    TakeOver,
    GiveBack,
    /// The process ends, and another one starts in its place.
    Die,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let ticketed = prop_oneof![
        (0..4_usize).prop_map(Step::Ripen),
        (0..4_usize).prop_map(Step::Retire),
    ];
    let plain = select(vec![
        Step::Defer,
        Step::Intend,
        Step::Next,
        Step::Next,
        Step::TakeOver,
        Step::GiveBack,
        Step::Die,
    ]);
    (0..PROCESSES, prop_oneof![2 => plain, 1 => ticketed])
}

/// One process's two outboxes, and the tickets of both for the same records, the oldest first.
struct Process {
    real: Outbox,
    simulated: usize,
    tickets: Vec<(Ticket, Ticket)>,
}

fn real(folder: &std::path::Path) -> Outbox {
    let outbox = Outbox::default();
    outbox.add_folder(folder);
    outbox
}

/// The time at which a record was made, which identifies it here.
fn moment(work: &Work) -> i64 {
    match work {
        Work::Keys(what) => what.at_ns,
        Work::Everything { at_ns, .. } => *at_ns,
    }
}

/// The answer without tickets. Files are taken over in no fixed order, so their records have none
/// either.
fn told(got: &OutboxGot) -> String {
    match got {
        OutboxGot::Next(records) => {
            let mut moments: Vec<i64> = records.iter().map(|(_, work)| moment(work)).collect();
            moments.sort_unstable();
            format!("{moments:?}")
        }
        OutboxGot::TakenOver(files) => format!("taken over: {}", *files > 0),
        OutboxGot::Kept(_) => "kept".to_owned(),
        OutboxGot::Left(left) => format!("{left} left"),
        OutboxGot::Nothing => "nothing".to_owned(),
    }
}

/// Both tickets of each record in both answers.
fn pairs(real: &OutboxGot, simulated: &OutboxGot) -> Vec<(Ticket, Ticket)> {
    match (real, simulated) {
        (OutboxGot::Kept(one), OutboxGot::Kept(other)) => vec![(*one, *other)],
        (OutboxGot::Next(ones), OutboxGot::Next(others)) => {
            let by_moment = others.iter().map(|(ticket, work)| (moment(work), *ticket));
            let by_moment: BTreeMap<i64, Ticket> = by_moment.collect();
            let both = ones
                .iter()
                .map(|(ticket, work)| (*ticket, by_moment[&moment(work)]));
            both.collect()
        }
        _ => Vec::new(),
    }
}

/// Performs these steps of these processes on both; the answers must be the same each time.
fn compare(steps: Vec<(usize, Step)>) -> Result<(), TestCaseError> {
    let home = tempfile::tempdir().unwrap();
    let mut outboxes = SimOutboxes::default();
    let mut processes: Vec<Process> = (0..PROCESSES)
        .map(|simulated| Process {
            real: real(home.path()),
            simulated,
            tickets: Vec::new(),
        })
        .collect();
    let mut next_process = PROCESSES;
    for (n, (who, step)) in steps.into_iter().enumerate() {
        let process = &mut processes[who];
        let what = Invalidation {
            entries: Vec::new(),
            raises: Vec::new(),
            release: None,
            params: Params::new(),
            at_ns: n as i64,
        };
        let ticket = |back: usize| {
            let at = process.tickets.len().checked_sub(back + 1)?;
            Some(process.tickets[at])
        };
        let (real_action, simulated_action) = match step {
            Step::Die => {
                process.real = real(home.path());
                outboxes.die(process.simulated);
                process.simulated = next_process;
                process.tickets.clear();
                next_process += 1;
                continue;
            }
            Step::Defer => (OutboxAction::Defer(what.clone()), OutboxAction::Defer(what)),
            Step::Intend => (
                OutboxAction::Intend(what.clone()),
                OutboxAction::Intend(what),
            ),
            Step::Next => (OutboxAction::Next(None), OutboxAction::Next(None)),
            Step::TakeOver => (OutboxAction::TakeOver, OutboxAction::TakeOver),
            Step::GiveBack => (OutboxAction::GiveBack, OutboxAction::GiveBack),
            Step::Ripen(back) => match ticket(back) {
                Some((one, other)) => (OutboxAction::Ripen(one), OutboxAction::Ripen(other)),
                None => continue,
            },
            Step::Retire(back) => match ticket(back) {
                Some((one, other)) => (OutboxAction::Retire(one), OutboxAction::Retire(other)),
                None => continue,
            },
        };
        let real = process.real.perform(&real_action).unwrap();
        let simulated = outboxes
            .perform(process.simulated, &simulated_action)
            .unwrap();
        prop_assert_eq!(
            told(&real),
            told(&simulated),
            "step {}: {} {:?}",
            n,
            who,
            step
        );
        process.tickets.extend(pairs(&real, &simulated));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn they_answer_what_the_real_ones_answer(steps in proptest::collection::vec(step(), 1..40)) {
        compare(steps)?;
    }
}

/// Records of two files may have the same number.
#[test]
fn a_ticket_of_a_file_that_was_taken_over_says_nothing_about_an_own_record() {
    let taken_over = [
        (0, Step::Defer),
        (0, Step::Defer),
        (0, Step::Defer),
        (0, Step::Die),
        (0, Step::Defer),
        (1, Step::TakeOver),
        (1, Step::Next),
        (1, Step::Intend),
    ];
    for about in [Step::Ripen(3), Step::Retire(3)] {
        let then = [(1, about), (1, Step::Next), (1, Step::GiveBack)];
        compare(taken_over.into_iter().chain(then).collect()).unwrap();
    }
}
