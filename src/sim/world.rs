//! A disk, a server, outboxes, a clock, and scripts that take turns.

use super::{
    actor::{Hand, Script, Wish},
    outbox::SimOutboxes,
    server::{Fate, SimServer},
};
use crate::{
    disk::sim::{SimDisk, SimSession},
    protocol::{Action, Answer, Now},
};
use std::{cell::RefCell, future::Future, rc::Rc, time::Duration};

/// The clock at the beginning, in ns since 1970.
const EPOCH_NS: i64 = 1_700_000_000_000_000_000;
/// The maximum number of turns in one simulation; more are a bug of a script or a protocol.
const MAX_TURNS: u64 = 100_000;

/// Identifies a script, which is a process of its own.
pub(crate) type Who = usize;

enum Event {
    Took(Who, Action, Fate),
    Died(Who),
    /// An event that no actor caused.
    Befell(String),
}

struct Actor {
    name: String,
    /// `None` once it is over or has crashed.
    script: Option<Script>,
    next: Option<Action>,
    session: Option<SimSession>,
    /// When it continues, if it sleeps.
    wakes: Duration,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) server: SimServer,
    pub(crate) outboxes: SimOutboxes,
    /// The time since the beginning. It only advances by sleeps and [`World::advance`].
    pub(crate) clock: Duration,
    /// How far the wall clock was set back.
    pub(crate) set_back: Duration,
    /// The events so far.
    trace: Vec<Event>,
    actors: Vec<Actor>,
    tokens: Rc<RefCell<u64>>,
}

impl World {
    pub(crate) fn new(disk: SimDisk, server: SimServer) -> Self {
        Self {
            disk,
            server,
            outboxes: SimOutboxes::default(),
            clock: Duration::ZERO,
            set_back: Duration::ZERO,
            trace: Vec::new(),
            actors: Vec::new(),
            tokens: Rc::default(),
        }
    }

    /// Starts a script in a process of its own; nothing happens until its first turn.
    pub(crate) fn start<F>(&mut self, name: &str, body: impl FnOnce(Hand) -> F) -> Who
    where
        F: Future<Output = ()> + 'static,
    {
        let who = self.actors.len();
        self.actors.push(Actor {
            name: name.to_owned(),
            script: Some(Script::new(self.tokens.clone(), body)),
            next: None,
            session: None,
            wakes: Duration::ZERO,
        });
        self.resume(who, None);
        who
    }

