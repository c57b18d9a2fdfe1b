//! A Cluster: hash slots, the nodes that serve them, and how to follow changes.

use super::{route::Route, search::Search, slots, turns::Turns};
use crate::{
    engine::{
        address::Address,
        config::ServerConfig,
        counters::Counters,
        failure::{Failure, nonsense},
        net::Net,
        node::{Asking, Node, Question, Work},
        redirect::{Cause, Redirect},
        refusal::unavailable,
    },
    model::{Effect, Error, Result, error::Kind, limits},
    op::Fault,
};
use redis::Value;
use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

pub(in crate::engine) struct Cluster {
    /// How to connect to the nodes that are found: as to the first seed.
    config: ServerConfig,
    counters: Arc<Counters>,
    seeds: Vec<Arc<Node>>,
    map: RwLock<Map>,
    refreshing: Turns,
    /// The known node that is asked for the map first. Moves on when a node does not answer.
    first: AtomicUsize,
    /// The map may be out of date, for example because a node did not answer: it may have been
    /// replaced.
    stale: AtomicBool,
}

/// Which node serves which slots.
#[derive(Default)]
struct Map {
    /// Grows with each answer, so that a thread can tell whether the map was refreshed since it
    /// looked.
    version: u64,
    /// One pool of connections for each address.
    nodes: HashMap<Address, Arc<Node>>,
    /// In the order of the slots: first, last, primary.
    served: Vec<(u16, u16, Arc<Node>)>,
    /// What MOVED replies said since the last answer.
    moved: HashMap<u16, Arc<Node>>,
}

/// On drop, marks the map as stale again, unless the refresh has ended.
struct StillStale<'a>(Option<&'a AtomicBool>);

impl Drop for StillStale<'_> {
    fn drop(&mut self) {
        if let Some(stale) = self.0 {
            stale.store(true, SeqCst);
        }
    }
}

impl Map {
    fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        if let Some(node) = self.moved.get(&slot) {
            return Some(Arc::clone(node));
        }
        let after = self.served.partition_point(|(first, ..)| *first <= slot);
        let (_, last, node) = &self.served[after.checked_sub(1)?];
        (slot <= *last).then(|| Arc::clone(node))
    }

    fn primaries(&self) -> Vec<Arc<Node>> {
        let mut primaries: Vec<Arc<Node>> = Vec::new();
        for (.., node) in &self.served {
            if !primaries.iter().any(|known| Arc::ptr_eq(known, node)) {
                primaries.push(Arc::clone(node));
            }
        }
        primaries
    }

    /// Closes the connections to nodes that serve nothing, except the seeds.
    fn keep_serving(&mut self, seeds: &[Arc<Node>]) {
        let served = &self.served;
        self.nodes.retain(|_, node| {
            let mut kept = served.iter().map(|(.., primary)| primary).chain(seeds);
            kept.any(|kept| Arc::ptr_eq(kept, node))
        });
    }
}

impl Cluster {
    /// Connects nothing yet.
    pub(super) fn new(
        config: &ServerConfig,
        seeds: &[String],
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let refuse = |why: &str| Err(Error::new(Kind::Config(why.to_owned())));
        let Some(first) = seeds.first() else {
            return refuse("a Cluster without nodes: CacheBuilder::cluster takes at least one URL");
        };
        if config.lock_database.is_some() {
            return refuse("CacheBuilder::lock_database is for a single server, not for a Cluster");
        }
        let database = config.single(first).database()?;
        let mut nodes = Vec::new();
        for seed in seeds {
            let seed = config.single(seed);
            if seed.database()? != database {
                return refuse(
                    "the URLs of a Cluster name several databases: all have to name one",
                );
            }
            let node = Node::new(seed, Arc::clone(&counters))?;
            if node.address().is_none() {
                return refuse("a Cluster's nodes are known by host and port, not by Unix sockets");
            }
            nodes.push(Arc::new(node));
        }
        let known = nodes
            .iter()
            .filter_map(|node| Some((node.address()?, Arc::clone(node))));
        Ok(Self {
            config: config.single(first),
            counters,
            map: RwLock::new(Map {
                nodes: known.collect(),
                ..Map::default()
            }),
            seeds: nodes,
            refreshing: Turns::new(config.patience()),
            first: AtomicUsize::new(0),
            stale: AtomicBool::new(true),
        })
    }

