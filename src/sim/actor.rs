//! A participant of a simulation: a script that drives protocols one after the other, and stops
//! before each action.

use crate::{
    disk::{FileAction, Got, Identity},
    model::{Error, Place, Result, error::Kind},
    op::{Ask, Fault},
    protocol::{Action, Answer, Now, Run, Step},
};
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Identifies a script. One that no other script has begun is a process of its own.
pub(crate) type Who = usize;

/// What a script waits for.
#[derive(Debug)]
pub(super) enum Wish {
    Act(Action),
    /// A protocol is over, so its files are closed: this is no action, and nobody else gets a turn.
    Close,
    /// A task that the script has begun is over.
    Task,
}

/// Whose future an API's call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A thread's: it can only die with its process.
    Threads,
    /// A task's, which may be dropped.
    Tasks(Option<TaskWeakness>),
}

/// The API for tasks with one part removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskWeakness {
    /// The caller's future performs all actions itself.
    NoTasksOfTheirOwn,
    /// Whoever waits for a lock goes on if its caller is dropped.
    WaitsUnwanted,
    /// A guard that is dropped gives nothing back.
    ForgetfulGuards,
}

/// What all scripts of a world share.
#[derive(Default)]
pub(super) struct Common {
    last_token: Cell<u64>,
    /// Tasks that no actor performs yet.
    begun: RefCell<Vec<Begun>>,
}

impl Common {
    /// A copy for a copy of the world.
    pub(super) fn copy(&self) -> Self {
        Self {
            last_token: self.last_token.clone(),
            begun: RefCell::default(),
        }
    }

    pub(super) fn take_begun(&self) -> Vec<Begun> {
        self.begun.take()
    }
}

/// A task that a script has begun.
pub(super) struct Begun {
    /// A script of its process.
    pub(super) of: Who,
    pub(super) has_caller: bool,
    pub(super) script: Script,
}

struct Port {
    who: Who,
    net: Caller,
    wish: Option<Wish>,
    answer: Option<Answer>,
    now: Now,
    tick: u64,
    /// The tick of the first action since the script called [`Hand::begin`].
    began: Option<u64>,
    /// Whether the task ends, where it waits for others, once nobody waits for it.
    ends_unwanted: bool,
    unwanted: bool,
    common: Rc<Common>,
}

/// A script's only interface to the world.
#[derive(Clone)]
pub(crate) struct Hand(Rc<RefCell<Port>>);

impl Hand {
    /// Drives a protocol, as the blocking driver does.
    pub(crate) async fn run<D>(&self, mut run: Run<D>) -> Result<D> {
        let mut answer = None;
        loop {
            let done = match run.resume(answer.take(), self.now()) {
                Step::Do(action) => {
                    let waits = matches!(action, Action::Listen(..) | Action::Wait(_));
                    answer = Some(self.wait_for(Wish::Act(action)).await);
                    match waits && self.0.borrow().is_abandoned() {
                        true => Err(Error::new(Kind::Abandoned)),
                        false => continue,
                    }
                }
                Step::Done(done) => done,
            };
            self.wait_for(Wish::Close).await;
            return done;
        }
    }

    /// Runs work that could leave something behind, as the library's `Net::to_its_end` does.
    pub(crate) async fn to_its_end<R: 'static, F: Future<Output = Result<R>> + 'static>(
        &self,
        work: impl FnOnce(Self) -> F,
    ) -> Result<R> {
        self.in_a_task(false, work).await
    }

    /// The same for work that waits for a lock, as `Net::while_wanted` does.
    pub(crate) async fn while_wanted<R: 'static, F: Future<Output = Result<R>> + 'static>(
        &self,
        work: impl FnOnce(Self) -> F,
    ) -> Result<R> {
        let ends_unwanted = self.net() != Caller::Tasks(Some(TaskWeakness::WaitsUnwanted));
        self.in_a_task(ends_unwanted, work).await
    }

    async fn in_a_task<R: 'static, F: Future<Output = Result<R>> + 'static>(
        &self,
        ends_unwanted: bool,
        work: impl FnOnce(Self) -> F,
    ) -> Result<R> {
        match self.net() {
            Caller::Threads | Caller::Tasks(Some(TaskWeakness::NoTasksOfTheirOwn)) => {
                work(self.clone()).await
            }
            Caller::Tasks(_) => {
                let said = Rc::new(RefCell::new(None));
                let result = Rc::clone(&said);
                self.begin_task(true, ends_unwanted, |hand| {
                    let work = work(hand);
                    async move { *result.borrow_mut() = Some(work.await) }
                });
                self.wait_for(Wish::Task).await;
                said.take().expect("the task is over")
            }
        }
    }

