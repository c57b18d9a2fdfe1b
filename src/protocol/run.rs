use crate::{
    disk::{FileAction, Got, OutboxAction, OutboxGot},
    model::{Error, Place, Result, error::Kind, limits},
    op::{Ask, Fault, Op, Reply},
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// What a run asks for. It is data, so it can be printed, counted, replayed and compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Server(Op),
    Disk(Place, FileAction),
    Outbox(OutboxAction),
    Sleep(Duration),
    /// Sleeps while the run holds nothing: it may be dropped here.
    Wait(Duration),
    /// Waits for a message on the channel, at most this long. The run stays in the channel's queue
    /// until it ends.
    Listen(String, Duration),
}

impl Action {
    /// A stable name, for logs and for tests that stop at an action.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Server(op) => format!("server.{}", op.name()),
            Self::Disk(_, action) => format!("disk.{}", action.name()),
            Self::Outbox(action) => format!("outbox.{}", action.name()),
            Self::Sleep(_) => "sleep".to_owned(),
            Self::Wait(_) => "wait".to_owned(),
            Self::Listen(..) => "listen".to_owned(),
        }
    }
}

/// A driver's answers, in the same order.
#[derive(Debug)]
pub(crate) enum Answer {
    Server(Result<Reply, Fault>),
    Disk(Result<Got>),
    Outbox(Result<OutboxGot>),
    Slept,
    /// Whether messages arrive; if not, the waiter must poll.
    Heard(bool),
}

/// The driver's clocks at the time it resumed the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// Wall clock, in ns since 1970: for file times and for people.
    pub(crate) wall_ns: i64,
    /// Time since some fixed moment, including suspended time: for deadlines.
    pub(crate) boot: Duration,
}

/// The result of resuming a run.
#[derive(Debug)]
pub(crate) enum Step<D> {
    Do(Action),
    Done(Result<D>),
}

#[derive(Default)]
struct Port {
    ask: Option<Action>,
    answer: Option<Answer>,
    now: Now,
}

fn open(port: &Mutex<Port>) -> MutexGuard<'_, Port> {
    // Nothing can panic while it is held, so a poisoned port is still whole.
    port.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A protocol's only access to the outside.
pub(crate) struct Io(Arc<Mutex<Port>>);

impl Io {
    async fn ask(&self, action: Action) -> Answer {
        open(&self.0).ask = Some(action);
        poll_fn(|_| match open(&self.0).answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }

    pub(super) async fn server<A: Ask>(&self, op: A) -> Result<A::Reply, Fault> {
        match self.ask(Action::Server(op.into_op())).await {
            Answer::Server(Ok(reply)) => {
                A::reply(reply).ok_or_else(|| Fault::Unknown(mismatch("an engine")))
            }
            Answer::Server(Err(fault)) => Err(fault),
            _ => Err(Fault::Unknown(mismatch("a driver"))),
        }
    }

    pub(super) async fn disk(&self, place: &Place, action: FileAction) -> Result<Got> {
        match self.ask(Action::Disk(place.clone(), action)).await {
            Answer::Disk(got) => got,
            _ => Err(mismatch("a driver")),
        }
    }

    pub(super) async fn outbox(&self, action: OutboxAction) -> Result<OutboxGot> {
        match self.ask(Action::Outbox(action)).await {
            Answer::Outbox(got) => got,
            _ => Err(mismatch("a driver")),
        }
    }

    pub(super) async fn sleep(&self, pause: Duration) {
        self.ask(Action::Sleep(pause)).await;
    }

    /// Sleeps while the run holds nothing.
    pub(super) async fn wait(&self, pause: Duration) {
        self.ask(Action::Wait(pause)).await;
    }

    /// Returns whether messages arrive.
    pub(super) async fn listen(&self, channel: String, pause: Duration) -> bool {
        matches!(
            self.ask(Action::Listen(channel, pause)).await,
            Answer::Heard(true)
        )
    }

    /// The clocks as of the last resume.
    pub(super) fn now(&self) -> Now {
        open(&self.0).now
    }
}

/// An answer that does not fit its question: a bug in the component that answered, reported apart
/// from failures.
pub(crate) fn mismatch(who: &str) -> Error {
    Error::new(Kind::Internal(format!("{who} answered another question")))
}

/// One protocol in progress. Owned and `Send`, so that a driver, a task or a simulator can hold it,
/// move it or drop it. Dropping it is a crash; another run cleans up after that.
pub(crate) struct Run<D> {
    body: Pin<Box<dyn Future<Output = Result<D>> + Send>>,
    port: Arc<Mutex<Port>>,
    steps: u32,
}

impl<D> Run<D> {
    pub(crate) fn new<F>(body: impl FnOnce(Io) -> F) -> Self
    where
        F: Future<Output = Result<D>> + Send + 'static,
    {
        let port = Arc::new(Mutex::new(Port::default()));
        Self {
            body: Box::pin(body(Io(port.clone()))),
            port,
            steps: 0,
        }
    }

    /// Continues with the answer to the last action (`None` at first).
    pub(crate) fn resume(&mut self, answer: Option<Answer>, now: Now) -> Step<D> {
        self.steps += 1;
        if self.steps > limits::MAX_STEPS {
            return Step::Done(Err(Error::new(Kind::Internal(
                "a protocol did not end".to_owned(),
            ))));
        }
        {
            let mut port = open(&self.port);
            port.answer = answer;
            port.now = now;
        }
        match self
            .body
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(done) => Step::Done(done),
            Poll::Pending => match open(&self.port).ask.take() {
                Some(action) => Step::Do(action),
                None => Step::Done(Err(Error::new(Kind::Internal(
                    "a protocol waits for something that is no action".to_owned(),
                )))),
            },
        }
    }
}
