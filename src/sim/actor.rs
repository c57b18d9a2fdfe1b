//! A participant of a simulation: a script that drives protocols one after the other, and stops
//! before each action.

use crate::{
    disk::{FileAction, Got, Identity},
    model::{Place, Result},
    op::{Ask, Fault},
    protocol::{Action, Answer, Now, Run, Step},
};
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// What a script waits for.
#[derive(Debug)]
pub(super) enum Wish {
    Act(Action),
    /// A protocol is over, so its files are closed: this is no action, and nobody else gets a turn.
    Close,
}

#[derive(Default)]
struct Port {
    wish: Option<Wish>,
    answer: Option<Answer>,
    now: Now,
    tick: u64,
    /// The tick of the first action since the script called [`Hand::begin`].
    began: Option<u64>,
    /// The last token; all scripts share this counter.
    tokens: Rc<RefCell<u64>>,
}

/// A script's only interface to the world.
#[derive(Clone)]
pub(crate) struct Hand(Rc<RefCell<Port>>);

impl Hand {
    /// Drives a protocol, as the blocking driver does.
    pub(crate) async fn run<D>(&self, mut run: Run<D>) -> Result<D> {
        let mut answer = None;
        loop {
            match run.resume(answer.take(), self.now()) {
                Step::Do(action) => answer = Some(self.wait_for(Wish::Act(action)).await),
                Step::Done(done) => {
                    self.wait_for(Wish::Close).await;
                    return done;
                }
            }
        }
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
        let mut last = port.tokens.borrow_mut();
        *last += 1;
        format!("{:032x}", *last)
    }
}

/// A script and what it waits for. Dropping it is a crash.
pub(super) struct Script {
    port: Rc<RefCell<Port>>,
    body: Pin<Box<dyn Future<Output = ()>>>,
}

impl Script {
    pub(super) fn new<F>(tokens: Rc<RefCell<u64>>, body: impl FnOnce(Hand) -> F) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let port = Rc::new(RefCell::new(Port {
            tokens,
            ..Port::default()
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

    /// Tells the script its next action's number.
    pub(super) fn acts(&self, tick: u64) {
        self.port.borrow_mut().began.get_or_insert(tick);
    }
}
