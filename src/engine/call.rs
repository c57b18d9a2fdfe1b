//! Lays out an operation's keys and arguments in the order of its Lua file's header.

use super::{
    source::{Script, ScriptName},
    wire::{self, Packed},
};
use crate::{
    model::{Entry, Lock, limits},
    op::{
        Acquire, Commit, Extend, Fill, GiveBack, Invalidate, Lease, Op, Own, Prepare, Release,
        Renew,
        keys::{channel, sibling},
        voucher::{fill_voucher, voucher},
    },
};

/// Takes keys and arguments in order, each with its name in the Lua header.
trait Sink {
    fn key(&mut self, name: &'static str, key: &str);
    fn arg(&mut self, name: &'static str, arg: &[u8]);

    fn number(&mut self, name: &'static str, value: u64) {
        let mut text = [0; wire::DIGITS];
        self.arg(name, wire::decimal(value, &mut text));
    }
}

/// An operation that is a script, with what is computed once.
pub(super) struct Call<'a> {
    pub(super) name: ScriptName,
    op: &'a Op,
    owns: Vec<OwnNames>,
    groups: Vec<Group<'a>>,
    /// Whether the first group's leases key is that of the first own entry: it is not sent again.
    joins_own: bool,
    /// A commit's numbers of locks, own entries and groups.
    shape: String,
}

/// What an own entry needs besides its value.
struct OwnNames {
    stamp_key: String,
    voucher: String,
    /// Empty if the entry may be set over anything.
    over: String,
}

/// Entries that share a leases key.
struct Group<'a> {
    leases: &'a str,
    entries: Vec<&'a Entry>,
}

