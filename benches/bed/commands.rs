//! The commands of a save as the server sees them (MONITOR), and the CPU time that it records for
//! them (INFO commandstats).
//!
//! INFO records a command in a script or a transaction under its own name, and again under EVALSHA,
//! FCALL or EXEC, which include what they run (observed on Redis 6.2, 7.0, 8.2 and Valkey 9.1). So
//! only outer commands are added up: those that a client sent outside a transaction.

use super::{scene::Scene, subject::Subject};
use cachetx::{BoxError, testing::Server};
use redis::Connection;
use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

/// Ends the commands of a step.
const MARK: &str = "cachetx-step";
const MONITOR_TIMEOUT: Duration = Duration::from_secs(30);

/// How often each command ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, name: &str) {
        *self.0.entry(name.to_lowercase()).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// `EXEC 1, MULTI 1`, or `none`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let counts = self.0.iter();
        let words: Vec<String> = counts
            .map(|(name, count)| format!("{} {count}", name.to_uppercase()))
            .collect();
        f.write_str(&words.join(", "))
    }
}

/// The commands of one step of a save.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// Sent by the client outside a transaction, EXEC included.
    outer: Tally,
    /// Sent by the client in a transaction.
    framed: Tally,
    /// Called by scripts.
    pub scripted: Tally,
}

impl Commands {
    /// Everything that the client sent.
    pub fn sent(&self) -> Tally {
        let mut sent = self.outer.clone();
        sent.add(&self.framed);
        sent
    }

    fn add(&mut self, other: &Self) {
        self.outer.add(&other.outer);
        self.framed.add(&other.framed);
        self.scripted.add(&other.scripted);
    }

    fn total(&self, name: &str) -> u64 {
        let tallies = [&self.outer, &self.framed, &self.scripted];
        tallies.iter().filter_map(|tally| tally.0.get(name)).sum()
    }
}

/// The steps of one save.
#[derive(Debug)]
pub struct Steps(Vec<Commands>);

impl Steps {
    /// Watches one save, after two that open connections and load scripts.
    pub fn watch(
        server: &Server,
        plain: &mut Connection,
        scene: &Scene,
        subject: &mut dyn Subject,
    ) -> Result<Self, BoxError> {
        for _ in 0..2 {
            subject.warm(plain, scene)?;
            subject.save(&mut || {})?;
        }
        subject.warm(plain, scene)?;
        let mut monitor = Monitor::start(server)?;
        let mut steps = Vec::new();
        subject.save(&mut || steps.push(monitor.step(plain).expect("MONITOR answers")))?;
        Ok(Self(steps))
    }

    /// The commands of the whole save.
    pub fn sum(&self) -> Commands {
        let mut sum = Commands::default();
        self.0.iter().for_each(|step| sum.add(step));
        sum
    }

    /// The share of outer calls in the time that the server records for each command of a save. If
    /// a save calls a command both inside and outside of scripts and transactions, INFO is asked
    /// after each step; within one step each call counts the same.
    pub fn shares(
        &self,
        plain: &mut Connection,
        scene: &Scene,
        subject: &mut dyn Subject,
        saves: u32,
    ) -> Result<Shares, BoxError> {
        let (mut outer, mut all) = (Booked::new(), Booked::new());
        for _ in 0..saves {
            subject.warm(plain, scene)?;
            let mut before = booked(plain)?;
            let mut steps = self.0.iter();
            subject.save(&mut || {
                let after = booked(plain).expect("INFO answers");
                let commands = steps
                    .next()
                    .expect("a save has the steps that were watched");
                for (name, &count) in &commands.outer.0 {
                    let spent = spent(&before, &after, name);
                    let part = count as f64 / commands.total(name) as f64;
                    *outer.entry(name.clone()).or_default() += spent * part;
                }
                for name in after.keys() {
                    *all.entry(name.clone()).or_default() += spent(&before, &after, name);
                }
                before = after;
            })?;
        }
        let shares = outer.into_iter().map(|(name, outer)| {
            let all = all.get(&name).copied().unwrap_or_default();
            let share = if all > 0.0 { outer / all } else { 1.0 };
            (name, share)
        });
        Ok(Shares(shares.collect()))
    }
}

/// Us recorded for each command.
type Booked = BTreeMap<String, f64>;

fn spent(before: &Booked, after: &Booked, name: &str) -> f64 {
    let of = |booked: &Booked| booked.get(name).copied().unwrap_or_default();
    of(after) - of(before)
}

/// The share of outer calls in each command's time.
pub struct Shares(BTreeMap<String, f64>);

impl Shares {
    /// Us that the server records for the outer commands of a save, averaged over `saves`.
    pub fn booked(
        &self,
        plain: &mut Connection,
        scene: &Scene,
        subject: &mut dyn Subject,
        saves: u32,
    ) -> Result<f64, BoxError> {
        let before = booked(plain)?;
        for _ in 0..saves {
            subject.warm(plain, scene)?;
            subject.save(&mut || {})?;
        }
        let after = booked(plain)?;
        let outer = self.0.iter();
        let usec: f64 = outer
            .map(|(name, share)| share * spent(&before, &after, name))
            .sum();
        Ok(usec / f64::from(saves))
    }
}

/// Us recorded since the server's start.
fn booked(plain: &mut Connection) -> Result<Booked, BoxError> {
    let mut info = redis::cmd("INFO");
    let text: String = info.arg("commandstats").query(plain)?;
    text.lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'))
        .map(|(name, values)| {
            let usec = values.split(',').find_map(|v| v.strip_prefix("usec="));
            Ok((name.to_owned(), usec.ok_or("no usec")?.parse()?))
        })
        .collect()
}

/// Us of CPU that the server's process has used, in all its threads.
pub fn process_cpu(plain: &mut Connection) -> Result<f64, BoxError> {
    let text: String = redis::cmd("INFO").arg("cpu").query(plain)?;
    let read = |name: &str| -> Result<f64, BoxError> {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.ok_or("no such line in INFO cpu")?.parse()?)
    };
    Ok((read("used_cpu_sys:")? + read("used_cpu_user:")?) * 1e6)
}

struct Monitor(BufReader<TcpStream>);

impl Monitor {
    fn start(server: &Server) -> Result<Self, BoxError> {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
        stream.set_read_timeout(Some(MONITOR_TIMEOUT))?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut monitor = Self(BufReader::new(stream));
        monitor.line()?;
        Ok(monitor)
    }

    /// All commands until now.
    fn step(&mut self, plain: &mut Connection) -> Result<Commands, BoxError> {
        redis::cmd("ECHO").arg(MARK).exec(plain)?;
        let mut commands = Commands::default();
        let mut framed = false;
        loop {
            let line = self.line()?;
            let (from, words) = line.split_once("] \"").ok_or("no command in a line")?;
            let name = words.split('"').next().unwrap_or_default();
            match name {
                "ECHO" if words.contains(MARK) => return Ok(commands),
                _ if from.ends_with("lua") => commands.scripted.count(name),
                "MULTI" => {
                    framed = true;
                    commands.outer.count(name);
                }
                "EXEC" => {
                    framed = false;
                    commands.outer.count(name);
                }
                _ if framed => commands.framed.count(name),
                _ => commands.outer.count(name),
            }
        }
    }

    fn line(&mut self) -> Result<String, BoxError> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err("MONITOR ended".into()),
            _ => Ok(line),
        }
    }
}
