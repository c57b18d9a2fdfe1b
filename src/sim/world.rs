//! A disk, a server, outboxes, a clock, and scripts that take turns.

pub(crate) use super::actor::Who;
use super::{
    actor::{Begun, Caller, Common, Hand, Script, Wish},
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

enum Event {
    Took(Who, Action, Fate),
    Died(Who),
    GaveUp(Who),
    /// An event that no actor caused.
    Befell(String),
}

struct Actor {
    name: String,
    /// The first script of its process.
    process: Who,
    /// Who waits for it, if it is a task.
    caller: Option<Who>,
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
    common: Rc<Common>,
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
            common: Rc::default(),
        }
    }

    /// Starts a script in a process of its own; nothing happens until its first turn.
    pub(crate) fn start<F>(&mut self, name: &str, body: impl FnOnce(Hand) -> F) -> Who
    where
        F: Future<Output = ()> + 'static,
    {
        self.start_by(Caller::Threads, name, body)
    }

    /// The same with calls of the API for threads or for tasks.
    pub(crate) fn start_by<F>(
        &mut self,
        net: Caller,
        name: &str,
        body: impl FnOnce(Hand) -> F,
    ) -> Who
    where
        F: Future<Output = ()> + 'static,
    {
        let script = Script::new(Rc::clone(&self.common), net, body);
        self.add(name.to_owned(), self.actors.len(), None, script)
    }

    fn add(&mut self, name: String, process: Who, caller: Option<Who>, script: Script) -> Who {
        let who = self.actors.len();
        script.is_performed_by(who);
        self.actors.push(Actor {
            name,
            process,
            caller,
            script: Some(script),
            next: None,
            session: None,
            wakes: Duration::ZERO,
        });
        self.resume(who, None);
        who
    }

    /// Starts the tasks that scripts have begun.
    fn start_tasks(&mut self) {
        for begun in self.common.take_begun() {
            let Begun {
                of,
                has_caller,
                script,
            } = begun;
            let Actor { name, process, .. } = &self.actors[of];
            let part = if has_caller { "task" } else { "timer" };
            let (name, process) = (format!("{name}'s {part}"), *process);
            self.add(name, process, has_caller.then_some(of), script);
        }
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
            Action::Outbox(action) => Answer::Outbox(self.outboxes.perform(actor.process, action)),
            Action::Sleep(_) | Action::Wait(_) => Answer::Slept,
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
                        Action::Listen(..) | Action::Wait(_) if script.is_abandoned() => self.clock,
                        Action::Sleep(pause) | Action::Wait(pause) | Action::Listen(_, pause) => {
                            self.clock.saturating_add(pause)
                        }
                        _ => Duration::ZERO,
                    };
                    actor.next = Some(action);
                }
                Some(Wish::Close) => {
                    if let Some(session) = actor.session.take() {
                        session.close(&mut self.disk);
                    }
                    answer = Some(Answer::Slept);
                    continue;
                }
                Some(Wish::Task) => {}
                None => self.end(who),
            }
            return self.start_tasks();
        }
    }

    /// A script is over: who waits for it can take a turn. A process is over with its last script:
    /// anybody may take over its outbox.
    fn end(&mut self, who: Who) {
        let Actor {
            process, caller, ..
        } = self.actors[who];
        self.actors[who].script = None;
        if let Some(caller) = caller.filter(|caller| self.lives(*caller)) {
            let (turn, now) = (Action::Sleep(Duration::ZERO), self.clock);
            let caller = &mut self.actors[caller];
            (caller.next, caller.wakes) = (Some(turn), now);
        }
        self.start_tasks();
        let lives = |actor: &Actor| actor.process == process && actor.script.is_some();
        if !self.actors.iter().any(lives) {
            self.outboxes.die(process);
        }
    }

    /// The script's future is dropped before its next poll, as by a time-out. Its process lives.
    pub(crate) fn give_up(&mut self, who: Who) {
        self.trace.push(Event::GaveUp(who));
        self.stop(who);
        let now = self.clock;
        let tasks = self.actors.iter_mut();
        for actor in tasks.filter(|actor| actor.caller == Some(who)) {
            if let Some(task) = &actor.script {
                task.is_unwanted();
                if task.is_abandoned()
                    && matches!(actor.next, Some(Action::Listen(..) | Action::Wait(_)))
                {
                    actor.wakes = now;
                }
            }
        }
        self.start_tasks();
    }

    /// The script's process dies before its next action: its OS locks are released, and anybody may
    /// take over its outbox.
    pub(crate) fn crash(&mut self, who: Who) {
        self.trace.push(Event::Died(who));
        let process = self.actors[who].process;
        for who in 0..self.actors.len() {
            if self.actors[who].process == process {
                self.stop(who);
            }
        }
        // Its guards give nothing back.
        self.common.take_begun();
        self.outboxes.die(process);
    }

    fn stop(&mut self, who: Who) {
        let actor = &mut self.actors[who];
        (actor.script, actor.next) = (None, None);
        if let Some(session) = actor.session.take() {
            session.close(&mut self.disk);
        }
    }

    /// Whether the script is not over, and was not dropped.
    pub(crate) fn lives(&self, who: Who) -> bool {
        self.actors[who].script.is_some()
    }

    /// The first script of this script's process.
    pub(crate) fn process(&self, who: Who) -> Who {
        self.actors[who].process
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
        Self {
            clock: self.clock,
            set_back: self.set_back,
            common: Rc::new(self.common.copy()),
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
            Event::GaveUp(who) => format!("{} is dropped", self.actors[*who].name),
            Event::Befell(what) => what.clone(),
        });
        told.collect::<Vec<_>>().join("\n  ")
    }
}
