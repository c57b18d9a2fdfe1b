//! Replays the outbox's records on the server.

use super::run::{Io, Run, mismatch};
use crate::{
    disk::{Invalidation, OutboxAction, OutboxGot, Ticket, Work},
    model::{Entry, Error, Lock, Result, error::Kind, limits},
    op::{Invalidate, Raise, Space},
    rules::Params,
};
use std::sync::Arc;

/// The result of a replay.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let replayed = cache.replay_outbox()?;
/// assert_eq!((replayed.records, replayed.left), (0, 0));
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Replayed {
    /// Records that the server acknowledged; they were removed from the outbox.
    pub records: u64,
    /// Records that remain: the server is unreachable or refused them, or these rules have no
    /// template for their params. Records of other processes that live are not counted.
    pub left: u64,
    /// Why the first of those was left, or why the replay ended early.
    pub cause: Option<Error>,
}

/// The server's key space, and how to expand params.
#[derive(Clone)]
pub(crate) struct How {
    pub(crate) space: Space,
    pub(crate) expand: Expand,
}

/// Every entry that these params can name, in parts; empty if the rules have no template for them.
pub(crate) type Expand = Arc<dyn Fn(&Params) -> Vec<Vec<Entry>> + Send + Sync>;

/// Only deletes and releases, so it may run twice, and after newer commits. A record is retired
/// only once the server has acknowledged all of it.
pub(crate) fn replay(how: How) -> Run<Replayed> {
    Run::new(|io| async move {
        let done = all(&io, &how).await;
        match io.outbox(OutboxAction::GiveBack).await? {
            OutboxGot::Left(left) => Ok(Replayed { left, ..done? }),
            _ => Err(mismatch("the outbox")),
        }
    })
}

async fn all(io: &Io, how: &How) -> Result<Replayed> {
    let mut done = Replayed::default();
    let mut after = None;
    for _ in 0..limits::REPLAY_ROUNDS {
        let records = next(io, after).await?;
        if records.is_empty() && !take_over(io).await? {
            break;
        }
        for (ticket, work) in records {
            after = Some(ticket);
            match bring(io, work, how).await {
                Ok(()) => {
                    io.outbox(OutboxAction::Retire(ticket)).await?;
                    done.records += 1;
                }
                Err(cause) => {
                    let away = cause.is_unavailable();
                    done.cause.get_or_insert(cause);
                    if away {
                        return Ok(done);
                    }
                }
            }
        }
    }
    Ok(done)
}

async fn next(io: &Io, after: Option<Ticket>) -> Result<Vec<(Ticket, Work)>> {
    match io.outbox(OutboxAction::Next(after)).await? {
        OutboxGot::Next(records) => Ok(records),
        _ => Err(mismatch("the outbox")),
    }
}

async fn take_over(io: &Io) -> Result<bool> {
    match io.outbox(OutboxAction::TakeOver).await? {
        OutboxGot::TakenOver(files) => Ok(files > 0),
        _ => Err(mismatch("the outbox")),
    }
}

async fn bring(io: &Io, work: Work, how: &How) -> Result<()> {
    match work {
        Work::Keys(what) => {
            for step in steps(how.space, what) {
                delete(io, step).await?;
            }
        }
        Work::Everything { params, .. } => {
            let all = (how.expand)(&params);
            if all.is_empty() {
                return Err(Error::new(Kind::Outbox(
                    "has a record of everything with some params, for which these rules have no template".to_owned(),
                )));
            }
            for entries in all {
                let what = Invalidation::of(entries, params.clone(), 0);
                for step in steps(how.space, what) {
                    delete(io, step).await?;
                }
            }
        }
    }
    Ok(())
}

