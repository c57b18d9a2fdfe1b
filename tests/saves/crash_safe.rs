//! A crash-safe writer renames its file and dies, while others write and load its dependents:
//! nobody fills an old value. If the server has forgotten the marks, what was filled is gone once
//! the writer's record is replayed. Without marks, and without replay (negative controls), it
//! stays.

use crate::support::{self, Climate, RUN, World, child, given, key, until};
use cachetx::{
    Cache, Engine, Guarantee, OnBusy, OutboxFile, Params, Save, Store,
    testing::{Server, ServerBinary},
};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    process::Child,
};
use tempfile::TempDir;

/// One with scripts, one without.
const ENGINES: [Engine; 2] = [Engine::Script, Engine::Watch];

/// A writer in its own process, which waits before it renames, and dies right after.
struct Writer(Child);

impl Writer {
    /// Its marks are set when this returns.
    fn start(world: &World, engine: Engine) -> Self {
        let variables = [
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
            ("CACHETX_TEST_ENGINE", format!("{engine:?}")),
        ];
        let mut child = child("crash_safe::dying_writer", &variables)
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
        let waits = lines.any(|line| line.is_ok_and(|line| line.ends_with("before the rename")));
        assert!(waits, "the writer did not get that far");
        Self(child)
    }

    fn rename_and_die(mut self) {
        let mut go_on = self.0.stdin.take().expect("piped");
        go_on.write_all(b"go on\n").expect("told");
        assert_eq!(self.0.wait().expect("ended").signal(), Some(9));
    }
}

#[test]
#[ignore = "a child process of other tests"]
fn dying_writer() {
    let (Some(url), Some(root), Some(engine)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_ENGINE"),
    ) else {
        return;
    };
    let engine = match &*engine {
        "Watch" => Engine::Watch,
        _ => Engine::Script,
    };
    let cache = support::cache_builder().url(url).engine(engine);
    let store = Store::builder(cache.open().expect("a cache"))
        .root(root)
        .guarantee(Guarantee::CrashSafe)
        .trace(|step| match step {
            "disk.rename" => {
                println!("\nbefore the rename");
                let told = std::io::stdin().read_line(&mut String::new());
                told.expect("told to go on");
            }
            "disk.sweep" => {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("killed");
                std::thread::park();
            }
            _ => {}
        })
        .open()
        .expect("a store");
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    let save = Save::new().tasks(["build_climate"]);
    let _ = document.locked_with(save, |climate| {
        climate.years = 2;
        Ok(())
    });
    unreachable!("it dies after the rename");
}

/// A document of one year, and programs that never replay the records in its store's folder.
struct Scene {
    world: World,
    cache: Cache,
    engine: Engine,
    _outbox: TempDir,
}

impl Scene {
    fn new(binary: &ServerBinary, engine: Engine) -> Self {
        let (world, outbox) = (World::on(binary), TempDir::new().expect("a folder"));
        let cache = world
            .cache_builder()
            .engine(engine)
            .outbox(outbox.path())
            .on_busy(OnBusy::LoadWithoutFilling)
            .open()
            .expect("a cache");
        let scene = Self {
            world,
            cache,
            engine,
            _outbox: outbox,
        };
        let document = scene.world.climate(&scene.store());
        document.create(&Climate::of(1)).expect("created");
        assert_eq!(scene.derived(), 1);
        scene
    }

    fn store(&self) -> Store {
        let store = Store::builder(&self.cache).root(self.world.root.path());
        store.open().expect("a store")
    }

    fn params() -> Params {
        Params::new().with("run_id", RUN)
    }

    /// The value for a reader that derives `ash` from the document and keeps it.
    fn derived(&self) -> u64 {
        let load = || Ok(self.world.on_disk().years);
        let loaded = self.cache.get_or_load_json("ash", &Self::params(), load);
        loaded.expect("loaded")
    }

    /// The value that is kept.
    fn kept(&self) -> Option<u64> {
        self.cache.get_json("ash", &Self::params()).expect("asked")
    }