    /// Runs `work` on the node that has the slot, and follows the slot where it moves. Another node
    /// is asked only after a refusal before the first write, or if the node cannot be reached. A
    /// lost answer is for the caller to judge.
    pub(super) async fn with<W: Work>(
        &self,
        net: Net,
        route: Route,
        work: &mut W,
    ) -> Result<W::Done, Fault> {
        let mut search = Search::new(route.patience);
        // The node that an ASK named, for the next attempt only.
        let mut asked: Option<Arc<Node>> = None;
        loop {
            let asking = if asked.is_some() {
                Asking::Yes
            } else {
                Asking::No
            };
            let (node, version) = match asked.take() {
                Some(node) => (node, self.version()),
                None => match self.owner(net, route.slot).await {
                    Ok(found) => found,
                    Err(error) => {
                        search.unsettled(net, Fault::NotDone(error)).await?;
                        self.stale.store(true, SeqCst);
                        continue;
                    }
                },
            };
            let miss = match node.attempt(net, asking, work).await {
                Ok(done) => return Ok(done),
                Err(miss) => miss,
            };
            match miss.cause {
                Cause::Elsewhere(Redirect::Moved(address)) => {
                    self.counters.count_redirect();
                    log::info!("slot {:?} moved to {address}", route.slot);
                    search.redirected(net, miss.fault).await?;
                    let address = address.told_by(node.address().as_ref());
                    let moved = self.moved(net, route.slot, address, version).await;
                    moved.map_err(|fault| search.end(fault))?;
                }
                Cause::Elsewhere(Redirect::Ask(address)) => {
                    self.counters.count_redirect();
                    search.redirected(net, miss.fault).await?;
                    let address = address.told_by(node.address().as_ref());
                    let node = self.node(&address).map_err(Fault::NotDone);
                    asked = Some(node.map_err(|fault| search.end(fault))?);
                }
                Cause::Elsewhere(Redirect::TryAgain) => {
                    search.unsettled(net, miss.fault).await?;
                }
                Cause::Elsewhere(Redirect::Unsettled | Redirect::ReadOnly) | Cause::Unreached => {
                    self.counters.count_redirect();
                    // Set even if this operation does not wait: the next one refreshes the map.
                    self.stale.store(true, SeqCst);
                    search.unsettled(net, miss.fault).await?;
                    // If no node answers, the next round notices it again, and the time limit ends
                    // the loop.
                    let _ = self.refresh(net, version, Some(&node)).await;
                }
                Cause::Lost => {
                    self.stale.store(true, SeqCst);
                    return Err(search.end(miss.fault));
                }
                Cause::Refused => return Err(search.end(miss.fault)),
            }
        }
    }

    /// Every node that serves slots.
    pub(super) async fn primaries(&self, net: Net) -> Result<Vec<Arc<Node>>> {
        let version = self.version();
        if version == 0 {
            self.refresh(net, version, None).await?;
        }
        Ok(self.map().primaries())
    }

    /// Every node that serves slots, with its slots. Single slots that have moved come first.
    pub(super) async fn served(&self, net: Net) -> Result<Vec<(RangeInclusive<u16>, Arc<Node>)>> {
        if self.version() == 0 {
            self.refresh(net, 0, None).await?;
        }
        let map = self.map();
        let moved = map.moved.iter().map(|(slot, node)| (*slot..=*slot, node));
        let served = map.served.iter();
        let served = served.map(|(first, last, node)| (*first..=*last, node));
        let all = moved.chain(served);
        Ok(all.map(|(slots, node)| (slots, Arc::clone(node))).collect())
    }

    /// The known nodes, without a request.
    pub(super) fn known(&self) -> Vec<Arc<Node>> {
        self.map().primaries()
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.map().version
    }

    /// The node that serves the slot, and the version of the map that says so. Without a slot, any
    /// node.
    async fn owner(&self, net: Net, slot: Option<u16>) -> Result<(Arc<Node>, u64)> {
        if self.version() == 0 {
            self.refresh(net, 0, None).await?;
        } else if self.stale.load(SeqCst)
            && !self.refreshing.rests()
            && self.stale.swap(false, SeqCst)
        {
            let mut still_stale = StillStale(Some(&self.stale));
            if let Err(e) = self.refresh(net, self.version(), None).await {
                log::warn!("no node of the Cluster says who serves what: {e}");
            }
            still_stale.0 = None;
        }
        let map = self.map();
        let owner = match slot {
            Some(slot) => map.owner(slot),
            None => map.served.first().map(|(.., node)| Arc::clone(node)),
        };
        let unserved = || unavailable("no node serves the key's slot".to_owned(), Effect::None);
        Ok((owner.ok_or_else(unserved)?, map.version))
    }

