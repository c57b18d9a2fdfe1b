//! What can be counted exactly: round trips, commands, bytes, allocations, instructions.

use super::{
    callgrind,
    commands::{Commands, Steps},
    scene::{RUN, Scene, Size, connect, params},
    subject::Subject,
    way::Way,
};
use cachetx::{
    BoxError, Cache, Document, FileSystem, Rules, Store,
    testing::{Proxy, Server, Traffic},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    hint::black_box,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The value sizes and numbers of dependents of the counted saves.
pub const SIZES: [Size; 3] = [Size::new(1, 4), Size::new(1, 16), Size::new(32, 16)];
/// The task of nodb.json with the most keys.
const EXPANDED: &str = "project_init";
const HOT_KIB: usize = 32;
/// The number of tries, of which the least counts: a thread's first use of something allocates
/// more.
const TRIES: usize = 5;
/// How long to wait until a file's last change is old enough.
const AGING: Duration = Duration::from_secs(10);

/// What a save sends, receives and has the server do.
pub struct Wire {
    pub traffic: Traffic,
    pub commands: Commands,
}

/// Counts one save over TCP.
pub fn wire(server: &Server, way: Way, size: Size) -> Result<Wire, BoxError> {
    let scene = Scene::new(size)?;
    let proxy = Proxy::start(server.port())?;
    let mut plain = connect(&server.unix_url())?;
    let mut subject = way.open(&proxy.url(), &scene)?;
    let steps = Steps::watch(server, &mut plain, &scene, &mut *subject)?;
    subject.warm(&mut plain, &scene)?;
    proxy.reset();
    subject.save(&mut || {})?;
    Ok(Wire {
        traffic: proxy.traffic(),
        commands: steps.sum(),
    })
}

/// Work of the client whose allocations and instructions are counted.
#[derive(Clone, Copy)]
pub enum Item {
    Save(Way, Size),
    Expansion,
    HotRead,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Save(way, size) => write!(f, "{}, {size}", way.name()),
            Self::Expansion => write!(f, "expansion of {EXPANDED} in rules/nodb.json"),
            Self::HotRead => write!(f, "hot read of {HOT_KIB} KiB"),
        }
    }
}

impl Item {
    pub fn all() -> Vec<Self> {
        let saves = Way::COUNTED
            .into_iter()
            .flat_map(|way| SIZES.map(|size| Self::Save(way, size)));
        saves.chain([Self::Expansion, Self::HotRead]).collect()
    }

    /// Prepares the work and passes it to `measure`, which may run it any number of times.
    fn with<R>(
        self,
        server: &Server,
        measure: impl FnOnce(&mut dyn FnMut()) -> R,
    ) -> Result<R, BoxError> {
        match self {
            Self::Save(way, size) => {
                let scene = Scene::new(size)?;
                let mut subject: Box<dyn Subject> = way.open(&server.unix_url(), &scene)?;
                Ok(measure(&mut || subject.save(&mut || {}).expect("saved")))
            }
            Self::Expansion => {
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/nodb.json");
                let (rules, params) = (Rules::from_path(path)?, params());
                Ok(measure(&mut || {
                    drop(black_box(rules.expand([EXPANDED], black_box(&params))));
                }))
            }
            Self::HotRead => {
                let folder = tempfile::tempdir()?;
                let (document, _) = rows(server, folder.path(), HOT_KIB << 10, 16)?;
                Ok(measure(&mut || {
                    drop(black_box(document.read()).expect("read"));
                }))
            }
        }
    }

    pub fn allocations(self, server: &Server) -> Result<u64, BoxError> {
        self.with(server, |work| {
            work();
            let counts = (0..TRIES).map(|_| allocation_counter::measure(&mut *work).count_total);
            counts.min().unwrap_or_default()
        })
    }

    /// Under valgrind: runs the work once, then counts it.
    pub fn count(self, server: &Server) -> Result<(), BoxError> {
        self.with(server, |work| {
            work();
            callgrind::counted(work);
        })
    }
}

/// Rows of numbers, as in the domain's documents.
#[derive(Serialize, Deserialize)]
pub struct Rows(Vec<Row>);

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    values: [f64; 4],
}

impl Rows {
    fn of(bytes: usize) -> Self {
        let row = |n: usize| Row {
            name: format!("hillslope_{n:05}"),
            values: [0.5, 17.25, n as f64 / 3.0, 1e-6],
        };
        Self((0..bytes.div_ceil(80)).map(row).collect())
    }
}

/// A document of about `bytes` bytes below `root`, in a store with this many snapshots, and its
/// file's bytes.
pub fn rows(
    server: &Server,
    root: &Path,
    bytes: usize,
    snapshots: usize,
) -> Result<(Document<Rows>, Vec<u8>), BoxError> {
    let rules = Rules::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/minimal.json"))?;
    let cache = Cache::builder(rules).url(server.unix_url()).open()?;
    let store = Store::builder(&cache)
        .root(root)
        .file_system(FileSystem::Local)
        .snapshot_entries(snapshots)
        .open()?;
    let document: Document<Rows> = store.document(RUN, "climate")?;
    let path = root.join(RUN).join("climate.nodb");
    if !path.exists() {
        document.create(&Rows::of(bytes))?;
    }
    // A file that was just written is read again: it may still change within a tick of the clock.
    let end = Instant::now() + AGING;
    while snapshots > 0 && cache.stats().reads_from_snapshot == 0 {
        if Instant::now() > end {
            return Err("no read is answered by a snapshot".into());
        }
        document.read()?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok((document, fs::read(path)?))
}