/// Divides it into steps that this server can run without making others wait. The lock is released
/// with the last one: once it is free, nothing stale may be left.
fn steps(space: Space, what: Invalidation) -> Vec<Invalidate> {
    let Invalidation {
        entries,
        raises,
        release,
        ..
    } = what;
    let meets = |lock: &Lock, entry: &Entry| space.meet(&lock.key, &entry.value).is_ok();
    let mut parts = space.divide(entries, |entry| &entry.value);
    if let Some(lock) = &release {
        parts.sort_by_key(|part| meets(lock, &part[0]));
    }
    let parts = parts
        .iter()
        .flat_map(|part| part.chunks(limits::REPLAY_KEYS));
    let mut steps: Vec<Invalidate> = parts
        .map(|part| {
            let is_here = |raise: &&Raise| part.iter().any(|entry| entry.value == raise.value);
            Invalidate {
                entries: part.to_vec(),
                raises: raises.iter().filter(is_here).cloned().collect(),
                token: String::new(),
                release: None,
            }
        })
        .collect();
    match (release, steps.last_mut()) {
        (None, _) => {}
        (Some(lock), Some(last)) if meets(&lock, &last.entries[0]) => last.release = Some(lock),
        (release, _) => steps.push(Invalidate {
            entries: Vec::new(),
            raises: Vec::new(),
            token: String::new(),
            release,
        }),
    }
    steps
}