    /// Starts a script and gives nobody else a turn until it is over. Returns its result.
    pub(crate) fn do_now<T, F>(&mut self, name: &str, body: impl FnOnce(Hand) -> F) -> T
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let said = Rc::new(RefCell::new(None));
        let result = said.clone();
        let who = self.start(name, |hand| {
            let body = body(hand);
            async move { *result.borrow_mut() = Some(body.await) }
        });
        while self.next(who).is_some() {
            self.wait_for(who);
            self.turn(who, Fate::Answered);
        }
        said.take().expect("it is over")
    }

    /// The script's next action; `None` once it is over or has crashed.
    pub(crate) fn next(&self, who: Who) -> Option<&Action> {
        self.actors[who].next.as_ref()
    }

    /// The scripts that can take a turn now.
    pub(crate) fn ready(&self) -> Vec<Who> {
        let all = self.actors.iter().enumerate();
        all.filter(|(_, actor)| actor.next.is_some() && actor.wakes <= self.clock)
            .map(|(who, _)| who)
            .collect()
    }

    /// The scripts that are not over.
    pub(crate) fn living(&self) -> Vec<Who> {
        let all = self.actors.iter().enumerate();
        all.filter(|(_, actor)| actor.next.is_some())
            .map(|(who, _)| who)
            .collect()
    }

    /// Takes a script's next action; `fate` is its fate if it is a request.
    pub(crate) fn turn(&mut self, who: Who, fate: Fate) {
        let Some(action) = self.actors[who].next.take() else {
            return;
        };
        let tick = self.trace.len() as u64;
        assert!(tick < MAX_TURNS, "the simulation does not end");
        let wall_ns = self.now().wall_ns;
        let actor = &mut self.actors[who];
        if let Some(script) = &actor.script {
            script.acts(tick);
        }
        let session = actor.session.get_or_insert_with(|| self.disk.session());
        let answer = match &action {
            Action::Server(op) => Answer::Server(self.server.perform(op, fate)),
            Action::Disk(place, action) => {
                Answer::Disk(session.perform(&mut self.disk, place, action, wall_ns))
            }
            Action::Outbox(action) => Answer::Outbox(self.outboxes.perform(who, action)),
            Action::Sleep(_) => Answer::Slept,
            // No message ever arrives: a waiter has to poll.
            Action::Listen(..) => Answer::Heard(false),
        };
        self.trace.push(Event::Took(who, action, fate));
        self.resume(who, Some(answer));
    }

    fn resume(&mut self, who: Who, mut answer: Option<Answer>) {
        let (now, tick) = (self.now(), self.trace.len() as u64);
        loop {
            let actor = &mut self.actors[who];
            let Some(script) = &mut actor.script else {
                return;
            };
            match script.resume(answer.take(), now, tick) {
                Some(Wish::Act(action)) => {
                    actor.wakes = match action {
                        Action::Sleep(pause) | Action::Listen(_, pause) => {
                            self.clock.saturating_add(pause)
                        }
                        _ => Duration::ZERO,
                    };
                    actor.next = Some(action);
                    return;
                }
                Some(Wish::Close) => {
                    if let Some(session) = actor.session.take() {
                        session.close(&mut self.disk);
                    }
                    answer = Some(Answer::Slept);
                }
                None => {
                    actor.script = None;
                    // The process ends: anybody may take over its outbox.
                    self.outboxes.die(who);
                    return;
                }
            }
        }
    }

    /// The script's process dies before its next action: its OS locks are released, and anybody may
    /// take over its outbox.
    pub(crate) fn crash(&mut self, who: Who) {
        let actor = &mut self.actors[who];
        self.trace.push(Event::Died(who));
        (actor.script, actor.next) = (None, None);
        if let Some(session) = actor.session.take() {
            session.close(&mut self.disk);
        }
        self.outboxes.die(who);
    }

    /// The world after a power loss: all processes are dead, and this disk and server are left.
    pub(crate) fn after_power_loss(&self, disk: SimDisk, server: SimServer) -> Self {
        let mut outboxes = self.outboxes.clone();
        outboxes.all_die();
        Self {
            outboxes,
            ..self.with(disk, server)
        }
    }

    /// A copy of the world while no script runs, so that several plays can start from it.
    pub(crate) fn copy(&self) -> Self {
        assert!(self.living().is_empty(), "a script cannot be copied");
        Self {
            outboxes: self.outboxes.clone(),
            ..self.with(self.disk.clone(), self.server.copy())
        }
    }

    fn with(&self, disk: SimDisk, server: SimServer) -> Self {
        let tokens = *self.tokens.borrow();
        Self {
            clock: self.clock,
            set_back: self.set_back,
            tokens: Rc::new(RefCell::new(tokens)),
            ..Self::new(disk, server)
        }
    }

    pub(crate) fn now(&self) -> Now {
        let ns = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        Now {
            wall_ns: EPOCH_NS + ns(self.clock) - ns(self.set_back),
            boot: self.clock,
        }
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        let before = self.clock.as_millis();
        self.clock = self.clock.saturating_add(time);
        let ms = u64::try_from(self.clock.as_millis() - before).unwrap_or(u64::MAX);
        self.server.advance(Duration::from_millis(ms));
    }

    /// A late request reaches the server.
    pub(crate) fn deliver(&mut self, n: usize) {
        let name = self.server.deliver(n);
        self.befalls(format!("the late server.{name} arrives"));
    }

    fn sleep_until(&mut self, moment: Duration) {
        self.advance(moment.saturating_sub(self.clock));
    }

    /// Lets time pass until this script can take a turn.
    pub(crate) fn wait_for(&mut self, who: Who) {
        self.sleep_until(self.actors[who].wakes);
    }

    /// Lets time pass until some script can take a turn, if all living ones are asleep.
    pub(crate) fn wait_for_somebody(&mut self) {
        let living = self.actors.iter().filter(|actor| actor.next.is_some());
        if let Some(first) = living.map(|actor| actor.wakes).min() {
            self.sleep_until(first);
        }
    }

    /// Records an event, such as one of the server.
    pub(crate) fn befalls(&mut self, what: impl Into<String>) {
        self.trace.push(Event::Befell(what.into()));
    }

    /// The number of actions so far that were not file actions: the contents of servers and
    /// outboxes only change with these.
    pub(crate) fn requests(&self) -> usize {
        let is_request = |event: &&Event| {
            matches!(
                event,
                Event::Took(_, Action::Server(_) | Action::Outbox(_), _)
            )
        };
        self.trace.iter().filter(is_request).count()
    }

    /// The events so far, for a message.
    pub(crate) fn story(&self) -> String {
        let told = self.trace.iter().map(|event| match event {
            Event::Took(who, action, Fate::Answered) => {
                format!("{} {}", self.actors[*who].name, action.name())
            }
            Event::Took(who, action, fate) => {
                format!("{} {} {fate:?}", self.actors[*who].name, action.name())
            }
            Event::Died(who) => format!("{} dies", self.actors[*who].name),
            Event::Befell(what) => what.clone(),
        });
        told.collect::<Vec<_>>().join("\n  ")
    }
}
