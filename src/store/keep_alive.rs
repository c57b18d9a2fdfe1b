//! Keeps a held lock alive: renews it in the background, and tells the holder if it is lost.

use super::{Inner, ListedDocument, Store};
use crate::{
    cache::{Cache, Hurry, Task},
    drive::now,
    engine::Watch,
    model::{Error, Lock, error::Kind, limits},
    op::keys,
    protocol::{self, Expires},
};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

/// Whether held locks are renewed in the background.
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
/// use cachetx::KeepAlive;
///
/// let brief = Store::builder(&cache)
///     .root(folder.path())
///     .run_param("shop_id")
///     .keep_alive(KeepAlive::Off) // a lock ends by its TTL, whoever holds it
///     .open()?;
/// # drop(brief);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeepAlive {
    /// After a third of their TTL, and after each further third, as long as their guards live. The
    /// default.
    #[default]
    On,
    /// Never: a guard loses its lock after the TTL, unless it calls [`Locked::renew`](super::Locked::renew).
    Off,
}

/// A lock that its guard lost while holding it.
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
/// use cachetx::Locked;
///
/// let mut held = tea.lock()?;
/// Locked::on_lost(&mut held, |lost| eprintln!("stop: {lost}"));
/// # drop(held);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostLock {
    /// The run of the document.
    pub run: String,
    /// The document of the lock.
    pub document: ListedDocument,
    /// How it was lost.
    pub why: &'static str,
}

impl fmt::Display for LostLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, document, why } = self;
        write!(f, "{run}/{document}: the lock is lost: {why}")
    }
}

/// What a store does when a lock is lost.
pub(super) type OnLost = Arc<dyn Fn(&LostLock) + Send + Sync>;

/// Shared by a guard and its keep-alive.
pub(super) struct Life {
    lost: LostLock,
    store_hook: Option<OnLost>,
    /// A little earlier than the server's expiry, since its TTL began later. Over once the lock is
    /// lost or released.
    expires: Expires,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    hooks: Vec<Hook>,
}