impl<'a> Call<'a> {
    /// `None` for an operation that is a plain command.
    pub(super) fn new(op: &'a Op) -> Option<Self> {
        let (name, owns, entries): (_, &[Own], &[Entry]) = match op {
            Op::Acquire(_) => (ScriptName::Acquire, &[], &[]),
            Op::Renew(_) => (ScriptName::Renew, &[], &[]),
            Op::Release(_) => (ScriptName::Release, &[], &[]),
            Op::Prepare(op) => (ScriptName::Prepare, &[], &op.entries),
            Op::Commit(op) => (ScriptName::Commit, &op.own, &op.dependents),
            Op::Invalidate(op) => (ScriptName::Invalidate, &[], &op.entries),
            Op::Lease(_) => (ScriptName::Lease, &[], &[]),
            Op::Extend(_) => (ScriptName::Extend, &[], &[]),
            Op::GiveBack(_) => (ScriptName::GiveBack, &[], &[]),
            Op::Fill(_) => (ScriptName::Fill, &[], &[]),
            Op::Read(_) | Op::ClearLocks(_) | Op::Holders(_) => return None,
        };
        let mut groups = group(entries);
        let is_own = |group: &Group<'_>| {
            let own = owns.first();
            own.is_some_and(|own| *own.entry.leases == *group.leases)
        };
        let own = groups.iter().position(is_own);
        if let Some(own) = own {
            groups[..=own].rotate_right(1);
        }
        let (id, shape) = match op {
            Op::Commit(op) => {
                let groups = groups.len() - usize::from(own.is_some());
                let shape = format!("{} {} {groups}", op.locks.len(), op.own.len());
                (op.id.as_str(), shape)
            }
            _ => ("", String::new()),
        };
        let owns = owns.iter().map(|own| OwnNames {
            stamp_key: sibling(&own.entry.value, "stamp"),
            voucher: voucher(&own.stamp, id, &own.bytes),
            over: own.over.map_or_else(String::new, |over| over.to_string()),
        });
        Some(Self {
            name,
            op,
            owns: owns.collect(),
            groups,
            joins_own: own.is_some(),
            shape,
        })
    }

    /// Whether values are set before the program runs, in one transaction with it.
    pub(super) fn has_values(&self) -> bool {
        !self.owns.is_empty()
    }

    /// Packs the values, by a plain `SET` each: servers hash every byte of a script's arguments.
    pub(super) fn pack_values(&self, packed: &mut Packed) {
        let Op::Commit(op) = self.op else { return };
        let ttl = match cfg!(cachetx_without_short_life) {
            true => limits::MAX_LIFE_MS,
            false => limits::UNSETTLED_TTL.as_millis() as u64,
        };
        let ttl = ttl.to_string();
        for own in &op.own {
            let key = own.entry.value.as_bytes();
            packed.bytes.reserve(own.bytes.len() + key.len() + 64);
            match own.over {
                Some(_) => packed.request(&[b"SET", key, &own.bytes, b"PX", ttl.as_bytes(), b"XX"]),
                None => packed.request(&[b"SET", key, &own.bytes, b"PX", ttl.as_bytes()]),
            }
        }
    }

    /// Packs `EVALSHA`.
    pub(super) fn pack(&self, script: &Script, packed: &mut Packed) {
        self.pack_as(b"EVALSHA", script.sha.as_bytes(), packed);
    }

    /// Packs `EVAL`, for when scripts cannot be loaded.
    pub(super) fn pack_whole(&self, script: &Script, packed: &mut Packed) {
        self.pack_as(b"EVAL", script.text.as_bytes(), packed);
    }

    /// Packs `FCALL`.
    pub(super) fn pack_function(&self, function: &str, packed: &mut Packed) {
        self.pack_as(b"FCALL", function.as_bytes(), packed);
    }

    fn pack_as(&self, command: &[u8], program: &[u8], packed: &mut Packed) {
        let mut size = Size::default();
        self.lay_out(&mut size);
        packed.bytes.reserve(size.bytes + program.len() + 128);
        packed.begin(3 + size.keys + size.args);
        packed.arg(command);
        packed.arg(program);
        packed.number_arg(size.keys);
        self.lay_out(packed);
    }

    fn lay_out(&self, sink: &mut impl Sink) {
        match self.op {
            Op::Acquire(op) => acquire(op, sink),
            Op::Renew(op) => renew(op, sink),
            Op::Release(op) => release(op, sink),
            Op::Prepare(op) => self.prepare(op, sink),
            Op::Commit(op) => self.commit(op, sink),
            Op::Invalidate(op) => self.invalidate(op, sink),
            Op::Lease(op) => lease(op, sink),
            Op::Extend(op) => extend(op, sink),
            Op::GiveBack(op) => give_back(op, sink),
            Op::Fill(op) => fill(op, sink),
            Op::Read(_) | Op::ClearLocks(_) | Op::Holders(_) => {}
        }
    }

    fn prepare(&self, op: &Prepare, sink: &mut impl Sink) {
        lock_keys(&op.locks, sink);
        self.group_keys("entry", sink);
        sink.arg("token", op.token.as_bytes());
        sink.number("ttl_ms", op.ttl_ms);
        sink.number("locks", op.locks.len() as u64);
        sink.number("groups", self.groups.len() as u64);
        lock_values(&op.locks, sink);
        self.group_counts(sink);
    }

    fn commit(&self, op: &Commit, sink: &mut impl Sink) {
        lock_keys(&op.locks, sink);
        for names in &self.owns {
            sink.key("stamp", &names.stamp_key);
        }
        for own in &op.own {
            sink.key("value", &own.entry.value);
        }
        for own in &op.own {
            sink.key("leases", &own.entry.leases);
        }
        self.group_keys("dependent", sink);
        sink.arg("shape", self.shape.as_bytes());
        sink.arg("token", op.token.as_bytes());
        lock_values(&op.locks, sink);
        for lock in &op.locks {
            match op.release {
                true => sink.arg("channel", channel(&lock.key).as_bytes()),
                false => sink.arg("channel", b""),
            }
        }
        for (own, names) in op.own.iter().zip(&self.owns) {
            sink.arg("voucher", names.voucher.as_bytes());
            sink.number("ttl_ms", own.ttl_ms);
            sink.arg("over", names.over.as_bytes());
        }
        self.group_counts(sink);
    }

    fn invalidate(&self, op: &Invalidate, sink: &mut impl Sink) {
        if let Some(lock) = &op.release {
            sink.key("lock", &lock.key);
        }
        for raise in &op.raises {
            sink.key("stamp", &sibling(&raise.value, "stamp"));
        }
        self.group_keys("entry", sink);
        sink.arg("token", op.token.as_bytes());
        sink.number("locks", op.release.iter().len() as u64);
        sink.number("stamps", op.raises.len() as u64);
        sink.number("groups", self.groups.len() as u64);
        if let Some(lock) = &op.release {
            sink.arg("lock", lock.value.as_bytes());
            sink.arg("channel", channel(&lock.key).as_bytes());
        }
        for raise in &op.raises {
            sink.arg("file", raise.stamp.to_string().as_bytes());
            sink.number("ttl_ms", raise.ttl_ms);
        }
        self.group_counts(sink);
    }

    /// The groups whose leases keys are sent.
    fn sent_groups(&self) -> &[Group<'a>] {
        &self.groups[usize::from(self.joins_own)..]
    }

    fn group_keys(&self, name: &'static str, sink: &mut impl Sink) {
        for group in self.sent_groups() {
            sink.key("group", group.leases);
        }
        for entry in self.groups.iter().flat_map(|group| &group.entries) {
            sink.key(name, &entry.value);
        }
    }

    fn group_counts(&self, sink: &mut impl Sink) {
        for group in self.sent_groups() {
            sink.number("count", group.entries.len() as u64);
        }
    }

    /// The leases keys of the entries that are only deleted, each with these entries' value keys.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.groups.iter().map(|group| {
            let values = group.entries.iter().map(|entry| entry.value.as_str());
            (group.leases, values.collect())
        })
    }

    /// The value for an own entry's stamp key.
    pub(super) fn voucher(&self, own: usize) -> &str {
        &self.owns[own].voucher
    }

    /// All keys, each with its name in the Lua file.
    pub(super) fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = Keys::default();
        self.lay_out(&mut keys);
        keys.0
    }

    /// The names of all keys and of all arguments.
    #[cfg(all(test, feature = "testing"))]
    pub(super) fn names(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut names = Names::default();
        self.lay_out(&mut names);
        (names.keys, names.args)
    }
}

