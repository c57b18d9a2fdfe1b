//! A disk on which any one action fails, which real disks cannot be made to do.

use super::*;
use crate::{
    disk::{Folder, Got, Journal, Known, Version},
    model::{Effect, Lock, error::io_error, limits},
    op::{CommitReply, InvalidateReply, Op, PrepareReply, Reply},
    protocol::{Action, Answer, Expires, Now, Run, run, save::Right},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

const BEFORE: Stamp = Stamp {
    mtime_ns: 1,
    size: 2,
    inode: 3,
};

const IDENTITY: Identity = Identity {
    stamp: BEFORE,
    changed_ns: 0,
    tick_ns: limits::COARSE_TICK_NS,
};

#[derive(Default)]
struct Disk {
    renamed: BTreeSet<Place>,
    temps: BTreeSet<Place>,
    sidecars: BTreeMap<Place, Sidecar>,
    locked: BTreeSet<Place>,
    /// Whether the journal exists; its content, if it is written.
    journal: Option<Option<Journal>>,
    actions: Vec<String>,
    /// Whether folders cannot be synced.
    not_syncable: bool,
}

impl Disk {
    fn act(&mut self, place: &Place, action: &FileAction) -> Got {
        match action {
            FileAction::SyncFolder | FileAction::SyncRoot if self.not_syncable => {
                return Got::NotSyncable;
            }
            FileAction::LookAtFolder => return Got::Folder(Folder::Writable),
            FileAction::Stat => return Got::Identity(Some(IDENTITY)),
            FileAction::StampTemp { mtime_ns } => {
                return Got::Stamp(Some(Stamp {
                    mtime_ns: *mtime_ns,
                    ..BEFORE
                }));
            }
            FileAction::WriteTemp(_) => {
                self.temps.insert(place.clone());
                return Got::Temp("0123456789abcdef".to_owned());
            }
            FileAction::DiscardTemp => drop(self.temps.remove(place)),
            FileAction::LockSidecar => {
                assert!(self.locked.insert(place.clone()), "locked twice");
                let sidecar = self.sidecars.get(place).copied();
                return Got::Sidecar(sidecar.unwrap_or_default());
            }
            FileAction::UnlockSidecar => drop(self.locked.remove(place)),
            FileAction::WriteSidecar(content) => {
                assert!(self.locked.contains(place), "written without its lock");
                self.sidecars.insert(place.clone(), *content);
            }
            FileAction::MakeJournal => self.journal = Some(None),
            FileAction::WriteJournal { journal, .. } => self.journal = Some(Some(journal.clone())),
            FileAction::RemoveJournal => self.journal = None,
            FileAction::Rename { .. } => {
                self.temps.remove(place);
                self.renamed.insert(place.clone());
            }
            _ => {}
        }
        Got::Nothing
    }

    fn named(&self) -> usize {
        let names = self.sidecars.values().filter(|it| it.journal.is_some());
        names.count()
    }
}

fn plan(guarantee: Guarantee) -> Plan {
    let member = |file: &str| Member {
        document: format!("run/{file}"),
        place: Place {
            folder: "run".into(),
            file: file.into(),
        },
        bytes: Arc::from(*b"{}"),
        own: Entry {
            value: file.into(),
            leases: "leases".into(),
        },
        ttl_ms: 1,
        dependents: Spread::default(),
        params: Params::new(),
        writer: Writer {
            right: Right::Lock {
                lock: Lock {
                    key: format!("{file}:lock"),
                    value: "me".to_owned(),
                },
                fence: 7,
                expires: Expires::at(Duration::from_secs(1)),
            },
            read: Some(Known {
                version: Version::seen(&IDENTITY, true),
                bytes: Arc::from(*b"{}"),
            }),
            last_mtime_ns: BEFORE.mtime_ns,
        },
    };
    Plan {
        members: ["a", "b", "c"].map(member).into(),
        steps: vec![vec![0, 1, 2]],
        id: "id".to_owned(),
        journal: JournalId::parse("00000000000000aa").unwrap(),
        wait: None,
        guarantee,
        mark_ttl: Duration::from_secs(1),
        patience: Duration::ZERO,
    }
}

/// Runs it; the actions with these numbers fail.
fn run_failing_at(run: Run<Grouped>, failing: &[usize]) -> (Result<Grouped, Error>, Disk) {
    run_on(Disk::default(), run, failing)
}

fn run_on(
    mut disk: Disk,
    mut run: Run<Grouped>,
    failing: &[usize],
) -> (Result<Grouped, Error>, Disk) {
    let mut answer = None;
    loop {
        let action = match run.resume(answer.take(), Now::default()) {
            run::Step::Done(done) => return (done, disk),
            run::Step::Do(action) => action,
        };
        let fails = failing.contains(&disk.actions.len());
        disk.actions.push(action.name());
        answer = Some(match action {
            Action::Disk(..) if fails => {
                let broken = io::Error::other("broken");
                Answer::Disk(Err(io_error(Path::new("disk"), "use", broken)))
            }
            Action::Disk(place, action) => Answer::Disk(Ok(disk.act(&place, &action))),
            Action::Server(op) => Answer::Server(Ok(match op {
                Op::Prepare(_) => Reply::Prepare(PrepareReply::Done),
                Op::Invalidate(_) => Reply::Invalidate(InvalidateReply::Removed(0)),
                _ => Reply::Commit(CommitReply::Committed { removed: 0 }),
            })),
            other => panic!("not asked for here: {other:?}"),
        });
    }
}

/// The actions of a run in which nothing fails, and the number of its commit point.
fn whole(guarantee: Guarantee) -> (Vec<String>, usize) {
    let (done, disk) = run_failing_at(group(plan(guarantee)), &[]);
    assert_eq!(done.unwrap().outcome.durability, Durability::Synced);
    assert_eq!(
        (disk.renamed.len(), disk.named(), disk.locked.len()),
        (3, 0, 0)
    );
    assert!(disk.temps.is_empty() && disk.journal.is_none());
    let commit_point = disk.actions.iter().position(|it| it == "disk.sync-journal");
    (disk.actions, commit_point.unwrap())
}

#[test]
fn a_failure_up_to_the_commit_point_takes_everything_back() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let (actions, commit_point) = whole(guarantee);
        let on_disk = |n: &usize| actions[*n].starts_with("disk");
        for n in (0..=commit_point).filter(on_disk) {
            let (done, disk) = run_failing_at(group(plan(guarantee)), &[n]);
            let at = format!("{} fails, the {n}th of {:?}", actions[n], disk.actions);
            let error = done.expect_err(&at);
            assert_eq!(error.effect(), Effect::None, "{at}");
            assert_eq!((disk.renamed.len(), disk.temps.len()), (0, 0), "{at}");
            assert_eq!((disk.named(), disk.locked.len()), (0, 0), "{at}");
            assert!(disk.journal.is_none(), "{at}");
        }
    }
}

