//! Whole saves, with their files.

use super::saves::range;
use crate::{
    Bench,
    bed::{
        by_hand::ByHand,
        scene::{RUN, Scene, Size, TASK, connect},
        subject::Subject,
    },
    disk_folder,
    report::Table,
    server, servers,
    turns::{self, Figures},
};
use cachetx::{BoxError, Cache, CacheOutcome, Document, Guarantee, Save, Store, testing::Server};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

const SIZES: [Size; 3] = [Size::new(1, 4), Size::new(1, 16), Size::new(32, 16)];
const ROUNDS: usize = 50;
const ROUNDS_IN_MEMORY: usize = 200;
/// A file system in memory, if Linux has one.
const SHARED_MEMORY: &str = "/dev/shm";

#[derive(Serialize, Deserialize)]
pub struct Content {
    saves: u64,
    note: String,
}

impl Content {
    fn of(bytes: usize) -> Self {
        Self {
            saves: 0,
            note: "n".repeat(bytes),
        }
    }
}

/// A document file by hand: read whole, replaced durably.
pub struct DocumentFile {
    folder: PathBuf,
    path: PathBuf,
}

impl DocumentFile {
    fn new(folder: &Path, name: &str) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            path: folder.join(name),
        })
    }

    fn read(&self) -> Result<Content, BoxError> {
        Ok(serde_json::from_slice(&fs::read(&self.path)?)?)
    }

    /// Writes a temporary file, syncs it, renames it and syncs the folder.
    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(&self.folder)?.sync_all()
    }
}

/// The write alone.
struct DurableWrite {
    file: DocumentFile,
    bytes: Vec<u8>,
}

impl Subject for DurableWrite {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        self.file.write(&self.bytes)?;
        step();
        Ok(())
    }
}

/// Locks, reads, changes, writes, commits, unlocks.
pub struct FileByHand {
    by_hand: ByHand,
    file: DocumentFile,
}

impl FileByHand {
    pub fn new(url: &str, root: &Path, scene: &Scene) -> Result<Self, BoxError> {
        let file = DocumentFile::new(&root.join("by_hand").join(RUN), &scene.controller)?;
        file.write(&serde_json::to_vec(&Content::of(scene.size.bytes))?)?;
        Ok(Self {
            by_hand: ByHand::new(url, scene)?,
            file,
        })
    }
}

impl Subject for FileByHand {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        let token = self.by_hand.lock()?;
        let mut content = self.file.read()?;
        content.saves += 1;
        let bytes = serde_json::to_vec(&content)?;
        self.file.write(&bytes)?;
        self.by_hand.commit(&bytes)?;
        self.by_hand.unlock(&token)?;
        step();
        Ok(())
    }
}

/// The same with the library.
pub struct FileByLibrary {
    document: Document<Content>,
    save: Save,
}

impl FileByLibrary {
    pub fn new(store: &Store, scene: &Scene, save: Save) -> Result<Self, BoxError> {
        let document = store.document(RUN, &scene.controller)?;
        if !document.exists()? {
            document.create(&Content::of(scene.size.bytes))?;
        }
        Ok(Self { document, save })
    }
}

impl Subject for FileByLibrary {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        let mut content = self.document.lock()?;
        content.saves += 1;
        let outcome = content.dump_and_unlock_with(self.save.clone());
        match outcome.map_err(cachetx::Error::from)?.cache {
            CacheOutcome::Committed { .. } => step(),
            other => return Err(format!("not committed: {other:?}").into()),
        }
        Ok(())
    }
}

/// `update` of a document that is never locked.
pub struct FileByUpdate(Document<Content>);

impl FileByUpdate {
    pub fn new(cache: &Cache, root: &Path, scene: &Scene) -> Result<Self, BoxError> {
        let store = Store::builder(cache).root(root.join("ours"));
        let document = store.without_locks().open()?;
        let document = document.document(RUN, &scene.updated[0])?;
        document.create(&Content::of(scene.size.bytes))?;
        Ok(Self(document))
    }
}

