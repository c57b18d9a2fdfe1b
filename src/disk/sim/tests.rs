//! Compares the simulated disk with the real one: same actions, same answers, same names.

use super::{SimDisk, SimSession};
use crate::{
    disk::{
        FileAction, FileSystem, Got, Identity, Journal, JournalId, READ_ONLY_MARKER, Root, Session,
        Sidecar, journal::Member, sidecar,
    },
    model::{Place, Result, Stamp},
};
use proptest::{prelude::*, sample::select};
use std::{collections::BTreeMap, sync::Arc};

const SESSIONS: usize = 3;
const FOLDER: &str = "run";
const STAMP: Stamp = Stamp {
    mtime_ns: 1,
    size: 2,
    inode: 3,
};

#[derive(Clone, Debug)]
enum Step {
    Act(usize, Place, FileAction),
    /// A writer's first two actions: without the second, the file's time would be by the machine's
    /// clock.
    Write(usize, Place, Vec<u8>, i64),
    /// Over what is there now, or over nothing.
    Rename(usize, Place, bool),
    Unlink(usize, Place, bool),
    /// Another process removes the sidecar.
    LoseSidecar(Place),
    Close(usize),
    MakeReadOnly,
}

fn step() -> impl Strategy<Value = Step> {
    let session = || 0..SESSIONS;
    let place = || {
        select(vec!["a.nodb", "b.nodb"]).prop_map(|file| Place {
            folder: FOLDER.into(),
            file: file.into(),
        })
    };
    let content = || {
        (0..9_u64, 0..9_i64).prop_map(|(fence, mtime_ns)| Sidecar {
            fence,
            mtime_ns,
            journal: None,
        })
    };
    let action = prop_oneof![
        8 => select(vec![
            FileAction::LookAtFolder,
            FileAction::MakeFolder,
            FileAction::SyncRoot,
            FileAction::Stat,
            FileAction::Read,
            FileAction::PeekSidecar,
            FileAction::UnlockSidecar,
            FileAction::SyncSidecar,
            FileAction::SyncTemp,
            FileAction::DiscardTemp,
            FileAction::AskRename,
            FileAction::SyncFolder,
            FileAction::Sweep,
        ]),
        4 => select(vec![
            FileAction::LockSidecar,
            FileAction::LockSidecar,
            FileAction::HoldSidecar,
        ]),
        2 => content().prop_map(FileAction::WriteSidecar),
        1 => (1..9_i64).prop_map(|mtime_ns| FileAction::StampTemp { mtime_ns }),
    ];
    let journal = select(vec![
        FileAction::MakeFolder,
        FileAction::MakeJournal,
        FileAction::MakeJournal,
        FileAction::WriteJournal {
            over: Vec::new(),
            journal: Journal {
                members: vec![Member {
                    place: Place {
                        folder: FOLDER.into(),
                        file: "a.nodb".into(),
                    },
                    temp: "00000000000000aa".to_owned(),
                    before: STAMP,
                    after: STAMP,
                    digest: Some(4),
                }],
                invalidations: Vec::new(),
            },
        },
        FileAction::SyncJournal,
        FileAction::ReadJournal,
        FileAction::LockJournal,
        FileAction::RemoveJournal,
        FileAction::ListJournals,
    ]);
    let id = select(vec!["0000000000000001", "0000000000000002"])
        .prop_map(|digits| JournalId::parse(digits).unwrap().place());
    let bytes = proptest::collection::vec(any::<u8>(), 0..5);
    prop_oneof![
        30 => (session(), place(), action).prop_map(|(who, at, what)| Step::Act(who, at, what)),
        10 => (session(), id, journal).prop_map(|(who, at, what)| Step::Act(who, at, what)),
        10 => (session(), place(), bytes, 1..9_i64)
            .prop_map(|(who, at, bytes, time)| Step::Write(who, at, bytes, time)),
        4 => (session(), place(), prop::bool::weighted(0.8))
            .prop_map(|(who, at, over)| Step::Rename(who, at, over)),
        2 => (session(), place(), prop::bool::weighted(0.8))
            .prop_map(|(who, at, over)| Step::Unlink(who, at, over)),
        1 => place().prop_map(Step::LoseSidecar),
        4 => session().prop_map(Step::Close),
        1 => Just(Step::MakeReadOnly),
    ]
}

/// Both disks, each with the same sessions.
struct Pair {
    home: tempfile::TempDir,
    root: Arc<Root>,
    real: Vec<Session>,
    disk: SimDisk,
    simulated: Vec<SimSession>,
}

