//! Whether two sides did the same.

use super::{
    side::{Dump, Served, Side},
    step::Step,
};
use crate::{
    engine::memory::Content,
    model::Bytes,
    op::{AcquireReply, Fault, HoldersReply, LeaseReply, ReadReply, Reply},
};
use std::time::{Duration, Instant};

/// A server uses the wall clock, this test a clock that nobody sets.
pub(in super::super) const CLOCKS: Duration = Duration::from_secs(1);

/// Runs the steps on both sides and reports where they differ.
pub(in super::super) fn agree(
    served: &mut Served,
    model: &mut impl Side,
    steps: &[Step],
) -> Result<(), String> {
    let start = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        let (expected, reply) = (model.take(step), served.take(step));
        let (mut keys, mut dump) = (model.dump(), served.dump());
        relative(&mut keys, || model.now_ms());
        relative(&mut dump, || served.now_ms());
        // The model's clock stands still while the server's runs: lives there are shorter by the
        // time that the test has taken.
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
        // Each engine words its errors itself.
        (Some(Err(Fault::NotDone(expected))), Some(Err(Fault::NotDone(error)))) => {
            expected.is_server() && error.is_server() && expected.effect() == error.effect()
        }
        (None, None) => true,
        _ => false,
    }
}

/// Replaces the ends of leases and marks by how much longer they live.
fn relative(dump: &mut Dump, now_ms: impl FnOnce() -> u64) {
    let hashes: Vec<_> = dump
        .values_mut()
        .filter_map(|(content, _)| match content {
            Content::Hash(fields) => Some(fields),
            Content::Text(_) => None,
        })
        .collect();
    if hashes.is_empty() {
        return;
    }
    let now_ms = now_ms();
    for text in hashes.into_iter().flat_map(|fields| fields.values_mut()) {
        if let Some(flights) = split(text) {
            let left =
                |(owner, ends): (&str, u64)| format!("{owner}:{}", ends.saturating_sub(now_ms));
            let flights: Vec<_> = flights.into_iter().map(left).collect();
            *text = flights.join(" ").into_bytes().into();
        }
    }
}

/// The owners of a lease or of marks.
pub(in super::super) fn owners(text: &Bytes) -> Option<Vec<&str>> {
    let flights = split(text)?.into_iter();
    Some(flights.map(|(owner, _)| owner).collect())
}

/// The owners of a lease or of marks, each with its time.
fn split(text: &Bytes) -> Option<Vec<(&str, u64)>> {
    let flights = std::str::from_utf8(text).ok()?.split(' ');
    let flight = |text| -> Option<(&str, u64)> {
        let (owner, time) = str::rsplit_once(text, ':')?;
        let is_flight = owner.starts_with("l:") || owner.starts_with("w:");
        is_flight.then_some((owner, time.parse().ok()?))
    };
    flights.map(flight).collect()
}

fn same_content(expected: &Content, found: &Content, slack: Duration) -> bool {
    let (Content::Hash(expected), Content::Hash(found)) = (expected, found) else {
        return expected == found;
    };
    expected.len() == found.len()
        && std::iter::zip(expected, found).all(|((name, text), (found, other))| {
            let same = match (split(text), split(other)) {
                (Some(flights), Some(others)) => {
                    let same = |((owner, left), (other, time)): ((&str, u64), (&str, u64))| {
                        owner == other && near(Some(left), Some(time), slack)
                    };
                    flights.len() == others.len() && std::iter::zip(flights, others).all(same)
                }
                _ => text == other,
            };
            name == found && same
        })
}

/// Equal, except for the time that a held lock, a lease or an entry has left.
pub(in super::super) fn same_reply(expected: &Reply, reply: &Reply, slack: Duration) -> bool {
    let (expected, expected_ms) = without_left(expected.clone());
    let (reply, left_ms) = without_left(reply.clone());
    let mut lives = std::iter::zip(expected_ms, left_ms);
    expected == reply && lives.all(|(expected, left)| near(expected, left, slack))
}

fn without_left(mut reply: Reply) -> (Reply, Vec<Option<u64>>) {
    let left_ms = match &mut reply {
        Reply::Acquire(AcquireReply::Held { left_ms, .. })
        | Reply::Lease(LeaseReply::Busy { left_ms }) => vec![Some(std::mem::take(left_ms))],
        Reply::Read(ReadReply::Found { left_ms, .. }) => vec![left_ms.take()],
        Reply::Holders(HoldersReply::Found(found)) => {
            let held = found.iter_mut().flatten();
            held.map(|(_, left_ms)| Some(std::mem::take(left_ms)))
                .collect()
        }
        _ => Vec::new(),
    };
    (reply, left_ms)
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
                if !same_content(content, found, slack) {
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