async fn delete(io: &Io, asked: Invalidate) -> Result<()> {
    match io.server(asked).await {
        Ok(_) => Ok(()),
        Err(fault) => Err(fault.into_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        op::{Fault, InvalidateReply, Op, Reply},
        protocol::{Action, Answer, Now, Step},
    };

    fn entry(n: usize) -> Entry {
        Entry {
            value: format!("v{n}").into(),
            leases: "l".into(),
        }
    }

    fn ticket(id: u64) -> Ticket {
        Ticket::own(id)
    }

    /// Plays an outbox with these records and a server that gives these answers, then `Ok`; returns
    /// the result and the actions.
    fn play(work: Vec<Work>, expand: Expand, answers: Vec<Error>) -> (Replayed, Vec<Action>) {
        let mut records: Vec<_> = (1..).map(ticket).zip(work).collect();
        let mut answers = answers.into_iter();
        let how = How {
            space: Space::Whole,
            expand,
        };
        let (mut run, mut answer, mut asked) = (replay(how), None, Vec::new());
        loop {
            let action = match run.resume(answer.take(), Now::default()) {
                Step::Done(done) => return (done.expect("no bug"), asked),
                Step::Do(action) => action,
            };
            answer = Some(match &action {
                Action::Server(_) => Answer::Server(match answers.next() {
                    Some(e) => Err(Fault::NotDone(e)),
                    None => Ok(Reply::Invalidate(InvalidateReply::Removed(1))),
                }),
                Action::Outbox(asked) => Answer::Outbox(Ok(match asked {
                    OutboxAction::Next(after) => OutboxGot::Next(
                        records
                            .iter()
                            .filter(|(t, _)| Some(*t) > *after)
                            .cloned()
                            .collect(),
                    ),
                    OutboxAction::TakeOver => OutboxGot::TakenOver(0),
                    OutboxAction::GiveBack => OutboxGot::Left(records.len() as u64),
                    OutboxAction::Retire(done) => {
                        records.retain(|(ticket, _)| ticket != done);
                        OutboxGot::Nothing
                    }
                    other => panic!("{other:?}"),
                })),
                other => panic!("{other:?}"),
            });
            asked.push(action);
        }
    }

    fn keys(count: usize, lock: Option<&str>) -> Work {
        Work::Keys(Invalidation {
            entries: (0..count).map(entry).collect(),
            raises: Vec::new(),
            release: lock.map(|key| Lock {
                key: key.to_owned(),
                value: "mine".to_owned(),
            }),
            params: Params::new(),
            at_ns: 0,
        })
    }

    fn nothing() -> Expand {
        Arc::new(|_| Vec::new())
    }

    /// For each step on the server: how many keys it deletes, and whether it releases a lock.
    fn steps(asked: &[Action]) -> Vec<(usize, bool)> {
        let op = |action: &Action| match action {
            Action::Server(Op::Invalidate(op)) => Some((op.entries.len(), op.release.is_some())),
            _ => None,
        };
        asked.iter().filter_map(op).collect()
    }

    fn retired(asked: &[Action]) -> usize {
        let is = |a: &&Action| matches!(a, Action::Outbox(OutboxAction::Retire(_)));
        asked.iter().filter(is).count()
    }

    #[test]
    fn keys_go_in_parts_and_the_lock_with_the_last() {
        let most = limits::REPLAY_KEYS;
        let work = vec![
            keys(2 * most + 1, Some("k")),
            keys(most, None),
            keys(0, Some("k")),
        ];
        let (done, asked) = play(work, nothing(), Vec::new());
        assert_eq!(
            steps(&asked),
            [
                (most, false),
                (most, false),
                (1, true),
                (most, false),
                (0, true)
            ]
        );
        assert_eq!((done.records, done.left, retired(&asked)), (3, 0, 3));
    }

    #[test]
    fn a_record_is_retired_only_once_all_of_it_is_done() {
        let away = Error::new(Kind::Unavailable {
            message: "gone".to_owned(),
        });
        let work = vec![keys(2 * limits::REPLAY_KEYS, None), keys(1, None)];
        let (done, asked) = play(work.clone(), nothing(), vec![away]);
        assert_eq!((steps(&asked).len(), retired(&asked)), (1, 0));
        assert_eq!((done.records, done.left), (0, 2));
        assert!(done.cause.is_some_and(|e| e.is_unavailable()));

        // A record that the server refuses does not hold up the others.
        let refused = Error::new(Kind::Server {
            message: "NOPERM".to_owned(),
        });
        let (done, asked) = play(work, nothing(), vec![refused]);
        assert_eq!((done.records, done.left, retired(&asked)), (1, 1, 1));
        assert!(done.cause.is_some_and(|e| e.is_server()));
    }

    #[test]
    fn a_record_of_everything_needs_rules_that_have_a_template_for_it() {
        let work = || {
            vec![Work::Everything {
                params: Params::new().with("run", "r"),
                at_ns: 0,
            }]
        };
        let (done, asked) = play(work(), nothing(), Vec::new());
        assert_eq!((done.records, done.left, steps(&asked)), (0, 1, vec![]));
        assert!(done.cause.is_some_and(|e| e.is_outbox()));

        let most = limits::REPLAY_KEYS;
        let all = move |_: &Params| vec![vec![entry(0)], (0..=most).map(entry).collect()];
        let (done, asked) = play(work(), Arc::new(all), Vec::new());
        assert_eq!(steps(&asked), [(1, false), (most, false), (1, false)]);
        assert_eq!((done.records, done.left), (1, 0));
    }

    #[test]
    fn in_a_cluster_each_slot_has_its_steps_and_the_lock_s_own_come_last() {
        let entry = |value: &str| Entry {
            value: value.into(),
            leases: "l".into(),
        };
        let entries = || ["{a}1", "{b}1", "{a}2"].map(entry).to_vec();
        let lock = |key: &str| Lock {
            key: key.to_owned(),
            value: "mine".to_owned(),
        };
        let shape = |release: Option<Lock>| -> Vec<(usize, bool)> {
            let what = Invalidation {
                entries: entries(),
                raises: Vec::new(),
                release,
                params: Params::new(),
                at_ns: 0,
            };
            let steps = super::steps(Space::Slots, what);
            let shape = |step: &Invalidate| (step.entries.len(), step.release.is_some());
            steps.iter().map(shape).collect()
        };
        assert_eq!(shape(None), [(2, false), (1, false)]);
        assert_eq!(shape(Some(lock("{a}:lock"))), [(1, false), (2, true)]);
        assert_eq!(
            shape(Some(lock("{c}:lock"))),
            [(2, false), (1, false), (0, true)]
        );
    }
}