impl Pair {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(home.path(), 1_000, FileSystem::Local).unwrap());
        let mut disk = SimDisk::new();
        Self {
            real: (0..SESSIONS).map(|_| Session::new(root.clone())).collect(),
            simulated: (0..SESSIONS).map(|_| disk.session()).collect(),
            home,
            root,
            disk,
        }
    }

    fn act(&mut self, who: usize, place: &Place, action: &FileAction) -> (String, String) {
        let real = self.real[who].perform(place, action);
        let simulated = self.simulated[who].perform(&mut self.disk, place, action, 0);
        (told(real), told(simulated))
    }

    /// An action that expects what each disk has at that moment.
    fn over(
        &mut self,
        who: usize,
        place: &Place,
        now: bool,
        action: fn(Option<Identity>) -> FileAction,
    ) -> (String, String) {
        let identity = |got| match got {
            Ok(Got::Identity(identity)) if now => identity,
            _ => None,
        };
        let real = action(identity(self.real[who].perform(place, &FileAction::Stat)));
        let sessions = &mut self.simulated;
        let mut simulated = |action| sessions[who].perform(&mut self.disk, place, action, 0);
        let seen = action(identity(simulated(&FileAction::Stat)));
        let simulated = told(simulated(&seen));
        (told(self.real[who].perform(place, &real)), simulated)
    }

    fn take(&mut self, step: &Step) -> (String, String) {
        match step {
            Step::Rename(who, place, now) => {
                self.over(*who, place, *now, |over| FileAction::Rename { over })
            }
            Step::Unlink(who, place, now) => {
                self.over(*who, place, *now, |over| FileAction::Unlink { over })
            }
            Step::LoseSidecar(place) => {
                let path = self.home.path().join(&*place.folder);
                let _ = std::fs::remove_file(path.join(sidecar::name(&place.file)));
                self.disk.lose_sidecar(&place.folder, &place.file);
                Default::default()
            }
            Step::Act(who, place, action) => self.act(*who, place, action),
            Step::Write(who, place, bytes, mtime_ns) => {
                let write = FileAction::WriteTemp(bytes.as_slice().into());
                let (real, simulated) = self.act(*who, place, &write);
                let stamp = FileAction::StampTemp {
                    mtime_ns: *mtime_ns,
                };
                let stamped = self.act(*who, place, &stamp);
                (real + &stamped.0, simulated + &stamped.1)
            }
            Step::Close(who) => {
                self.real[*who] = Session::new(self.root.clone());
                let next = self.disk.session();
                std::mem::replace(&mut self.simulated[*who], next).close(&mut self.disk);
                Default::default()
            }
            Step::MakeReadOnly => {
                let folder = self.home.path().join(FOLDER);
                if folder.exists() {
                    std::fs::write(folder.join(READ_ONLY_MARKER), "").unwrap();
                    self.disk.make_read_only(FOLDER);
                }
                Default::default()
            }
        }
    }

    fn names(&self) -> (Vec<String>, Vec<String>) {
        let real = std::fs::read_dir(self.home.path().join(FOLDER));
        let real = real.into_iter().flatten();
        let real = real.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        (
            without_tokens(real),
            without_tokens(self.disk.names(FOLDER)),
        )
    }
}

/// The answer, without the numbers that differ between the disks.
fn told(got: Result<Got>) -> String {
    let numberless = |stamp: Stamp| Stamp { inode: 0, ..stamp };
    match got {
        Ok(Got::Stamp(stamp)) => format!("{:?}", stamp.map(numberless)),
        Ok(Got::Identity(it)) => format!("{:?}", it.map(|it| numberless(it.stamp))),
        Ok(Got::File(it, bytes)) => format!("{:?} {bytes:?}", numberless(it.stamp)),
        Ok(Got::Temp(_)) => "a temporary file".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(_) => "an error".to_owned(),
    }
}

fn without_tokens(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names
        .into_iter()
        .map(|name| match name.strip_suffix(".tmp") {
            Some(rest) => format!("{}.tmp", &rest[..rest.len() - 16]),
            None => name,
        })
        .collect();
    names.sort();
    names
}

proptest! {
    #[test]
    fn it_answers_what_the_real_disk_answers(steps in proptest::collection::vec(step(), 1..60)) {
        let mut pair = Pair::new();
        for (n, step) in steps.iter().enumerate() {
            let (real, simulated) = pair.take(step);
            prop_assert_eq!(real, simulated, "step {}: {:?}", n, step);
            let (real, simulated) = pair.names();
            prop_assert_eq!(real, simulated, "names after step {}: {:?}", n, step);
        }
    }
}

/// A document that was replaced by a rename; returns how many disks a power loss may leave.
fn outcomes(sync_file: bool, sync_folder: bool) -> BTreeMap<String, u32> {
    let mut disk = SimDisk::new();
    let place = Place {
        folder: FOLDER.into(),
        file: "a".into(),
    };
    let mut session = disk.session();
    let mut act = |disk: &mut SimDisk, action: FileAction| {
        session.perform(disk, &place, &action, 0).unwrap();
    };
    for action in [FileAction::MakeFolder, FileAction::SyncRoot] {
        act(&mut disk, action);
    }
    act(&mut disk, FileAction::WriteTemp(b"new!".as_slice().into()));
    if sync_file {
        act(&mut disk, FileAction::SyncTemp);
    }
    act(&mut disk, FileAction::LockSidecar);
    act(&mut disk, FileAction::Rename { over: None });
    if sync_folder {
        act(&mut disk, FileAction::SyncFolder);
    }
    let mut seen = BTreeMap::new();
    // All answers to up to four questions; none here has more than eight possibilities.
    for answers in 0..8_usize.pow(4) {
        let mut rest = answers;
        let mut left = disk.after_power_loss(&mut |n| {
            let chosen = rest % n;
            rest /= 8;
            chosen
        });
        let mut session = left.session();
        let got = session.perform(&mut left, &place, &FileAction::Read, 0);
        let bytes = match got.unwrap() {
            Got::File(_, bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            _ => "missing".to_owned(),
        };
        *seen.entry(bytes).or_default() += 1;
    }
    seen
}

#[test]
fn a_power_loss_keeps_what_was_synced_and_nothing_for_sure_of_the_rest() {
    let kinds = |sync_file, sync_folder| -> Vec<String> {
        outcomes(sync_file, sync_folder).into_keys().collect()
    };
    assert_eq!(kinds(true, true), ["new!"]);
    assert_eq!(kinds(true, false), ["missing", "new!"]);
    assert_eq!(kinds(false, true), ["", "ne", "ne\0\0", "new!"]);
    assert_eq!(kinds(false, false), ["", "missing", "ne", "ne\0\0", "new!"]);
}
