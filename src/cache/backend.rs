//! Runs of a cache: they touch no file and wait for no lock.

use super::Cache;
use crate::{
    disk::{OutboxAction, OutboxGot},
    drive::{self, Backend, Local},
    model::Result,
    op::{Fault, Op, Reply},
    protocol::Run,
};

impl Cache {
    pub(crate) fn drive<D>(&self, run: Run<D>) -> Result<D> {
        drive::drive(run, self)
    }
}

impl Local for &Cache {
    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        self.keep(action)
    }
}

impl Backend for &Cache {
    fn server(&mut self, op: Op) -> Result<Reply, Fault> {
        self.perform(op)
    }
}
