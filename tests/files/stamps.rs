//! Stamps never repeat, however fast the saves and however coarse the file system's times.

use crate::support::{self, Climate, RUN, World};
use cachetx::{Document, Locked, Save, Store};
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const SAVES: u64 = 10_000;

/// Saves fast, and collects every stamp: modification time, size and inode.
fn stamps_of_fast_saves(world: &World, root: &Path) -> (usize, HashSet<(i64, i64)>) {
    let store = Store::builder(world.cache())
        .root(root)
        // One guard for all saves: on a slow machine they take longer than a lock's default life.
        .lock_ttl(Duration::from_secs(3_600))
        .open()
        .expect("a store");
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    document.create(&Climate::of(1)).expect("created");
    let path = root.join(RUN).join("climate.nodb");
    let mut seen = HashSet::new();
    let mut times = HashSet::new();
    let mut held = document.lock().expect("locked");
    let mut last = i128::MIN;
    for n in 0..SAVES {
        held.years = n % 10; // the size never changes
        Locked::dump(&mut held, Save::new()).expect("saved");
        let file = fs::metadata(&path).expect("there");
        let time = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
        assert!(time > last, "save {n} did not move the time forward");
        last = time;
        seen.insert((time, file.size(), file.ino()));
        times.insert((file.mtime(), file.mtime_nsec()));
        if n % 1_000 == 0 {
            assert_eq!(document.read().expect("read").years, n % 10);
        }
    }
    assert_eq!(world_climate(&path), (SAVES - 1) % 10);
    (seen.len(), times)
}

fn world_climate(path: &Path) -> u64 {
    let climate: Climate = serde_json::from_slice(&fs::read(path).expect("there")).expect("whole");
    climate.years
}

#[test]
fn stamps_never_repeat_over_fast_saves() {
    let world = World::start();
    let (stamps, _) = stamps_of_fast_saves(&world, world.root.path());
    assert_eq!(stamps as u64, SAVES);
}

#[test]
fn stamps_never_repeat_on_a_file_system_with_times_of_one_second() {
    let Some(mount) = Mount::ext4_with_small_inodes() else {
        support::skipped(
            "stamps_never_repeat_on_a_file_system_with_times_of_one_second",
            "needs root and loop devices",
        );
        return;
    };
    let (stamps, times) = stamps_of_fast_saves(&World::start(), &mount.point);
    assert_eq!(stamps as u64, SAVES);
    assert!(
        times.iter().all(|(_, ns)| *ns == 0),
        "the file system's times are whole seconds"
    );
}

#[test]
fn negative_control_without_setting_the_time_stamps_repeat() {
    // With whole-second times the naive way certainly fails, elsewhere only by luck: so the test
    // uses such a file system.
    let Some(mount) = Mount::ext4_with_small_inodes() else {
        support::skipped(
            "negative_control_without_setting_the_time_stamps_repeat",
            "needs root and loop devices",
        );
        return;
    };
    let path = mount.point.join("document");
    let mut seen = HashSet::new();
    for n in 0..200 {
        let temporary = mount.point.join("temporary");
        fs::write(&temporary, format!("{}", n % 10)).expect("written");
        fs::rename(&temporary, &path).expect("renamed");
        let file = fs::metadata(&path).expect("there");
        seen.insert((file.mtime(), file.mtime_nsec(), file.size(), file.ino()));
    }
    assert!(seen.len() < 200, "the naive stamps came back");
}

/// A small ext4 on a loop device, with inodes that can only hold whole seconds.
pub struct Mount {
    pub point: PathBuf,
    _dir: TempDir,
}

impl Mount {
    pub fn ext4_with_small_inodes() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let dir = TempDir::new().ok()?;
        let (image, point) = (dir.path().join("image"), dir.path().join("mounted"));
        fs::create_dir(&point).ok()?;
        fs::File::create(&image)
            .and_then(|file| file.set_len(64 << 20))
            .ok()?;
        run("mkfs.ext4", &["-q", "-F", "-I", "128", path(&image)])?;
        run("mount", &["-o", "loop", path(&image), path(&point)])?;
        Some(Self { point, _dir: dir })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &[path(&self.point)]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn run(program: &str, args: &[&str]) -> Option<()> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().ok()?.success().then_some(())
}