    /// Trusts the node that redirected us, and asks the node that it named for the rest of the map.
    async fn moved(
        &self,
        net: Net,
        slot: Option<u16>,
        to: Address,
        version: u64,
    ) -> Result<(), Fault> {
        let node = self.node(&to).map_err(Fault::NotDone)?;
        if let Err(e) = self
            .refresh_from(net, version, vec![Arc::clone(&node)])
            .await
        {
            log::debug!("{to}: {e}");
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slot
            && !map
                .owner(slot)
                .is_some_and(|owner| Arc::ptr_eq(&owner, &node))
        {
            map.moved.insert(slot, node);
            // Other slots may have moved too: the map is refreshed a moment later.
            self.stale.store(true, SeqCst);
        }
        Ok(())
    }

    /// The node at an address.
    fn node(&self, address: &Address) -> Result<Arc<Node>> {
        if let Some(node) = self.map().nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if map.nodes.len() >= limits::KEPT_NODES {
            map.moved.clear();
            map.keep_serving(&self.seeds);
        }
        self.node_of(&mut map.nodes, address)
    }

    fn node_of(
        &self,
        nodes: &mut HashMap<Address, Arc<Node>>,
        address: &Address,
    ) -> Result<Arc<Node>> {
        if let Some(node) = nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Node::new(self.config.at(address), Arc::clone(&self.counters))?;
        let node = Arc::new(node);
        nodes.insert(address.clone(), Arc::clone(&node));
        Ok(node)
    }

    /// Asks the nodes for the map, unless it was refreshed since `version`; `doubted` is asked
    /// last.
    async fn refresh(&self, net: Net, version: u64, doubted: Option<&Arc<Node>>) -> Result<()> {
        let mut sources = self.map().primaries();
        for seed in &self.seeds {
            if !sources.iter().any(|known| Arc::ptr_eq(known, seed)) {
                sources.push(Arc::clone(seed));
            }
        }
        let first = self.first.load(SeqCst) % sources.len();
        sources.rotate_left(first);
        sources.sort_by_key(|node| doubted.is_some_and(|doubted| Arc::ptr_eq(node, doubted)));
        self.refresh_from(net, version, sources).await
    }

    async fn refresh_from(&self, net: Net, version: u64, sources: Vec<Arc<Node>>) -> Result<()> {
        if self.version() > version {
            return Ok(());
        }
        self.refreshing.take(net, self.ask_any(net, sources)).await
    }

    async fn ask_any(&self, net: Net, sources: Vec<Arc<Node>>) -> Result<()> {
        let until = Instant::now() + self.config.patience();
        let mut last = unavailable("no node was asked in time".to_owned(), Effect::None);
        for source in sources {
            match ask(net, &source).await {
                Ok(served) => return self.learn(served),
                Err(e) => {
                    // This was a query: no operation was sent.
                    let e = e.effect_is(Effect::None);
                    log::debug!("{}: {e}", source.shown_url());
                    self.first.fetch_add(1, SeqCst);
                    last = e;
                }
            }
            if Instant::now() >= until {
                break;
            }
        }
        Err(last)
    }

    /// Stores an answer. Drops nodes that serve nothing any more, except the seeds.
    fn learn(&self, served: Vec<slots::Served>) -> Result<()> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut nodes = std::mem::take(&mut map.nodes);
        map.served.clear();
        map.moved.clear();
        for part in served {
            let node = self.node_of(&mut nodes, &part.by)?;
            map.served.push((part.first, part.last, node));
        }
        map.nodes = nodes;
        map.keep_serving(&self.seeds);
        map.version += 1;
        self.stale.store(false, SeqCst);
        Ok(())
    }
}

/// The map, as one node knows it.
async fn ask(net: Net, source: &Node) -> Result<Vec<slots::Served>> {
    let mut question = Question(&[b"CLUSTER", b"SLOTS"]);
    let answer = source.attempt(net, Asking::No, &mut question).await;
    let answer = answer.map_err(|miss| miss.fault.into_error())?;
    if let Value::ServerError(error) = &answer {
        return Err(crate::engine::reply::server_error(error));
    }
    match slots::parse(&answer, source.address().as_ref()) {
        // A node that was reset knows no slots.
        Some(served) if !served.is_empty() => Ok(served),
        Some(_) => Err(unavailable(
            format!("{} knows of no slots", source.shown_url()),
            Effect::None,
        )),
        None => match nonsense("CLUSTER SLOTS") {
            Failure::Lost { error, .. } | Failure::Refused(error) | Failure::Midway(error) => {
                Err(error)
            }
        },
    }
}