type Hook = Box<dyn FnOnce(&LostLock) + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Held,
    /// A save is about to release it, so a missing lock does not count as lost yet. Holds how it
    /// was found lost meanwhile.
    Saving(Option<&'static str>),
    Lost(&'static str),
    /// Released.
    Over,
}

impl Life {
    pub(super) fn new(
        store: &Store,
        run: &str,
        document: &ListedDocument,
        expires: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            lost: LostLock {
                run: run.to_owned(),
                document: document.clone(),
                why: "",
            },
            store_hook: store.0.on_lost.clone(),
            expires: Expires::at(expires),
            state: Mutex::new(State {
                phase: Phase::Held,
                hooks: Vec::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it expires, by the driver's clock.
    pub(super) fn expires(&self) -> &Expires {
        &self.expires
    }

    /// How it was lost, if it was.
    pub(super) fn lost(&self) -> Option<&'static str> {
        match self.lock().phase {
            Phase::Lost(why) => Some(why),
            _ => None,
        }
    }

    /// Called by the guard or its keep-alive when it finds the lock lost. Hooks are called once;
    /// during a save, only if the save turns out not to have released the lock.
    pub(super) fn lose(&self, why: &'static str, cache: &Cache) {
        let mut state = self.lock();
        match state.phase {
            Phase::Held => {}
            Phase::Saving(_) => {
                state.phase = Phase::Saving(Some(why));
                return;
            }
            Phase::Lost(_) | Phase::Over => return,
        }
        state.phase = Phase::Lost(why);
        self.expires.end();
        let hooks = std::mem::take(&mut state.hooks);
        drop(state);
        let lost = LostLock {
            why,
            ..self.lost.clone()
        };
        log::warn!("{lost}");
        cache.lock_lost(&format!("{}/{}", lost.run, lost.document), why);
        if let Some(hook) = &self.store_hook {
            call(|| hook(&lost));
        }
        hooks.into_iter().for_each(|hook| call(|| hook(&lost)));
    }

    /// Calls the hook when the lock is lost, or at once if it already is.
    pub(super) fn on_lost(&self, hook: Hook) {
        let mut state = self.lock();
        match state.phase {
            Phase::Lost(why) => {
                drop(state);
                hook(&LostLock {
                    why,
                    ..self.lost.clone()
                });
            }
            _ => state.hooks.push(hook),
        }
    }

    pub(super) fn saving(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Held {
            state.phase = Phase::Saving(None);
        }
    }

    /// The save kept the lock, or failed.
    pub(super) fn saved(&self, cache: &Cache) {
        let mut state = self.lock();
        if let Phase::Saving(found) = state.phase {
            state.phase = Phase::Held;
            drop(state);
            if let Some(why) = found {
                self.lose(why, cache);
            }
        }
    }

    pub(super) fn over(&self) {
        let mut state = self.lock();
        state.phase = Phase::Over;
        self.expires.end();
        let hooks = std::mem::take(&mut state.hooks);
        drop(state);
        // After the lock is released: dropping what hooks own may do work of its own.
        drop(hooks);
    }

    fn phase(&self) -> Phase {
        self.lock().phase
    }
}

/// A hook that panics ends neither the other hooks nor the thread.
fn call(hook: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
        log::error!("a hook for lost locks panicked");
    }
}

/// Renews the lock until the task is dropped or the lock turns out to be lost.
pub(super) fn keep(
    store: &Store,
    life: &Arc<Life>,
    document: &str,
    lock: &Lock,
    fence_key: &str,
) -> Task {
    let mut keeper = Keeper {
        // Weak, so that a waiting job keeps nothing alive.
        store: Arc::downgrade(&store.0),
        life: Arc::downgrade(life),
        document: document.to_owned(),
        lock: lock.clone(),
        fence_key: fence_key.to_owned(),
        watch: None,
    };
    let first = limits::LOCK_WATCH_AFTER.min(store.0.lock_ttl / 3);
    store
        .cache()
        .timer()
        .start(first, move |hurry| keeper.turn(hurry))
}

struct Keeper {
    store: Weak<Inner>,
    life: Weak<Life>,
    document: String,
    lock: Lock,
    fence_key: String,
    /// Watches the lock's channel, to find out at once if an operator clears the lock. Not for
    /// short saves, which pay nothing.
    watch: Option<Watch>,
}

impl Keeper {
    /// Returns when to run again; `None` if there is nothing left to keep alive.
    fn turn(&mut self, hurry: &Hurry) -> Option<Duration> {
        let store = Store(self.store.upgrade()?);
        let life = self.life.upgrade()?;
        if matches!(life.phase(), Phase::Lost(_) | Phase::Over) {
            return None;
        }
        let third = store.0.lock_ttl / 3;
        if self.watch.is_none() {
            let hurry = hurry.clone();
            let channel = keys::channel(&self.lock.key);
            self.watch = Some(store.cache().watch(&channel, move || hurry.now()));
            let left = third.saturating_sub(limits::LOCK_WATCH_AFTER);
            if !left.is_zero() {
                return Some(left);
            }
        }
        let lock = self.lock.clone();
        let renewal = protocol::lock::renew(
            self.document.clone(),
            lock,
            self.fence_key.clone(),
            store.0.lock_ttl,
        );
        let why = match store.cache().drive(renewal) {
            Ok(expires) => {
                life.expires().renewed(expires);
                return Some(third);
            }
            Err(e) => why(&e),
        };
        // Unreachable, or refused: the lock counts as held until it expires by this machine's
        // clock.
        let left = life.expires().get().saturating_sub(now().boot);
        let why = match why {
            None if !left.is_zero() => {
                return Some((left / 3).clamp(
                    limits::KEEP_ALIVE_RETRY,
                    third.max(limits::KEEP_ALIVE_RETRY),
                ));
            }
            None => "it ran out while the server could not be reached",
            Some(why) => why,
        };
        life.lose(why, store.cache());
        None
    }
}

/// How a lock was lost, if the error means that it was.
pub(super) fn why(error: &Error) -> Option<&'static str> {
    match error.kind() {
        Kind::LockLost { why, .. } => Some(why),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;
    use std::sync::{
        atomic::{AtomicU32, Ordering::SeqCst},
        mpsc,
    };

    fn named_a() -> ListedDocument {
        ListedDocument {
            controller: "a".to_owned(),
            params: crate::rules::Params::new(),
        }
    }

    #[test]
    fn each_loss_is_told_once_and_none_while_a_save_may_have_let_go() {
        let rules = Rules::from_json(r#"{ "version": "1.0", "cache_keys": {}, "rules": {} }"#);
        let cache = Cache::builder(rules.unwrap()).in_memory().open().unwrap();
        let root = std::env::temp_dir();
        let told = Arc::new(AtomicU32::new(0));
        let count = || {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, SeqCst);
            }
        };
        let hook = count();
        let store = Store::builder(&cache)
            .root(root)
            .on_lock_lost(move |_| hook());
        let life = Life::new(&store.open().unwrap(), "run", &named_a(), Duration::MAX);
        let hook = count();
        life.on_lost(Box::new(move |_| hook()));
        life.saving();
        life.lose("gone", &cache);
        assert_eq!((life.lost(), told.load(SeqCst)), (None, 0));
        life.saved(&cache);
        life.lose("again", &cache);
        assert_eq!(
            (life.lost(), life.expires().get()),
            (Some("gone"), Duration::ZERO)
        );
        assert_eq!((told.load(SeqCst), cache.stats().locks_lost), (2, 1));
        life.saving();
        assert_eq!(
            life.lost(),
            Some("gone"),
            "a save that fails does not bring it back"
        );
        let hook = count();
        life.on_lost(Box::new(move |_| hook()));
        assert_eq!(told.load(SeqCst), 3);

        life.over();
        life.lose("late", &cache);
        assert_eq!((life.lost(), told.load(SeqCst)), (None, 3));
    }

    /// Stands for a hook that owns another guard: its drop takes the lock of `Life`.
    struct Asks(Arc<Life>, mpsc::Sender<Duration>);

    impl Drop for Asks {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.expires().get());
            let _ = self.0.lost();
        }
    }

    #[test]
    fn what_a_hook_owns_may_do_anything_when_it_is_dropped() {
        let rules = Rules::from_json(r#"{ "version": "1.0", "cache_keys": {}, "rules": {} }"#);
        let cache = Cache::builder(rules.unwrap()).in_memory().open().unwrap();
        let store = Store::builder(&cache).root(std::env::temp_dir());
        let life = Life::new(&store.open().unwrap(), "run", &named_a(), Duration::MAX);
        let (say, said) = mpsc::channel();
        let asks = Asks(Arc::clone(&life), say);
        life.on_lost(Box::new(move |_| drop(asks)));
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            life.over();
            end.send(())
        });
        let patience = Duration::from_secs(30);
        assert_eq!(said.recv_timeout(patience), Ok(Duration::ZERO));
        ended.recv_timeout(patience).expect("no deadlock");
    }
}
