//! One server and the connections to it.

use super::{
    address::Address,
    boot::Booted,
    config::ServerConfig,
    connections::Connections,
    counters::Counters,
    failure::Failure,
    link::Connection,
    net::{Net, Sharing},
    peer::Peer,
    redirect::{Cause, Redirect},
    refusal::unavailable,
    run_id::Identity,
    session::Session,
};
use crate::{
    model::{Effect, Error, Result, error::Kind, limits},
    op::Fault,
};
use redis::Value;
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

/// Whether to ask a Cluster's node for keys that are still being moved to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    Yes,
    No,
}

/// Work on a connection. It may run several times, and must be safe to repeat.
pub(super) trait Work: Send {
    type Done: Send;

    /// Asked before each run.
    fn sharing(&mut self, _: &Node) -> Sharing {
        Sharing::Shared
    }

    fn run(
        &mut self,
        node: &Node,
        session: &mut Session<'_>,
    ) -> impl Future<Output = Result<Self::Done, Failure>> + Send;
}

/// One request, whose reply may be an error.
pub(super) struct Question<'a>(pub(super) &'a [&'a [u8]]);

impl Work for Question<'_> {
    type Done = Value;

    async fn run(&mut self, _: &Node, session: &mut Session<'_>) -> Result<Value, Failure> {
        session.ask(|packed| packed.request(self.0)).await
    }
}

/// Why a server gave no reply.
#[derive(Debug)]
pub(super) struct Miss {
    /// For the caller, if no other server is asked.
    pub(super) fault: Fault,
    pub(super) cause: Cause,
}

impl Miss {
    fn new(fault: Fault, cause: Cause) -> Self {
        Self { fault, cause }
    }
}

/// One server: its connections, and what a boot found there.
pub(super) struct Node {
    connections: Connections,
    /// Empty before the first boot, and after the server turned out not to be the one that was
    /// booted.
    booted: RwLock<Option<Arc<Booted>>>,
}

impl Node {
    /// Opens no connection yet.
    pub(super) fn new(config: ServerConfig, counters: Arc<Counters>) -> Result<Self> {
        Ok(Self {
            connections: Connections::new(config, counters)?,
            booted: RwLock::new(None),
        })
    }

    /// The server's URL, safe to show.
    pub(super) fn shown_url(&self) -> String {
        self.peer().shown_url()
    }

    /// Its host and port; `None` for a Unix socket.
    pub(super) fn address(&self) -> Option<Address> {
        self.connections.door().address()
    }

    /// What the last boot found.
    pub(super) fn booted(&self) -> Option<Arc<Booted>> {
        let known = self.booted.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    pub(super) fn set_booted(&self, booted: Arc<Booted>) {
        *self.booted.write().unwrap_or_else(PoisonError::into_inner) = Some(booted);
    }

    /// Another server took over the address: it may understand another dialect.
    pub(super) fn forget_boot(&self) {
        *self.booted.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs `work` on a connection. If a pooled connection turns out to be closed (the server
    /// restarted, or closed it while it was idle), runs it once more on a new one: so everything in
    /// `work` must be safe to repeat.
    pub(super) async fn attempt<W: Work>(
        &self,
        net: Net,
        asking: Asking,
        work: &mut W,
    ) -> Result<W::Done, Miss> {
        let sharing = work.sharing(self);
        let mut slot = self.connections.slot(net, sharing).await.ok_or_else(|| {
            let connections = self.peer().config().pool_size;
            self.peer().counters().count_connection_timeout();
            let error = Error::new(Kind::AllInUse { connections });
            Miss::new(
                Fault::NotDone(error.effect_is(Effect::None)),
                Cause::Refused,
            )
        })?;
        let _in_use = (!slot.is_shared()).then(|| self.peer().counters().in_use());
        let mut failure = None;
        for _ in 0..limits::SEND_ATTEMPTS {
            let reused = slot.connection.is_some();
            let again = failure.is_some() || slot.failed;
            let (connection, identity) = match slot.connection.take() {
                Some(known) => known,
                None => match self.connections.connect(&mut slot, again).await {
                    Ok(link) => {
                        slot.uses(&link);
                        slot.failed = false;
                        (link, Identity::Unasked)
                    }
                    // What was sent on the closed one may have been executed.
                    Err((e, cause)) => {
                        let fault = Fault::NotDone(e).after(failure.is_some());
                        return Err(Miss::new(fault, cause));
                    }
                },
            };
            if !reused {
                slot.opened = Some(Instant::now());
            }
            let buffer = &mut slot.buffer;
            buffer.asking = asking == Asking::Yes;
            let mut session = Session {
                connection,
                packed: buffer,
                peer: self.peer(),
                net,
                identity,
                redirect: None,
                wrong_type: false,
                forgets_boot: false,
                spoilt: false,
            };
            let done = work.run(self, &mut session).await;
            if session.forgets_boot {
                self.forget_boot();
            }
            match done {
                Err(Failure::Lost { error, closed }) => {
                    // Drop the connection: a late reply would be taken for the reply to the next
                    // request.
                    drop(session);
                    slot.failed = true;
                    let again = reused && closed;
                    log::debug!("{}: connection lost: {error}", self.shown_url());
                    failure = Some(error);
                    if !again {
                        break;
                    }
                }
                done => {
                    let Session {
                        connection,
                        identity,
                        redirect,
                        spoilt,
                        ..
                    } = session;
                    // The same name may lead to another server by now: the primary.
                    let demoted = redirect == Some(Redirect::ReadOnly);
                    slot.connection = (!spoilt && !demoted).then_some((connection, identity));
                    slot.failed = demoted;
                    slot.is_given_up = spoilt || demoted;
                    slot.trim();
                    return done.map_err(|failed| {
                        let fault = match failed {
                            // Refused now, but possibly sent before on a connection that was
                            // closed.
                            Failure::Refused(error) => {
                                Fault::NotDone(error).after(failure.is_some())
                            }
                            Failure::Midway(error) | Failure::Lost { error, .. } => {
                                return Miss::new(Fault::Unknown(error), Cause::Refused);
                            }
                        };
                        Miss::new(fault, redirect.map_or(Cause::Refused, Cause::Elsewhere))
                    });
                }
            }
        }
        slot.trim();
        let error = failure
            .unwrap_or_else(|| unavailable("the connection was lost".to_owned(), Effect::Unknown));
        Err(Miss::new(Fault::Unknown(error), Cause::Lost))
    }

    /// A connection for messages, for the caller alone, whose reads time out soon. With RESP3,
    /// which tells messages from replies.
    pub(super) fn connect_to_listen(&self) -> Result<Connection> {
        let opened = self.connections.door().open_to_listen();
        opened.map_err(|(error, _)| error)
    }

    fn peer(&self) -> &Peer {
        self.connections.door().peer()
    }

    pub(super) fn has_lock_database(&self) -> bool {
        self.peer().databases().is_some()
    }
}