    /// Begins work for which nobody waits, as the timer's thread does it.
    pub(crate) fn later<F: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Self) -> F) {
        if self.net() != Caller::Tasks(Some(TaskWeakness::ForgetfulGuards)) {
            self.begin_task(false, false, work);
        }
    }

    fn begin_task<F: Future<Output = ()> + 'static>(
        &self,
        has_caller: bool,
        ends_unwanted: bool,
        work: impl FnOnce(Self) -> F,
    ) {
        let Port { who, net, .. } = *self.0.borrow();
        let common = Rc::clone(&self.0.borrow().common);
        let script = Script::new(Rc::clone(&common), net, work);
        script.port.borrow_mut().ends_unwanted = ends_unwanted;
        common.begun.borrow_mut().push(Begun {
            of: who,
            has_caller,
            script,
        });
    }

    fn net(&self) -> Caller {
        self.0.borrow().net
    }

    /// Drives a protocol up to the first action of that kind, and ends it there. Returns its result
    /// if it was over before.
    pub(crate) async fn run_until<D>(
        &self,
        mut run: Run<D>,
        is_end: fn(&Action) -> bool,
    ) -> Option<Result<D>> {
        let mut answer = None;
        let done = loop {
            match run.resume(answer.take(), self.now()) {
                Step::Do(action) if is_end(&action) => break None,
                Step::Do(action) => answer = Some(self.wait_for(Wish::Act(action)).await),
                Step::Done(done) => break Some(done),
            }
        };
        self.wait_for(Wish::Close).await;
        done
    }

    /// The document's identity by one system call, as a reader with a snapshot reads it.
    pub(crate) async fn glance(&self, place: &Place) -> Option<Identity> {
        let action = Action::Disk(place.clone(), FileAction::Stat);
        let answer = self.wait_for(Wish::Act(action)).await;
        self.wait_for(Wish::Close).await;
        match answer {
            Answer::Disk(Ok(Got::Identity(identity))) => identity,
            _ => None,
        }
    }

    /// Sends a request to the server outside a protocol, as the cache does.
    pub(crate) async fn ask<A: Ask>(&self, op: A) -> Result<()> {
        match self.wait_for(Wish::Act(Action::Server(op.into_op()))).await {
            Answer::Server(done) => done.map(drop).map_err(Fault::into_error),
            other => panic!("{other:?}"),
        }
    }

    /// A point that is no action of a protocol: others may have a turn.
    pub(crate) async fn pause(&self) {
        let nothing = Wish::Act(Action::Sleep(Duration::ZERO));
        self.wait_for(nothing).await;
    }

    async fn wait_for(&self, wish: Wish) -> Answer {
        self.0.borrow_mut().wish = Some(wish);
        poll_fn(|_| match self.0.borrow_mut().answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }

    pub(crate) fn now(&self) -> Now {
        self.0.borrow().now
    }

    /// The number of actions that all scripts together had taken when this one's last action was
    /// done.
    pub(crate) fn tick(&self) -> u64 {
        self.0.borrow().tick
    }

    /// Marks a beginning: `began` counts from the next action.
    pub(crate) fn begin(&self) {
        self.0.borrow_mut().began = None;
    }

    /// The number of actions that had been taken before the first one since [`begin`](Self::begin).
    pub(crate) fn began(&self) -> u64 {
        self.0.borrow().began.unwrap_or(self.tick())
    }

    /// 128 bits that nobody else has.
    pub(crate) fn token(&self) -> String {
        let port = self.0.borrow();
        let last = port.common.last_token.get() + 1;
        port.common.last_token.set(last);
        format!("{last:032x}")
    }
}

impl Port {
    fn is_abandoned(&self) -> bool {
        self.unwanted && self.ends_unwanted
    }
}

/// A script and what it waits for. Dropping it is a crash.
pub(super) struct Script {
    port: Rc<RefCell<Port>>,
    body: Pin<Box<dyn Future<Output = ()>>>,
}

impl Script {
    pub(super) fn new<F>(common: Rc<Common>, net: Caller, body: impl FnOnce(Hand) -> F) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let port = Rc::new(RefCell::new(Port {
            who: Who::MAX,
            net,
            wish: None,
            answer: None,
            now: Now::default(),
            tick: 0,
            began: None,
            ends_unwanted: false,
            unwanted: false,
            common,
        }));
        Self {
            body: Box::pin(body(Hand(port.clone()))),
            port,
        }
    }

    /// Resumes with an answer (`None` at first). Returns what the script waits for next, or `None`
    /// if it is over.
    pub(super) fn resume(&mut self, answer: Option<Answer>, now: Now, tick: u64) -> Option<Wish> {
        {
            let mut port = self.port.borrow_mut();
            (port.answer, port.now, port.tick) = (answer, now, tick);
        }
        let mut context = Context::from_waker(Waker::noop());
        match self.body.as_mut().poll(&mut context) {
            Poll::Ready(()) => None,
            Poll::Pending => self.port.borrow_mut().wish.take(),
        }
    }

    /// An actor performs it from now on.
    pub(super) fn is_performed_by(&self, who: Who) {
        self.port.borrow_mut().who = who;
    }

    /// Nobody waits for the task any more.
    pub(super) fn is_unwanted(&self) {
        self.port.borrow_mut().unwanted = true;
    }

    /// Whether it ends where it waits for a lock.
    pub(super) fn is_abandoned(&self) -> bool {
        self.port.borrow().is_abandoned()
    }

    /// Tells the script its next action's number.
    pub(super) fn acts(&self, tick: u64) {
        self.port.borrow_mut().began.get_or_insert(tick);
    }
}