impl Subject for FileByUpdate {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        let change = |content: &mut Content| {
            content.saves += 1;
            Ok(())
        };
        match self.0.update([TASK], change)?.1.cache {
            CacheOutcome::Committed { .. } => step(),
            other => return Err(format!("not committed: {other:?}").into()),
        }
        Ok(())
    }
}

/// A store below `root`, and its cache.
pub fn store(url: &str, root: &Path, scene: &Scene) -> Result<(Cache, Store), BoxError> {
    let cache = crate::bed::library::cache(url, scene)?;
    let store = Store::builder(&cache).root(root.join("ours")).open()?;
    Ok((cache, store))
}

fn with_task() -> Save {
    Save::new().tasks([TASK])
}

/// By hand, with the library, with the library without a task, with `update`, and the write alone;
/// in turns.
fn measure(
    server: &Server,
    root: &Path,
    size: Size,
    rounds: usize,
) -> Result<Vec<Figures>, BoxError> {
    let folder = tempfile::tempdir_in(root)?;
    let (root, url) = (folder.path(), server.unix_url());
    let scene = Scene::new(size)?;
    let (cache, store) = store(&url, root, &scene)?;
    let write = DurableWrite {
        file: DocumentFile::new(&root.join("bare"), "document")?,
        bytes: serde_json::to_vec(&Content::of(size.bytes))?,
    };
    let mut subjects: [Box<dyn Subject>; 5] = [
        Box::new(FileByHand::new(&url, root, &scene)?),
        Box::new(FileByLibrary::new(&store, &scene, with_task())?),
        Box::new(FileByLibrary::new(&store, &scene, Save::new())?),
        Box::new(FileByUpdate::new(&cache, root, &scene)?),
        Box::new(write),
    ];
    turns::saves(&mut connect(&url)?, &scene, &mut subjects, rounds)
}

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Whole saves",
        "Lock, read, parse, change, serialize, write durably, commit, unlock. By hand: the flow by hand around a file that is read, and \
         replaced by a temporary file, fsync, rename, fsync of the folder; *durable write* is that write alone. *Without tasks* is \
         `dump_and_unlock`, which deletes no dependents; *with to without* is the ratio of the whole save to it. *Update* is `update()` of a \
         store without locks.",
    );
    let mut table = Table::new(&[
        "files",
        "server",
        "cores",
        "value",
        "dependents",
        "by hand, us",
        "whole save, us",
        "ratio",
        "without tasks, us",
        "with to without",
        "update, us",
        "ratio",
        "durable write, us",
        "ratio",
    ]);
    let disk = disk_folder();
    let memory = Path::new(SHARED_MEMORY);
    let mut places = vec![("on disk", disk.as_path(), ROUNDS)];
    if memory.is_dir() {
        places.push(("in memory", memory, ROUNDS_IN_MEMORY));
    }
    for (place, root, rounds) in places {
        let (mut to_by_hand, mut to_without, mut updates) = (Vec::new(), Vec::new(), Vec::new());
        for binary in servers() {
            let server = bench.start(binary)?;
            for cores in bench.cores.placements() {
                bench.cores.place(&server, cores)?;
                for size in SIZES {
                    let found = measure(&server, root, size, bench.rounds(rounds))?;
                    let [by_hand, save, without, update, write] = &found[..] else {
                        return Err("five were measured".into());
                    };
                    let with = save.to(without);
                    to_by_hand.push(save.ratio.median());
                    updates.push(update.ratio.median());
                    if size.dependents == 16 && size.bytes == 1 << 10 {
                        to_without.push(with.median());
                    }
                    table.row([
                        place.to_owned(),
                        binary.to_string(),
                        cores.to_string(),
                        format!("{} KiB", size.bytes >> 10),
                        size.dependents.to_string(),
                        format!("{:.0}", by_hand.median),
                        format!("{:.0}", save.median),
                        save.ratio.to_string(),
                        format!("{:.0}", without.median),
                        with.to_string(),
                        format!("{:.0}", update.median),
                        update.ratio.to_string(),
                        format!("{:.0}", write.median),
                        write.ratio.to_string(),
                    ]);
                }
            }
        }
        let figures = [
            (
                format!("whole save against by hand, files {place}"),
                to_by_hand,
            ),
            (
                format!("`update` without locks against by hand, files {place}"),
                updates,
            ),
            (
                format!(
                    "`dump_and_unlock_with_transaction` of 16 dependents against `dump_and_unlock`, files {place}"
                ),
                to_without,
            ),
        ];
        for (what, medians) in figures {
            let range = range(medians.into_iter()).unwrap_or_default();
            bench.report.headline(what, range);
        }
    }
    bench.report.table(&table);
    Ok(())
}