    /// Another process starts and finds what the dead one left.
    fn replay(&self) {
        let folder = self.world.root.path().join(".cachetx-outbox");
        // Before the other process is there, since it may replay it at once.
        assert_ne!(OutboxFile::list(&folder).expect("listed"), []);
        let next = self.world.store();
        until("the record is replayed", || {
            next.cache().replay_outbox().expect("replayed");
            OutboxFile::list(&folder).expect("listed").is_empty()
        });
    }
}

fn everywhere(test: impl Fn(Scene)) {
    for binary in ServerBinary::all() {
        for engine in ENGINES {
            eprintln!("on {binary}, {engine:?}");
            test(Scene::new(binary, engine));
        }
    }
}

#[test]
fn nobody_fills_while_the_writer_is_between_its_marks_and_its_death() {
    everywhere(|scene| {
        let writer = Writer::start(&scene.world, scene.engine);
        assert_eq!(scene.kept(), None, "deleted before the rename");
        assert_eq!(scene.derived(), 1, "the file is still the old one");
        assert_eq!(scene.kept(), None, "and its value is not kept");
        writer.rename_and_die();
        assert_eq!(scene.kept(), None, "nothing stale without any replay");
        assert_eq!(scene.derived(), 2);
        scene.replay();
        assert_eq!(scene.derived(), 2);
    });
}

#[test]
fn another_writer_of_the_same_dependent_does_not_take_the_mark_away() {
    everywhere(|scene| {
        let store = scene.store();
        let other = store.document::<Climate>(RUN, "soils").expect("a document");
        other.create(&Climate::of(7)).expect("created");
        let writer = Writer::start(&scene.world, scene.engine);
        let safe = Save::new()
            .tasks(["build_climate"])
            .guarantee(Guarantee::CrashSafe);
        let (_, outcome) = other.locked_with(safe, |_| Ok(())).expect("saved");
        support::committed(&outcome);
        assert_eq!(scene.derived(), 1, "the first writer has not renamed yet");
        assert_eq!(scene.kept(), None, "so its old value is not kept");
        writer.rename_and_die();
        assert_eq!(scene.kept(), None, "nothing stale without any replay");
        assert_eq!(scene.derived(), 2);
    });
}

/// What makes the server forget marks.
type Forget = fn(&mut Server);

fn leases() -> String {
    format!("{{{RUN}}}:cachetx:leases")
}

fn ask(server: &Server, words: &[&str]) {
    let mut redis = support::connect(server);
    let (name, args) = words.split_first().expect("a command");
    redis::cmd(name).arg(args).exec(&mut redis).expect("done");
}

const FORGETS: [(&str, Forget); 3] = [
    ("evicted", |server| ask(server, &["DEL", &leases()])),
    ("lapsed", |server| {
        ask(server, &["HSET", &leases(), &key("ash"), "w:t:1"]);
    }),
    ("lost with the server", |server| {
        server.kill();
        server.restart().expect("back");
        ask(server, &["FLUSHALL"]);
    }),
];

#[test]
fn where_marks_are_lost_what_was_filled_goes_with_the_replay() {
    everywhere(|mut scene| {
        for (how, forget) in FORGETS {
            std::fs::write(scene.world.file(), Climate::of(1).bytes()).expect("written");
            ask(&scene.world.server, &["FLUSHALL"]);
            let writer = Writer::start(&scene.world, scene.engine);
            forget(&mut scene.world.server);
            until("the server is back", || {
                scene.cache.get("ash", &Scene::params()).is_ok()
            });
            assert_eq!(scene.derived(), 1, "{how}");
            assert_eq!(scene.kept(), Some(1), "{how}: a reader could fill");
            writer.rename_and_die();
            assert_eq!(scene.world.on_disk().years, 2, "{how}");
            scene.replay();
            assert_eq!(scene.kept(), None, "{how}: still stale after the replay");
            assert_eq!(scene.derived(), 2, "{how}");
        }
    });
}
