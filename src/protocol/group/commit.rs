//! The commit on the server, and what replaces it on failure.

use super::{Member, Plan, Way};
use crate::{
    disk::Invalidation,
    model::{Error, Stamp},
    op::{Commit, Own},
    protocol::{
        Io,
        defer::defer,
        intent::{Intent, Scope},
        outcome::CacheOutcome,
        save::{Step, ask_to_commit},
        steps::invalidate,
    },
    rules::Params,
};

/// The entries to mark, in the steps that the commits will use.
pub(super) fn scope(plan: &Plan, step: &[usize]) -> Scope {
    let members = || step.iter().map(|n| &plan.members[*n]);
    let here = members().flat_map(|it| std::iter::once(&it.own).chain(&it.dependents.here));
    let elsewhere = members().flat_map(|it| it.dependents.elsewhere.iter().cloned());
    let documents: Vec<&str> = members().map(|it| &*it.document).collect();
    Scope {
        what: documents.join(", "),
        steps: std::iter::once(here.cloned().collect())
            .chain(elsewhere)
            .collect(),
        // Needed for records only.
        raises: Vec::new(),
        // The files decide who may write: marks of a writer that may not are withdrawn with the
        // transaction.
        lock: None,
        release: false,
        // Needed for records only, and there is no record.
        params: Params::new(),
        token: plan.id.clone(),
        mark_ttl: plan.mark_ttl,
    }
}

/// One step for all members, or one per slot; then the dependents in slots of no document.
pub(super) async fn commit(io: &Io, plan: &Plan, way: &Way) -> Step {
    let mut done: Option<Step> = None;
    for (n, step) in plan.steps.iter().enumerate() {
        let marks = way.marks.get(n);
        let members = || step.iter().map(|n| (&plan.members[*n], way.stamps[*n]));
        let own = |(member, stamp): (&Member, Stamp)| Own {
            entry: member.own.clone(),
            bytes: member.bytes.clone(),
            stamp,
            ttl_ms: member.ttl_ms,
            over: None,
        };
        let asked = || Commit {
            id: plan.id.clone(),
            locks: members()
                .filter_map(|(member, _)| member.writer.lock().cloned())
                .collect(),
            own: members().map(own).collect(),
            dependents: members()
                .flat_map(|(it, _)| it.dependents.here.clone())
                .collect(),
            release: true,
            token: marks.map_or_else(String::new, |marks| marks.token().to_owned()),
            wait: plan.wait,
        };
        let mut step = match ask_to_commit(io, asked, plan.patience).await {
            Ok(step) => step,
            Err(cause) => Step::of(without_commit(io, members(), marks, cause).await),
        };
        for (member, _) in members() {
            for entries in member.dependents.elsewhere.clone() {
                let what = Invalidation::of(entries, member.params.clone(), io.now().wall_ns);
                let more = delete_later_at_worst(io, &member.document, what, marks).await;
                step.cache = step.cache.and(more);
            }
        }
        done = Some(match done {
            None => step,
            Some(before) => Step {
                cache: before.cache.and(step.cache),
                lock_lost: before.lock_lost || step.lock_lost,
                // The number of replicas that have all of it.
                replicas: before.replicas.min(step.replicas),
            },
        });
    }
    // There is at least one document, and each is in a step.
    done.unwrap_or_else(|| Step::of(CacheOutcome::Invalidated { removed: 0 }))
}

/// The server did not take a commit. If it answers at all, it may take deletions.
async fn without_commit<'a>(
    io: &Io,
    members: impl Iterator<Item = (&'a Member, Stamp)>,
    marks: Option<&Intent>,
    cause: Error,
) -> CacheOutcome {
    let mut done: Option<CacheOutcome> = None;
    for (member, stamp) in members {
        let entries = std::iter::once(&member.own).chain(&member.dependents.here);
        let what = Invalidation {
            entries: entries.cloned().collect(),
            raises: vec![member.raise(stamp)],
            release: member.writer.lock().cloned(),
            params: member.params.clone(),
            at_ns: io.now().wall_ns,
        };
        let step = match cause.takes_deletions() {
            true => delete_later_at_worst(io, &member.document, what, marks)
                .await
                .with_effect_of(&cause),
            false => defer(io, what, cause.clone(), None).await,
        };
        done = Some(match done {
            None => step,
            Some(before) => before.and(step),
        });
    }
    done.unwrap_or(CacheOutcome::Deferred { cause })
}

async fn delete_later_at_worst(
    io: &Io,
    document: &str,
    what: Invalidation,
    marks: Option<&Intent>,
) -> CacheOutcome {
    let token = marks.map_or("", Intent::token);
    match invalidate(io, document, &what, token).await {
        Ok(removed) => CacheOutcome::Invalidated { removed },
        Err(cause) => defer(io, what, cause, None).await,
    }
}

/// Deletes what the commit would have set, and releases the locks.
pub(super) async fn erase(io: &Io, plan: &Plan, way: &Way) -> Step {
    let mut done = CacheOutcome::Invalidated { removed: 0 };
    for (n, step) in plan.steps.iter().enumerate() {
        let marks = way.marks.get(n);
        for (member, stamp) in step.iter().map(|n| (&plan.members[*n], way.stamps[*n])) {
            for what in member.invalidations(stamp, io.now().wall_ns) {
                let more = delete_later_at_worst(io, &member.document, what, marks).await;
                done = done.and(more);
            }
        }
    }
    Step::of(done)
}
