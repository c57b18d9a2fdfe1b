//! Where the client and the server run, which decides what a round trip costs: on one core the
//! reply is a task switch, on two cores each side must wake the other. A scheduler left alone
//! alternates between the two.

use cachetx::testing::Server;
use rustix::{
    io::{Errno, Result},
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// Cores that this process may use.
pub struct Cores(Vec<usize>);

impl Cores {
    pub fn allowed() -> Result<Self> {
        let set = sched_getaffinity(None)?;
        Ok(Self(
            (0..CpuSet::MAX_CPU)
                .filter(|&core| set.is_set(core))
                .collect(),
        ))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many cores client and server can use: one, and two if there are two.
    pub fn placements(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.0.len().min(2)
    }

    /// Pins this process to one core and the server to the same one or, if `count` is two, to
    /// another.
    pub fn place(&self, server: &Server, count: usize) -> Result<()> {
        let pid = server.pid().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        sched_setaffinity(None, &only(self.0[0]))?;
        sched_setaffinity(Some(pid), &only(self.0[count - 1]))
    }

    /// Lets this process use all its cores again.
    pub fn free(&self) -> Result<()> {
        let mut all = CpuSet::new();
        self.0.iter().for_each(|&core| all.set(core));
        sched_setaffinity(None, &all)
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}
