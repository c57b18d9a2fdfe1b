//! What goes wrong with one save.

use super::{bench::TIMEOUT, support::key};
use cachetx::{Engine, testing::WireFault};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// What happens to one try of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub fault: WireFault,
    at: Place,
    /// The library sends a request again at once where its connection was closed: the same happens to that one too.
    pub times: u64,
}

/// Which of a try's requests it happens to.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The first; for most engines it is the only one.
    First,
    /// The one that writes.
    Write,
    /// The wait for replicas.
    Wait,
}

impl Trouble {
    /// Bytes that only this request has, of all that pass then: other clients of the servers do not name the document.
    pub fn needle(self, engine: Engine) -> Vec<u8> {
        match (self.at, engine) {
            (Place::Wait, _) => b"\r\nWAIT\r\n".to_vec(),
            (Place::Write, Engine::Watch) => b"\r\nEXEC\r\n".to_vec(),
            _ => key("climate").into_bytes(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What happens to the first tries of each operation, in order.
    pub troubles: BTreeMap<&'static str, VecDeque<Option<Trouble>>>,
    pub replicas: Replicas,
    /// Then nothing but its id tells a commit that is sent again from another one.
    pub keeps_lock: bool,
}

/// Whether the save waits for replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replicas {
    #[default]
    NotAsked,
    Asked,
    /// All are asked for, and one of them is halted.
    AskedOneHalted,
}

fn fault() -> impl Strategy<Value = WireFault> {
    prop_oneof![
        3 => Just(WireFault::DropReply),
        2 => Just(WireFault::SwallowReply),
        3 => Just(WireFault::TruncateReply),
        3 => Just(WireFault::DropRequest),
        2 => Just(WireFault::SwallowRequest),
        2 => Just(WireFault::DelayReply(2 * TIMEOUT)),
    ]
}

fn tries(place: impl Strategy<Value = Place> + Clone) -> impl Strategy<Value = Tries> {
    let times = prop_oneof![Just(1), Just(2)];
    let trouble = (fault(), place, times);
    let trouble = trouble.prop_map(|(fault, at, times)| Trouble { fault, at, times });
    let tries = proptest::collection::vec(proptest::option::weighted(0.75, trouble), 1..3);
    tries.prop_map(VecDeque::from)
}

type Tries = VecDeque<Option<Trouble>>;

/// `replicated`: there are replicas to wait for.
pub fn plan(replicated: bool) -> impl Strategy<Value = Plan> {
    let write = prop_oneof![2 => Just(Place::First), 3 => Just(Place::Write)];
    let commit = match replicated {
        true => prop_oneof![3 => write.clone(), 1 => Just(Place::Wait)].boxed(),
        false => write.clone().boxed(),
    };
    let replicas = match replicated {
        true => prop_oneof![
            Just(Replicas::NotAsked),
            Just(Replicas::Asked),
            Just(Replicas::AskedOneHalted),
        ]
        .boxed(),
        false => Just(Replicas::NotAsked).boxed(),
    };
    let acquire = proptest::option::weighted(0.2, tries(write));
    let all = (acquire, tries(commit), replicas, any::<bool>());
    all.prop_map(|(acquire, commit, replicas, keeps_lock)| {
        let acquire = acquire.map(|tries| ("server.Acquire", tries));
        Plan {
            troubles: acquire
                .into_iter()
                .chain([("server.Commit", commit)])
                .collect(),
            replicas,
            keeps_lock,
        }
    })
}
