//! One server's connections: those of threads and those of tasks.

#[cfg(feature = "tokio")]
use super::links::{Links, SlotOfLinks};
use super::{
    config::ServerConfig,
    counters::Counters,
    door::Door,
    link::Link,
    net::{Net, Sharing},
    pool::{Pool, Slot, SlotOfPool},
    redirect::Cause,
};
use crate::model::{Error, Result};
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// Slots that connect at their first use.
pub(super) struct Connections {
    door: Arc<Door>,
    pool: Pool,
    #[cfg(feature = "tokio")]
    links: Links,
}

/// A slot in use; dropping it returns it.
pub(super) enum SlotInUse<'a> {
    Thread(SlotOfPool<'a>),
    #[cfg(feature = "tokio")]
    Task(SlotOfLinks<'a>),
}

impl Deref for SlotInUse<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        match self {
            Self::Thread(slot) => slot,
            #[cfg(feature = "tokio")]
            Self::Task(slot) => slot,
        }
    }
}

impl DerefMut for SlotInUse<'_> {
    fn deref_mut(&mut self) -> &mut Slot {
        match self {
            Self::Thread(slot) => slot,
            #[cfg(feature = "tokio")]
            Self::Task(slot) => slot,
        }
    }
}

impl SlotInUse<'_> {
    /// Whether others use the connection too.
    pub(super) fn is_shared(&self) -> bool {
        match self {
            Self::Thread(_) => false,
            #[cfg(feature = "tokio")]
            Self::Task(slot) => slot.is_shared(),
        }
    }

    /// Called when a connection was opened for the slot.
    pub(super) fn uses(&mut self, link: &Link) {
        match self {
            Self::Thread(_) => {
                let _ = link;
            }
            #[cfg(feature = "tokio")]
            Self::Task(slot) => slot.uses(link),
        }
    }
}

impl Connections {
    pub(super) fn new(config: ServerConfig, counters: Arc<Counters>) -> Result<Self> {
        let size = config.pool_size;
        let door = Arc::new(Door::new(config, counters)?);
        Ok(Self {
            pool: Pool::new(size),
            #[cfg(feature = "tokio")]
            links: Links::new(Arc::clone(&door), size),
            door,
        })
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// `None` if all connections are in use for as long as calls may wait.
    pub(super) async fn slot(&self, net: Net, sharing: Sharing) -> Option<SlotInUse<'_>> {
        let patience = self.door.peer().config().patience();
        match net {
            Net::Threads => {
                // A thread waits for one connection only.
                let _ = sharing;
                self.pool.take(patience).map(SlotInUse::Thread)
            }
            #[cfg(feature = "tokio")]
            Net::Tasks => {
                // A blocking connection is not shared.
                let sharing = match self.door.blocks() {
                    true => Sharing::Own,
                    false => sharing,
                };
                let slot = self.links.take(patience, sharing).await;
                slot.map(SlotInUse::Task)
            }
        }
    }

    /// Opens a connection for a slot without one; `again` if the last one failed.
    pub(super) async fn connect(
        &self,
        slot: &mut SlotInUse<'_>,
        again: bool,
    ) -> Result<Link, (Error, Cause)> {
        match slot {
            SlotInUse::Thread(_) => self.door.open(again).map(Link::Thread),
            #[cfg(feature = "tokio")]
            SlotInUse::Task(slot) => slot.connect(again).await,
        }
    }
}
