//! One server's connections for tasks: one that all share whose requests stand alone, and a bounded number of those that one has for
//! itself.

use super::{
    link::{Link, TaskLink},
    net::Sharing,
    node::{Cause, Node},
    pool::Slot,
    refusal::unavailable,
    run_id::Identity,
};
use crate::model::{Effect, Error};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A node's connections for tasks.
pub(super) struct Links {
    state: Mutex<State>,
    own: Semaphore,
    /// One task at a time makes the shared one.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    shared: Option<Slot>,
    /// Those that one task has for itself, in the order of their last use.
    idle: Vec<Slot>,
    /// The last connection was lost.
    failed: bool,
    /// How often the shared one was to be opened, and what went wrong the last time.
    tries: u64,
    refused: Option<(Error, Cause)>,
}

impl Links {
    pub(super) fn new(own: u32) -> Self {
        Self {
            state: Mutex::default(),
            own: Semaphore::new(own as usize),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn take(&self, patience: Duration, sharing: Sharing) -> Option<Taken<'_>> {
        let permit = match sharing {
            Sharing::Shared => None,
            Sharing::Own => {
                let permit = tokio::time::timeout(patience, self.own.acquire());
                Some(permit.await.ok()?.ok()?)
            }
        };
        let mut state = self.lock();
        let mut slot = match sharing {
            Sharing::Shared => state.shared_slot(),
            Sharing::Own => state.idle.pop(),
        }
        .unwrap_or_default();
        let was = task_link(&slot).cloned();
        drop(state);
        slot.close_if_old();
        slot.failed |= slot.connection.is_none() && self.lock().failed;
        Some(Taken {
            slot,
            links: self,
            was,
            permit,
        })
    }

    fn shared(&self) -> Option<TaskLink> {
        let state = self.lock();
        let link = task_link(state.shared.as_ref()?)?;
        (!link.is_closed()).then(|| link.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Another handle on the shared connection. One that is idle, a boot's first, becomes it where there is none.
    fn shared_slot(&mut self) -> Option<Slot> {
        if self.shared.is_none() {
            self.shared = self.idle.pop();
        }
        let shared = self.shared.as_ref()?;
        let (_, identity) = shared.connection.as_ref()?;
        let link = task_link(shared)?;
        if link.is_closed() {
            (self.failed, self.shared) = (true, None);
            return None;
        }
        let mut slot = Slot::of(Link::Task(link.clone()), identity.clone());
        (slot.opened, slot.used) = (shared.opened, shared.used);
        Some(slot)
    }
}

fn task_link(slot: &Slot) -> Option<&TaskLink> {
    match slot.connection.as_ref()? {
        (Link::Task(link), _) => Some(link),
        (Link::Thread(_), _) => None,
    }
}

/// By a thread that may block: it looks the name up, and asks the program for credentials.
async fn open(node: &Node, again: bool) -> Result<TaskLink, (Error, Cause)> {
    if again {
        node.connects_again();
    }
    let door = Arc::clone(node.door());
    let patience = door.response_timeout();
    let opening = tokio::task::spawn_blocking(move || door.open());
    let gone = |why: &str| (unavailable(why.to_owned(), Effect::None), Cause::Unreached);
    // A thread for it may have to be waited for as long as a connection.
    let connection = match tokio::time::timeout(2 * node.patience(), opening).await {
        Ok(Ok(opened)) => opened?,
        Ok(Err(_)) => return Err(gone("the runtime has shut down")),
        Err(_) => return Err(gone("no thread of the runtime's was free to connect")),
    };
    TaskLink::spawn(connection, patience).map_err(|e| gone(&e.to_string()))
}

/// A slot in use; its drop gives it back.
pub(super) struct Taken<'a> {
    slot: Slot,
    links: &'a Links,
    /// The connection that it had last.
    was: Option<TaskLink>,
    /// `None` where the connection is shared.
    permit: Option<SemaphorePermit<'a>>,
}

impl Taken<'_> {
    /// This connection is used from now on.
    pub(super) fn uses(&mut self, link: &Link) {
        self.was = match link {
            Link::Task(link) => Some(link.clone()),
            Link::Thread(_) => None,
        };
    }

    /// Opens a connection; where tasks share it, one for all of them. Those that come while one opens it take what came of that,
    /// also where it is nothing.
    pub(super) async fn connect(
        &mut self,
        node: &Node,
        again: bool,
    ) -> Result<Link, (Error, Cause)> {
        let links = self.links;
        if self.permit.is_some() {
            let link = open(node, again).await?;
            links.lock().failed = false;
            return Ok(Link::Task(link));
        }
        let tries = links.lock().tries;
        let _one = tokio::time::timeout(node.patience(), links.connecting.lock()).await;
        // Any but the one that was lost.
        if let Some(link) = links.shared().filter(|link| !self.was(link)) {
            return Ok(Link::Task(link));
        }
        {
            let state = links.lock();
            if let Some(refused) = state.refused.as_ref().filter(|_| state.tries != tries) {
                return Err(refused.clone());
            }
        }
        let opened = open(node, again).await;
        let mut state = links.lock();
        state.tries += 1;
        match opened {
            Ok(link) => {
                (state.failed, state.refused) = (false, None);
                state.shared = Some(Slot::of(Link::Task(link.clone()), Identity::Unasked));
                Ok(Link::Task(link))
            }
            Err(refused) => {
                state.refused = Some(refused.clone());
                Err(refused)
            }
        }
    }

    fn was(&self, link: &TaskLink) -> bool {
        self.was.as_ref().is_some_and(|was| was.is_same(link))
    }
}

impl Deref for Taken<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut self.slot);
        let mut state = self.links.lock();
        match &self.permit {
            // One whose future was dropped has none: what it left on the connection is not known.
            Some(_) => {
                state.failed |= slot.failed;
                if slot.connection.is_some() {
                    state.idle.push(slot.given_back());
                }
            }
            None => state.give_back(slot, self.was.as_ref()),
        }
    }
}

impl State {
    /// What one task has found out about the shared connection.
    fn give_back(&mut self, slot: Slot, was: Option<&TaskLink>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let is_same = |link: Option<&TaskLink>| {
            let own = task_link(shared);
            own.is_some_and(|own| link.is_some_and(|link| own.is_same(link)))
        };
        if let Some((Link::Task(link), identity)) = slot.connection {
            if is_same(Some(&link)) {
                shared.connection = Some((Link::Task(link), identity));
                shared.used = Some(Instant::now());
            }
        } else if (slot.failed || slot.is_given_up) && is_same(was) {
            self.failed |= slot.failed;
            self.shared = None;
        }
    }
}