#[test]
fn a_failure_after_it_fails_nothing_and_keeps_the_journal_where_a_file_may_not_be_there() {
    let (actions, commit_point) = whole(Guarantee::BestEffort);
    let mut kept = 0;
    let after = commit_point + 1..actions.len();
    for n in after.filter(|n| actions[*n].starts_with("disk")) {
        let (done, disk) = run_failing_at(group(plan(Guarantee::BestEffort)), &[n]);
        let at = format!("{} fails, the {n}th of {:?}", actions[n], disk.actions);
        let durability = done.expect(&at).outcome.durability;
        let expected = match &*actions[n] {
            "disk.rename" => Durability::Journalled,
            "disk.sync-folder" => Durability::Unknown,
            _ => Durability::Synced,
        };
        assert_eq!(durability, expected, "{at}");
        if expected == Durability::Synced {
            assert_eq!(disk.renamed.len(), 3, "{at}");
        } else {
            kept += 1;
            let journal = disk.journal.clone().flatten().expect("whole");
            assert_eq!((journal.members.len(), disk.named()), (3, 3), "{at}");
            let swept = disk.actions.iter().any(|it| it == "disk.sweep");
            assert!(!swept, "{at}: its temporary files are still needed");
        }
    }
    assert_eq!(kept, 4, "three renames and the folder");
}

#[test]
fn a_journal_that_may_come_back_is_no_error_without_effect() {
    let (_, commit_point) = whole(Guarantee::BestEffort);
    // The journal's own sync, and the folder's sync after its removal.
    let failing = [commit_point, commit_point + 2];
    let (done, disk) = run_failing_at(group(plan(Guarantee::BestEffort)), &failing);
    assert_eq!(disk.actions[failing[1]], "disk.sync-folder");
    assert_eq!(done.expect_err("it failed").effect(), Effect::Unknown);
    assert!(disk.renamed.is_empty() && disk.temps.is_empty());
}

#[test]
fn where_folders_cannot_be_synced_it_goes_through_and_nothing_is_certain() {
    let disk = || Disk {
        not_syncable: true,
        ..Disk::default()
    };
    let (_, commit_point) = whole(Guarantee::BestEffort);
    let (done, left) = run_on(disk(), group(plan(Guarantee::BestEffort)), &[]);
    let done = done.expect("it goes through").outcome.durability;
    assert_eq!((done, left.renamed.len()), (Durability::Unknown, 3));
    assert!(
        left.journal.is_none() && left.named() == 0,
        "nobody could finish it better"
    );

    let failing = [commit_point];
    let (done, left) = run_on(disk(), group(plan(Guarantee::BestEffort)), &failing);
    assert_eq!(done.expect_err("it failed").effect(), Effect::Unknown);
    assert!(left.journal.is_none() && left.renamed.is_empty());
}
