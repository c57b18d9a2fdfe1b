//! Whether two sides did the same.

use super::{
    side::{Dump, Served, Side},
    step::Step,
};
use crate::op::{AcquireReply, Fault, Reply};
use std::time::{Duration, Instant};

/// A server tells the time by the wall clock, this test by one that nobody sets.
pub(in super::super) const CLOCKS: Duration = Duration::from_secs(1);

/// Takes the steps on both sides; says where they part.
pub(in super::super) fn agree(
    served: &mut Served,
    model: &mut impl Side,
    steps: &[Step],
) -> Result<(), String> {
    let start = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        let (expected, reply) = (model.take(step), served.take(step));
        if let (Step::Operation(operation), Some(Err(_))) = (step, &reply) {
            served.forget_staged(&operation.to_op());
        }
        let (keys, dump) = (model.dump(), served.dump());
        // The model's time stands still while the server's goes on: lives there are shorter by what the test has taken.
        let slack = start.elapsed() + CLOCKS;
        let differ = |what: &str| {
            let name = &served.name;
            format!("{name}: step {} ({step:?}): {what}", index + 1)
        };
        if !same_answer(&expected, &reply, slack) {
            return Err(differ(&format!("{reply:?} in place of {expected:?}")));
        }
        if let Some(what) = difference(&keys, &dump, slack) {
            return Err(differ(&what));
        }
    }
    Ok(())
}

type Answer = Option<Result<Reply, Fault>>;

fn same_answer(expected: &Answer, answer: &Answer, slack: Duration) -> bool {
    match (expected, answer) {
        (Some(Ok(expected)), Some(Ok(reply))) => same_reply(expected, reply, slack),
        // The words are each engine's own.
        (Some(Err(Fault::NotDone(expected))), Some(Err(Fault::NotDone(error)))) => {
            expected.is_server() && error.is_server() && expected.effect() == error.effect()
        }
        (None, None) => true,
        _ => false,
    }
}

/// The same, but for the time that a held lock has left.
pub(in super::super) fn same_reply(expected: &Reply, reply: &Reply, slack: Duration) -> bool {
    let held = |reply: &Reply| match reply {
        Reply::Acquire(AcquireReply::Held { value, left_ms }) => Some((value.clone(), *left_ms)),
        _ => None,
    };
    match (held(expected), held(reply)) {
        (Some((expected, expected_ms)), Some((value, left_ms))) => {
            expected == value && near(Some(expected_ms), Some(left_ms), slack)
        }
        _ => expected == reply,
    }
}

fn near(expected_ms: Option<u64>, left_ms: Option<u64>, slack: Duration) -> bool {
    match (expected_ms, left_ms) {
        (Some(expected), Some(left)) => u128::from(expected.abs_diff(left)) <= slack.as_millis(),
        (expected, left) => expected == left,
    }
}

fn difference(expected: &Dump, found: &Dump, slack: Duration) -> Option<String> {
    for key in expected.keys().chain(found.keys()) {
        match (expected.get(key), found.get(key)) {
            (Some((content, life)), Some((found, left))) => {
                if content != found {
                    return Some(format!("`{key}` holds {found:?} in place of {content:?}"));
                }
                if !near(*life, *left, slack) {
                    return Some(format!("`{key}` lives {left:?} ms in place of {life:?}"));
                }
            }
            (Some(_), None) => return Some(format!("`{key}` is gone")),
            (None, Some(_)) => return Some(format!("`{key}` should be gone")),
            (None, None) => {}
        }
    }
    None
}