pub fn guarantees(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "A crash-safe save",
        "`Guarantee::CrashSafe`, the whole save on disk, to the default: one more round trip and one more fsync, of the outbox.",
    );
    let mut table = Table::new(&[
        "server",
        "cores",
        "value",
        "dependents",
        "default, us",
        "crash-safe, us",
        "ratio",
    ]);
    for binary in servers() {
        let server = bench.start(binary)?;
        for cores in bench.cores.placements() {
            bench.cores.place(&server, cores)?;
            for size in SIZES {
                let folder = tempfile::tempdir_in(disk_folder())?;
                let (scene, url) = (Scene::new(size)?, server.unix_url());
                let (_, store) = store(&url, folder.path(), &scene)?;
                let safe = with_task().guarantee(Guarantee::CrashSafe);
                let mut subjects: [Box<dyn Subject>; 2] = [
                    Box::new(FileByLibrary::new(&store, &scene, with_task())?),
                    Box::new(FileByLibrary::new(&store, &scene, safe)?),
                ];
                let rounds = bench.rounds(ROUNDS);
                let found = turns::saves(&mut connect(&url)?, &scene, &mut subjects, rounds)?;
                table.row([
                    binary.to_string(),
                    cores.to_string(),
                    format!("{} KiB", size.bytes >> 10),
                    size.dependents.to_string(),
                    format!("{:.0}", found[0].median),
                    format!("{:.0}", found[1].median),
                    found[1].ratio.to_string(),
                ]);
            }
        }
    }
    bench.report.table(&table);
    Ok(())
}

/// Other files in a run's folder.
const CROWD: usize = 100_000;
const CROWD_ROUNDS: usize = 200;

pub fn crowd(bench: &mut Bench) -> Result<(), BoxError> {
    let files = if bench.is_long() { CROWD } else { 10 };
    bench.report.section(
        "Beside many files",
        &format!("The whole save on disk, in a folder with {files} other files, to one in a folder with none."),
    );
    let server = bench.start(server()?)?;
    let folder = tempfile::tempdir_in(disk_folder())?;
    let (scene, url) = (Scene::new(SIZES[0])?, server.unix_url());
    let (_empty, empty) = store(&url, &folder.path().join("empty"), &scene)?;
    let (_crowded, crowded) = store(&url, &folder.path().join("crowded"), &scene)?;
    let mut subjects: [Box<dyn Subject>; 2] = [
        Box::new(FileByLibrary::new(&empty, &scene, with_task())?),
        Box::new(FileByLibrary::new(&crowded, &scene, with_task())?),
    ];
    let crowd = folder.path().join("crowded/ours").join(RUN);
    for n in 0..files {
        File::create(crowd.join(format!("hillslope_{n:06}.dat")))?;
    }
    // What was just made must not be written back between the saves.
    File::open(&crowd)?.sync_all()?;
    let rounds = bench.rounds(CROWD_ROUNDS);
    let found = turns::saves(&mut connect(&url)?, &scene, &mut subjects, rounds)?;
    let mut table = Table::new(&["alone, us", "beside many, us", "ratio"]);
    table.row([
        format!("{:.0}", found[0].median),
        format!("{:.0}", found[1].median),
        found[1].ratio.to_string(),
    ]);
    bench.report.table(&table);
    Ok(())
}
