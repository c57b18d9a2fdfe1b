//! A primary with replicas, and sentinels that know which of them is the primary.

use super::{route::Route, search::Search, turns::Turns};
use crate::{
    engine::{
        address::Address,
        config::ServerConfig,
        counters::Counters,
        net::Net,
        node::{Asking, Node, Question, Work},
        redirect::{Cause, Redirect},
        refusal::unavailable,
        reply::server_error,
    },
    model::{Effect, Error, Result, error::Kind},
    op::Fault,
};
use redis::Value;
use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

/// Sentinels are asked in the same way as servers: the client library's own sentinel client opens
/// connections without any time-out.
pub(in crate::engine) struct Sentinel {
    name: String,
    /// How to connect to the primary, wherever it is.
    config: ServerConfig,
    counters: Arc<Counters>,
    sentinels: Vec<Node>,
    primary: RwLock<Primary>,
    resolving: Turns,
    /// The sentinel that is asked first. Moves on if this one gave no answer or a wrong one.
    first: AtomicUsize,
}

/// What is known of the primary.
#[derive(Default)]
struct Primary {
    node: Option<Arc<Node>>,
    /// A reply was lost: ask the sentinels whether it is still the primary. Its connections are
    /// kept.
    doubted: bool,
    /// Why there is no node.
    gone: Option<Error>,
}

impl Primary {
    fn is(&self, node: &Arc<Node>) -> bool {
        let own = self.node.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, node))
    }
}

impl Sentinel {
    /// Connects nothing yet.
    pub(super) fn new(
        config: &ServerConfig,
        name: &str,
        urls: &[String],
        counters: Arc<Counters>,
    ) -> Result<Self> {
        if urls.is_empty() {
            let why = "no sentinels: CacheBuilder::sentinel takes at least one URL";
            return Err(Error::new(Kind::Config(why.to_owned())));
        }
        let sentinel = |url: &String| Node::new(config.sentinel(url), Arc::clone(&counters));
        let sentinels: Result<Vec<_>> = urls.iter().map(sentinel).collect();
        let mut primary = config.single(match config.url.as_str() {
            "" => "redis://the-primary/",
            url => url,
        });
        primary.primary_only = true;
        // Refuse now what cannot work later.
        primary.at(&Address::new("the-primary", 0)).way()?;
        Ok(Self {
            name: name.to_owned(),
            config: primary,
            counters,
            sentinels: sentinels?,
            primary: RwLock::default(),
            resolving: Turns::new(config.patience()),
            first: AtomicUsize::new(0),
        })
    }

    /// Runs `work` on the primary. If it cannot be reached or has been demoted, asks the sentinels
    /// for the new one. A lost answer is for the caller to judge.
    pub(super) async fn with<W: Work>(
        &self,
        net: Net,
        route: Route,
        work: &mut W,
    ) -> Result<W::Done, Fault> {
        let mut search = Search::new(route.patience);
        loop {
            let node = match self.primary(net).await {
                Ok(node) => node,
                Err(error) => {
                    search.unsettled(net, Fault::NotDone(error)).await?;
                    continue;
                }
            };
            let miss = match node.attempt(net, Asking::No, work).await {
                Ok(done) => return Ok(done),
                Err(miss) => miss,
            };
            match miss.cause {
                Cause::Elsewhere(Redirect::Unsettled | Redirect::ReadOnly) => {
                    self.counters.count_redirect();
                    self.forget(&node, miss.fault.error());
                    search.unsettled(net, miss.fault).await?;
                }
                // Perhaps it only has no connection free; those in use go on.
                Cause::Unreached => {
                    self.counters.count_redirect();
                    self.doubt(&node);
                    search.unsettled(net, miss.fault).await?;
                }
                Cause::Lost => {
                    self.doubt(&node);
                    return Err(search.end(miss.fault));
                }
                Cause::Elsewhere(_) | Cause::Refused => return Err(search.end(miss.fault)),
            }
        }
    }

