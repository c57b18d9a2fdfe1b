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

/// What a run asks for: data, so it can be printed, counted, replayed and compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Server(Op),
    Disk(Place, FileAction),
    Outbox(OutboxAction),
    Sleep(Duration),
    /// Waits for a message on the channel, no longer than that. The run stays in the channel's queue until it ends.
    Listen(String, Duration),
}

impl Action {
    /// A stable name: for logs, and for tests that stop at it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Server(op) => format!("server.{}", op.name()),
            Self::Disk(_, action) => format!("disk.{}", action.name()),
            Self::Outbox(action) => format!("outbox.{}", action.name()),
            Self::Sleep(_) => "sleep".to_owned(),
            Self::Listen(..) => "listen".to_owned(),
        }
    }
}

/// What a driver answers, in the same order.
#[derive(Debug)]
pub(crate) enum Answer {
    Server(Result<Reply, Fault>),
    Disk(Result<Got>),
    Outbox(Result<OutboxGot>),
    Slept,
    /// Whether messages come; else whoever waits has to look by itself.
    Heard(bool),
}

/// The driver's clocks when it resumed the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// Ns since 1970, by the wall clock: for file times and for people.
    pub(crate) wall_ns: i64,
    /// Since some fixed moment, suspended time included: for deadlines.
    pub(crate) boot: Duration,
}

/// What a run says when it is resumed.
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

/// A protocol's only way out.
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

    /// Whether messages come.
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

/// An answer that does not fit its question: a bug of whoever answered, told apart from a failure.
pub(crate) fn mismatch(who: &str) -> Error {
    Error::new(Kind::Internal(format!("{who} answered another question")))
}

/// One protocol on its way. Owned and `Send`, so that a driver, a task or a simulator can hold it, hand it on, or drop it;
/// dropping it is a crash, and cleaning up after that is another run's business.
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

    /// Goes on with the answer to the last action (`None` at first).
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