fn lock_keys(locks: &[Lock], sink: &mut impl Sink) {
    for lock in locks {
        sink.key("lock", &lock.key);
    }
}

fn lock_values(locks: &[Lock], sink: &mut impl Sink) {
    for lock in locks {
        sink.arg("lock", lock.value.as_bytes());
    }
}

fn acquire(op: &Acquire, sink: &mut impl Sink) {
    sink.key("lock", &op.lock.key);
    sink.key("fence", &op.fence_key);
    sink.arg("value", op.lock.value.as_bytes());
    sink.number("ttl_ms", op.ttl_ms);
    sink.number("floor", op.floor);
}

fn renew(op: &Renew, sink: &mut impl Sink) {
    sink.key("lock", &op.lock.key);
    sink.key("fence", &op.fence_key);
    sink.arg("value", op.lock.value.as_bytes());
    sink.number("ttl_ms", op.ttl_ms);
}

fn release(op: &Release, sink: &mut impl Sink) {
    sink.key("lock", &op.lock.key);
    sink.arg("value", op.lock.value.as_bytes());
    sink.arg("channel", channel(&op.lock.key).as_bytes());
}

fn lease(op: &Lease, sink: &mut impl Sink) {
    let wanted = op.wanted.map(|stamp| stamp.to_string());
    sink.key("value", &op.entry.value);
    sink.key("stamp", &sibling(&op.entry.value, "stamp"));
    sink.key("leases", &op.entry.leases);
    sink.arg("token", op.token.as_bytes());
    sink.number("ttl_ms", op.ttl_ms);
    sink.arg("wanted", wanted.unwrap_or_default().as_bytes());
    sink.arg("refused", op.refused.as_deref().unwrap_or_default());
}

fn extend(op: &Extend, sink: &mut impl Sink) {
    sink.key("value", &op.entry.value);
    sink.key("leases", &op.entry.leases);
    sink.arg("token", op.token.as_bytes());
    sink.number("ttl_ms", op.ttl_ms);
}

fn give_back(op: &GiveBack, sink: &mut impl Sink) {
    sink.key("value", &op.entry.value);
    sink.key("leases", &op.entry.leases);
    sink.arg("token", op.token.as_bytes());
}

fn fill(op: &Fill, sink: &mut impl Sink) {
    let voucher = fill_voucher(op.stamp.as_ref(), &op.token, &op.bytes);
    sink.key("value", &op.entry.value);
    sink.key("stamp", &sibling(&op.entry.value, "stamp"));
    sink.key("leases", &op.entry.leases);
    sink.arg("token", op.token.as_bytes());
    sink.arg("bytes", &op.bytes);
    sink.arg("voucher", voucher.as_bytes());
    sink.number("ttl_ms", op.ttl_ms);
}

/// Groups are in the order of their first entries.
fn group(entries: &[Entry]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for entry in entries {
        // Most often all entries are of one run, and no map is needed.
        if let Some(last) = groups.last_mut()
            && *last.leases == *entry.leases
        {
            last.entries.push(entry);
            continue;
        }
        let place = *places.entry(&*entry.leases).or_insert_with(|| {
            groups.push(Group {
                leases: &entry.leases,
                entries: Vec::new(),
            });
            groups.len() - 1
        });
        groups[place].entries.push(entry);
    }
    groups
}

#[derive(Default)]
struct Size {
    keys: usize,
    args: usize,
    bytes: usize,
}

/// The digits of a length, markers and line ends.
const FRAME_BYTES: usize = 16;

impl Sink for Size {
    fn key(&mut self, _: &'static str, key: &str) {
        self.keys += 1;
        self.bytes += key.len() + FRAME_BYTES;
    }

    fn arg(&mut self, _: &'static str, arg: &[u8]) {
        self.args += 1;
        self.bytes += arg.len() + FRAME_BYTES;
    }
}

#[derive(Default)]
struct Keys(Vec<(&'static str, String)>);

impl Sink for Keys {
    fn key(&mut self, name: &'static str, key: &str) {
        self.0.push((name, key.to_owned()));
    }

    fn arg(&mut self, _: &'static str, _: &[u8]) {}
}

impl Sink for Packed {
    fn key(&mut self, _: &'static str, key: &str) {
        Self::arg(self, key.as_bytes());
    }

    fn arg(&mut self, _: &'static str, arg: &[u8]) {
        Self::arg(self, arg);
    }
}

#[cfg(all(test, feature = "testing"))]
#[derive(Default)]
struct Names {
    keys: Vec<&'static str>,
    args: Vec<&'static str>,
}

#[cfg(all(test, feature = "testing"))]
impl Sink for Names {
    fn key(&mut self, name: &'static str, _: &str) {
        self.keys.push(name);
    }

    fn arg(&mut self, name: &'static str, _: &[u8]) {
        self.args.push(name);
    }
}