    /// The primary, as known or as the sentinels say now. If they give no answer, a primary that is
    /// only doubted is still used.
    pub(super) async fn primary(&self, net: Net) -> Result<Arc<Node>> {
        {
            let known = self.read();
            if let Some(node) = known.node.as_ref().filter(|_| !known.doubted) {
                return Ok(Arc::clone(node));
            }
        }
        let asked = self.resolving.take(net, self.resolve(net)).await;
        let known = self.read();
        match (&known.node, &known.gone) {
            (Some(node), _) => Ok(Arc::clone(node)),
            (None, gone) => {
                asked?;
                let changes =
                    || unavailable(format!("where {} is changes", self.name), Effect::None);
                Err(gone.clone().unwrap_or_else(changes))
            }
        }
    }

    async fn resolve(&self, net: Net) -> Result<()> {
        let address = self.ask_any(net).await?;
        let mut primary = self.write();
        let same = |node: &Arc<Node>| node.address().as_ref() == Some(&address);
        if !primary.node.as_ref().is_some_and(same) {
            log::info!("{}: the primary is {address}", self.name);
            let node = Node::new(self.config.at(&address), Arc::clone(&self.counters))?;
            primary.node = Some(Arc::new(node));
        }
        primary.doubted = false;
        Ok(())
    }

    /// The known primary, without a request.
    pub(super) fn known(&self) -> Option<Arc<Node>> {
        self.read().node.clone()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Called if the node is no primary any more, or says that it cannot serve now. Its connections
    /// are dropped.
    fn forget(&self, node: &Arc<Node>, why: &Error) {
        let mut primary = self.write();
        if primary.is(node) {
            primary.node = None;
            primary.gone = Some(why.clone().effect_is(Effect::None));
            self.ask_another();
        }
    }

    /// Called if the node did not answer.
    pub(super) fn doubt(&self, node: &Arc<Node>) {
        let mut primary = self.write();
        if primary.is(node) && !primary.doubted {
            primary.doubted = true;
            self.ask_another();
        }
    }

    /// The sentinel that was asked last may not know of a failover that the others have seen.
    fn ask_another(&self) {
        self.first.fetch_add(1, Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, Primary> {
        self.primary.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Primary> {
        self.primary.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first answer of a sentinel. Asking the server for its role shows whether it is true.
    async fn ask_any(&self, net: Net) -> Result<Address> {
        let until = Instant::now() + self.config.patience();
        let mut last = None;
        let count = self.sentinels.len();
        let first = self.first.load(Relaxed) % count;
        for sentinel in self.sentinels.iter().cycle().skip(first).take(count) {
            match self.ask(net, sentinel).await {
                Ok(address) => return Ok(address),
                Err(e) => {
                    log::debug!("sentinel {}: {e}", sentinel.shown_url());
                    self.first.fetch_add(1, Relaxed);
                    last = Some(e);
                }
            }
            if Instant::now() >= until {
                break;
            }
        }
        let why = last.map_or_else(String::new, |e| format!(": {e}"));
        let message = format!("no sentinel says where {} is{why}", self.name);
        Err(unavailable(message, Effect::None))
    }

    async fn ask(&self, net: Net, sentinel: &Node) -> Result<Address> {
        let name = self.name.as_bytes();
        let question = [b"SENTINEL".as_slice(), b"get-master-addr-by-name", name];
        let mut question = Question(&question);
        let answer = sentinel.attempt(net, Asking::No, &mut question).await;
        let unknown = |why: &str| Err(unavailable(why.to_owned(), Effect::None));
        match answer.map_err(|miss| miss.fault.into_error())? {
            Value::ServerError(error) => Err(server_error(&error)),
            Value::Array(parts) => match &parts[..] {
                [Value::BulkString(host), Value::BulkString(port)] => {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    match text(port).parse() {
                        Ok(port) => {
                            Ok(Address::new(text(host), port).told_by(sentinel.address().as_ref()))
                        }
                        Err(_) => unknown("its answer makes no sense"),
                    }
                }
                _ => unknown("its answer makes no sense"),
            },
            _ => unknown("it does not know that name"),
        }
    }
}
