//! A user whose password is replaced while programs work.

use super::{Climate, connect, until};
use cachetx::{BoxError, Credentials, Document, Store, testing::Server};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

const USER: &str = "alice";
const ROTATIONS: u64 = 10;
/// Two writers on each document, so that there are waiters too.
const DOCUMENTS: usize = 2;
const WRITERS: usize = 4;
/// A writer waits for the other writer of its document, which may wait for a disk.
const TURN: std::time::Duration = std::time::Duration::from_secs(120);
/// Saves of each writer between two rotations.
const SAVES: u64 = 5;

/// The current password, on all servers.
pub struct Rotation {
    servers: Mutex<Vec<redis::Connection>>,
    password: Arc<Mutex<String>>,
    pub asked: Arc<AtomicU64>,
}

impl Rotation {
    pub fn on<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Self {
        let connections = servers.into_iter().map(connect).collect();
        let rotation = Self {
            servers: Mutex::new(connections),
            password: Arc::default(),
            asked: Arc::default(),
        };
        rotation.replace(0);
        rotation
    }

    /// The current credentials.
    pub fn credentials(
        &self,
    ) -> impl Fn() -> Result<Credentials, BoxError> + Send + Sync + 'static + use<> {
        let (password, asked) = (Arc::clone(&self.password), Arc::clone(&self.asked));
        move || {
            asked.fetch_add(1, SeqCst);
            let password = password.lock().expect("no panic").clone();
            Ok(Credentials::new(USER, password))
        }
    }

    /// Sets another password; the callback knows it as soon as the servers do.
    fn replace(&self, n: u64) {
        let mut password = self.password.lock().expect("no panic");
        *password = format!("secret{n}");
        let new = format!(">{password}");
        for server in self.servers.lock().expect("no panic").iter_mut() {
            let rule = [
                "SETUSER",
                USER,
                "on",
                "resetpass",
                &new,
                "~*",
                "&*",
                "+@all",
            ];
            redis::cmd("ACL").arg(&rule).exec(server).expect("ACL");
        }
    }

    fn kill_connections(&self) {
        let mut servers = self.servers.lock().expect("no panic");
        for server in servers.iter_mut() {
            let kill = ["KILL", "TYPE", "normal"];
            redis::cmd("CLIENT").arg(&kill).exec(server).expect("KILL");
        }
    }

    /// Rotates while saves run; none of them fails.
    pub fn under_load(&self, store: &Store, run: &str) {
        let document = |n: usize| -> Document<Climate> {
            let controller = ["climate", "ash"][n % DOCUMENTS];
            store.document(run, controller).expect("a document")
        };
        (0..DOCUMENTS).for_each(|n| {
            document(n).create(&Climate::of(0)).expect("created");
        });
        let ended = AtomicBool::new(false);
        let saved: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
        let asked = self.asked.load(SeqCst);
        std::thread::scope(|scope| {
            let ending = super::SetOnDrop(&ended);
            let writers: Vec<_> = (0..WRITERS)
                .map(|n| {
                    let (document, ended, saved) = (document(n), &ended, &saved[n]);
                    scope.spawn(move || {
                        while !ended.load(SeqCst) {
                            let mut locked = document.lock_timeout(TURN).expect("locked");
                            locked.years += 1;
                            let outcome = locked.dump_and_unlock().expect("saved");
                            assert_eq!(outcome.durability, cachetx::Durability::Synced);
                            saved.fetch_add(1, SeqCst);
                        }
                    })
                })
                .collect();
            let progress = || {
                let before: Vec<u64> = saved.iter().map(|saved| saved.load(SeqCst)).collect();
                until("every writer has saved, or one has failed", || {
                    let mut each = saved.iter().zip(&before);
                    each.all(|(saved, before)| saved.load(SeqCst) >= before + SAVES)
                        || writers.iter().any(|writer| writer.is_finished())
                });
            };
            for rotation in 1..=ROTATIONS {
                progress();
                self.replace(rotation);
                // Some servers close the user's connections by themselves. Every second time all
                // are closed at once.
                if rotation % 2 == 0 {
                    progress();
                }
                self.kill_connections();
            }
            progress();
            drop(ending);
        });
        let years = (0..DOCUMENTS).map(|n| document(n).read().expect("read").years);
        let saves: u64 = saved.iter().map(|saved| saved.load(SeqCst)).sum();
        assert_eq!(years.sum::<u64>(), saves);
        assert!(self.asked.load(SeqCst) >= asked + ROTATIONS);
    }
}
