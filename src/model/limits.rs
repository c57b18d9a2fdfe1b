//! The bounds of rules files and params, which a program may want to check before a call. An
//! option's own documentation states its default and bounds.
//!
//! Each loop, retry, list and payload of the library has a bound. Exceeding one is an error, never
//! a hang.

use std::time::Duration;

/// Bytes of a rules file, before parsing.
pub const MAX_RULES_BYTES: usize = 4 * 1024 * 1024;
/// Controllers in a rules file.
pub const MAX_CONTROLLERS: usize = 4_096;
/// Tasks (rules) in a rules file.
pub const MAX_TASKS: usize = 4_096;
/// Bytes of one key template.
pub const MAX_TEMPLATE_BYTES: usize = 1_024;
/// The longest TTL that rules may give an entry: ten years.
pub const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// Bytes of one param value, as written in a key.
pub const MAX_PARAM_BYTES: usize = 256;
/// Values in one list param.
pub const MAX_PARAM_VALUES: usize = 1_000;
/// Keys that one expansion may produce, so that one commit stays a bounded server-side step.
pub const MAX_KEYS: usize = 10_000;

/// Problems reported for one rules file; more are only counted.
pub(crate) const MAX_PROBLEMS: usize = 100;
/// Steps for all comparisons of a rules file's templates. Real files take a few per pair of similar
/// templates; only a file made to be hard reaches this, after about a second.
pub(crate) const MAX_COMPARE_STEPS: usize = 10_000_000;
/// Placeholders of dependents' keys that are compared with their sources' keys for warnings. Past
/// this, the rest of the file gets no such warnings: only a file made to be hard reaches it.
pub(crate) const MAX_FURTHER_STEPS: usize = 10_000_000;
/// Such warnings that are collected before all but [`MAX_PROBLEMS`] are dropped.
pub(crate) const MAX_FURTHER_WARNINGS: usize = 10 * MAX_PROBLEMS;
/// Keys in one `UNLINK` or `HDEL` of a script. Lua's `unpack` fails at 8,000 values, so 1,000
/// leaves room.
pub(crate) const UNLINK_CHUNK: usize = 1_000;
/// Marks of writers that stand side by side on one entry; one more replaces them all by one that
/// lasts until the last of them ends.
pub(crate) const MAX_MARKS: usize = 32;
/// Bytes of all keys that one expansion may produce.
pub(crate) const MAX_KEYS_BYTES: usize = 64 * 1024 * 1024;

/// A cached entry's TTL if the rules name none: 72 h.
pub(crate) const DEFAULT_ENTRY_TTL: Duration = Duration::from_secs(72 * 3_600);
/// A lock's TTL if the store names none.
pub(crate) const DEFAULT_LOCK_TTL: Duration = Duration::from_secs(60);
/// The longest TTL in ms that a server operation takes: it can still be doubled, and added to any
/// time.
pub(crate) const MAX_LIFE_MS: u64 = 999_999_999_999_999;
/// The shortest lock TTL that a store accepts.
pub(crate) const MIN_LOCK_TTL: Duration = Duration::from_millis(1);
/// The longest: a day. A lock that is held for longer is renewed.
pub(crate) const MAX_LOCK_TTL: Duration = Duration::from_secs(24 * 3_600);
/// How long a lock's fence lives after the last try for the lock. It must outlive every lock that
/// was given a fence, at any TTL that others request.
pub(crate) const FENCE_LIFE: Duration = Duration::from_secs(2 * 24 * 3_600);
/// How long `lock()` waits for another holder.
pub(crate) const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(10);
/// First pause between two tries for a held lock if no message reports its release. It grows to
/// [`LOCK_POLL_MAX`] and is jittered.
pub(crate) const LOCK_POLL_MIN: Duration = Duration::from_millis(2);
/// The longest of these pauses.
pub(crate) const LOCK_POLL_MAX: Duration = Duration::from_millis(50);
/// Tries of an update before it waits for the document's lock.
pub(crate) const UPDATE_TRIES_WITHOUT_LOCK: u32 = 3;
/// Tries of an update of a document without a lock.
pub(crate) const UPDATE_TRIES: u32 = 100;
/// First pause between two tries of an update. It doubles up to [`UPDATE_PAUSE_MAX`]; jitter makes
/// each up to twice as long.
pub(crate) const UPDATE_PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest of these pauses: with 64 updates running on one document, most have to back off at
/// any moment.
pub(crate) const UPDATE_PAUSE_MAX: Duration = Duration::from_millis(250);
/// Pause between two tries for a held lock if messages arrive: one may be lost.
pub(crate) const LOCK_LISTEN_POLL: Duration = Duration::from_millis(250);
/// A holder that keeps a lock for this long listens on its channel: the lock may be cleared.
pub(crate) const LOCK_WATCH_AFTER: Duration = Duration::from_millis(500);
/// The shortest pause between two tries to renew a lock while the server is unreachable.
pub(crate) const KEEP_ALIVE_RETRY: Duration = Duration::from_millis(20);
/// Threads of a cache that renew leases, marks and locks. Up to this many unresponsive servers or
/// slow hooks delay no other renewal.
pub(crate) const TIMER_THREADS: usize = 8;
/// How long an idle renewal thread waits for the next renewal.
pub(crate) const TIMER_LINGER: Duration = Duration::from_secs(5);
/// How long the thread that reads messages goes without checking for new waiters.
pub(crate) const LISTEN_LOOK: Duration = Duration::from_millis(20);
/// How long messages are still read after the last waiter has gone: another may come. Also the time
/// between two probes of the server that sends them: a connection whose last probe is unanswered is
/// given up.
pub(crate) const LISTEN_LINGER: Duration = Duration::from_secs(5);
/// First pause between two tries for a connection for messages. It doubles up to
/// [`LISTEN_PAUSE_MAX`] and is jittered.
pub(crate) const LISTEN_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest of these pauses.
pub(crate) const LISTEN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a task checks whether the echo is still deleting an entry that the task is about to
/// set.
#[cfg(feature = "tokio")]
pub(crate) const ECHO_PAUSE: Duration = Duration::from_millis(1);
/// How long closing a cache waits for calls of its tasks, and for what their dropped guards give back.
#[cfg(feature = "tokio")]
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(10);
/// How many blocking calls of one cache's tasks run on their runtime's threads at a time.
#[cfg(feature = "tokio")]
pub(crate) const ASIDE: usize = 64;
/// Bytes of a request on the connection that tasks share: a bigger one would hold up the others.
pub(crate) const SHARED_BYTES: usize = 64 << 10;
/// The pause if the server's ACL denies messages.
pub(crate) const LISTEN_DENIED_PAUSE: Duration = Duration::from_secs(60);

/// How long a reader may load an entry before another one may, unless the cache sets it. Renewed
/// while the loader runs.
pub(crate) const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(10);
/// The shortest life of a lease or a mark that a cache accepts: it is renewed three times in it.
pub(crate) const MIN_LEASE_TTL: Duration = Duration::from_millis(30);
/// The longest: an hour.
pub(crate) const MAX_LEASE_TTL: Duration = Duration::from_secs(3_600);
/// How long a reader waits for another reader's loader, or for a writer, unless the cache sets it.
pub(crate) const DEFAULT_LOAD_WAIT: Duration = Duration::from_secs(10);
/// First pause between two checks of an entry that another reader loads. It grows to
/// [`LOAD_POLL_MAX`] and is jittered.
pub(crate) const LOAD_POLL_MIN: Duration = Duration::from_millis(1);
/// The longest of these pauses.
pub(crate) const LOAD_POLL_MAX: Duration = Duration::from_millis(50);
/// The largest part of an entry's TTL that jitter may take off.
pub(crate) const MAX_TTL_JITTER: f64 = 0.5;
/// Times that a reader may find a value whose stamp does not vouch for it before it loads without
/// filling.
pub(crate) const UNFIT_ATTEMPTS: u32 = 4;

/// How long a crash-safe writer's marks keep readers from filling, unless the cache sets it. A
/// writer that takes longer than half of it marks again.
pub(crate) const DEFAULT_MARK_TTL: Duration = Duration::from_secs(30);

/// Time limit for opening a connection, including TLS and AUTH.
pub(crate) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit for a reply.
pub(crate) const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time-out that a cache accepts: a day. Deadlines are sums of time-outs and the clock,
/// and must not overflow.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// Connections of one cache; more threads than this wait for a free one.
pub(crate) const DEFAULT_POOL_SIZE: u32 = 16;

/// Slow failures of the server, in a row, after which the circuit breaker opens.
pub(crate) const BREAKER_FAILURES: u32 = 3;
/// Parts of a Cluster's hash slots that have a circuit breaker each. Nodes serve ranges of slots,
/// so parts are ranges too.
pub(crate) const BREAKER_CIRCUITS: usize = 64;
/// Hash slots of a Cluster.
pub(crate) const SLOTS: u16 = 16_384;
/// How long an open circuit breaker skips the server before it probes again, unless the cache sets
/// it.
pub(crate) const DEFAULT_BREAKER_PAUSE: Duration = Duration::from_secs(2);
/// A connection that was idle for longer is replaced before its next use.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(10 * 60);
/// A connection older than this is replaced before its next use: its name may lead to another
/// server by now.
pub(crate) const CONNECTION_LIFE: Duration = Duration::from_secs(30 * 60);
/// An idle connection is probed after this long, so that a vanished server is detected.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Attempts of the Watch engine at one operation; in each, other clients may change its keys.
pub(crate) const WATCH_ATTEMPTS: u32 = 32;
/// First pause between two of them. It grows to [`WATCH_PAUSE_MAX`] and is jittered.
pub(crate) const WATCH_PAUSE_MIN: Duration = Duration::from_micros(200);
/// The longest of these pauses.
pub(crate) const WATCH_PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long the rules of a boot count as in use by others.
pub(crate) const RULES_SEEN: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Bytes of the key templates in a boot's notice. Longer ones are left out, and then count as any
/// keys.
pub(crate) const MAX_NOTICE_BYTES: usize = 16 * 1024;
/// Pairs of templates that a boot compares to find out whether another process's rules concern the
/// same keys.
pub(crate) const MAX_TEMPLATE_PAIRS: usize = 1 << 20;
/// Causes of warnings that are remembered, so that each is logged once. Past this number they are
/// forgotten.
pub(crate) const MAX_WARNED_CAUSES: usize = 1_024;
/// Controllers whose keys a boot tries to read, to find gaps in the ACL.
pub(crate) const MAX_PROBED_KEYS: usize = 64;
/// Times that an operation is sent: once, and once more if a connection from the pool turns out to
/// be closed.
pub(crate) const SEND_ATTEMPTS: u32 = 2;
/// Tries to open one connection: a second one if the server closes it before anything was asked, or
/// refuses what [`CacheBuilder::credentials`](crate::CacheBuilder::credentials) returned.
pub(crate) const CONNECT_ATTEMPTS: u32 = 2;
/// Redirects that an operation follows, one right after the other, before it waits for the servers
/// to agree.
pub(crate) const MAX_REDIRECTS: u32 = 8;
/// First pause between two checks of a Cluster, or of a Sentinel's servers, that have not settled.
/// It doubles up to [`SETTLE_POLL_MAX`] and is jittered. In total the pauses last no longer than
/// the connect time-out plus the reply time-out.
pub(crate) const SETTLE_POLL_MIN: Duration = Duration::from_millis(5);
/// The longest of these pauses.
pub(crate) const SETTLE_POLL_MAX: Duration = Duration::from_millis(100);
/// Topology queries, to a Cluster's nodes or to sentinels, that are further apart than this no
/// longer count as a series: the first pause after the next one is [`SETTLE_POLL_MIN`] again.
pub(crate) const SETTLE_CALM: Duration = Duration::from_secs(1);
/// Addresses of a Cluster's nodes that are kept with their connections: as many as the largest
/// Cluster has. Past that, nodes that serve no slot are forgotten.
pub(crate) const KEPT_NODES: usize = 1_000;
/// The shortest wait for replicas after a commit: to the server, zero means forever.
pub(crate) const MIN_REPLICA_WAIT: Duration = Duration::from_millis(1);
/// The longest.
pub(crate) const MAX_REPLICA_WAIT: Duration = Duration::from_secs(60);
/// First pause between two tries of a commit, a lock or a lease whose outcome is unknown; the first
/// retry has no pause. It doubles up to [`RESEND_PAUSE_MAX`]. In total the pauses last no longer
/// than the reply time-out.
pub(crate) const RESEND_PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest of these pauses.
pub(crate) const RESEND_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Time from a rules file's last change until it is read again: an editor may write it in pieces.
#[cfg(feature = "watch")]
pub(crate) const RULES_SETTLE: Duration = Duration::from_millis(100);
/// Bytes of buffer that a connection keeps for packing its next request.
pub(crate) const WARM_BUFFER_BYTES: usize = 512 * 1024;

/// Bytes of a document that is read or written, unless the store sets it.
pub(crate) const DEFAULT_MAX_DOCUMENT_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that a read allocates before it has read any: enough for most documents at once.
pub(crate) const READ_AHEAD_BYTES: u64 = 1024 * 1024;
/// Bytes of an error message about a document's content, which may quote values of any length; the
/// middle is cut out.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1_024;
/// Bytes of white space that are kept on each side of a file's JSON text: a final line break, not
/// padding.
pub(crate) const MAX_OUTER_BYTES: usize = 1_024;
/// TTL of a value that a commit sends before its script in the same transaction; the script sets
/// the final TTL. Nobody sees the value before that, and if the script is lost it expires by
/// itself. A busy machine may pause between the two.
pub(crate) const UNSETTLED_TTL: Duration = Duration::from_millis(100);
/// The longest value that a server takes if it does not report the limit: the default of
/// `proto-max-bulk-len`.
pub(crate) const SERVER_BULK_BYTES: u64 = 512 * 1024 * 1024;
/// The bytes of a client's requests that a server buffers: the default of
/// `client-query-buffer-limit`.
pub(crate) const SERVER_QUERY_BYTES: u64 = 1024 * 1024 * 1024;
/// The part of these that is kept free for everything around a value in its request.
pub(crate) const REQUEST_FRAME_BYTES: u64 = 64 * 1024;

/// Records that wait in one process's outbox; past this they are merged into one per set of params.
pub(crate) const MAX_OUTBOX_RECORDS: usize = 65_536;
/// Bytes of these records; past this they are merged likewise.
pub(crate) const MAX_OUTBOX_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of an outbox file that are read: more than four times what a process writes.
pub(crate) const MAX_OUTBOX_FILE_BYTES: u64 = 160 * 1024 * 1024;
/// Bytes of an outbox file that may be retired records before it is rewritten.
pub(crate) const OUTBOX_IDLE_BYTES: u64 = 1024 * 1024;
/// Outboxes of dead processes that one process takes over at a time, since it keeps them in memory.
pub(crate) const MAX_TAKEN_OVER: usize = 16;
/// Rounds of taking over and replaying before a replay ends; the next replay continues.
pub(crate) const REPLAY_ROUNDS: u32 = 10_000;
/// Records that a replay fetches at a time.
pub(crate) const REPLAY_BATCH: usize = 256;
/// Keys that a replay deletes in one step: other clients wait while it runs.
pub(crate) const REPLAY_KEYS: usize = 1_000;
/// First pause between two tries to replay the outbox. It doubles up to [`REPLAY_PAUSE_MAX`] and is
/// jittered.
pub(crate) const REPLAY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest of these pauses.
pub(crate) const REPLAY_PAUSE_MAX: Duration = Duration::from_millis(400);
/// Keys of the last changes (entries set or deleted, locks released) that are kept in memory for
/// the echo: they are deleted again on a server other than the one that took the changes.
pub(crate) const ECHO_KEYS: usize = 65_536;
/// The oldest of these changes: a server that restarts from its snapshot may have lost this much.
pub(crate) const ECHO_AGE: Duration = Duration::from_secs(3_600);
/// A process that has deleted something and has been silent for this long asks for the server's run
/// id: no operation of its own would notice a new server.
pub(crate) const ECHO_SILENCE: Duration = Duration::from_secs(5);
/// Pause between two searches for outboxes of dead processes.
pub(crate) const TAKEOVER_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of a transaction's journal, which names every entry to delete; a larger transaction is
/// refused.
pub(crate) const MAX_JOURNAL_BYTES: usize = 64 * 1024 * 1024;
/// Documents of one transaction.
pub(crate) const MAX_TRANSACTION_DOCUMENTS: usize = 8;
/// How long a reader, or a check in the background, waits for the documents of a dead transaction
/// in order to finish it: longer than any process that does not finish it holds their OS locks.
pub(crate) const FINISH_WAIT: Duration = Duration::from_millis(100);
/// Journals of dead transactions that one check in the background finishes; the next check
/// continues.
pub(crate) const MAX_JOURNALS: usize = 1_024;
/// Tries to create a journal that no other process takes for a dead owner's before it is locked.
pub(crate) const JOURNAL_ATTEMPTS: u32 = 64;

/// Bytes of one path component: the limit of common file systems.
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// How long a save waits for the OS lock on a document's sidecar, which others hold for a few file
/// operations only.
pub(crate) const SIDECAR_WAIT: Duration = Duration::from_secs(5);
/// The longest that an update waits for the server's answer on who holds the lock. It holds the
/// sidecar's OS lock meanwhile, for which others wait up to [`SIDECAR_WAIT`].
pub(crate) const LOOK_WAIT: Duration = Duration::from_secs(1);
/// Pause between two tries for the sidecar's OS lock.
pub(crate) const SIDECAR_POLL: Duration = Duration::from_millis(1);
/// Tries to read a file that changes while it is read, or that an in-place writer has cut short:
/// 0.5 s in total.
pub(crate) const READ_ATTEMPTS: u32 = 32;
/// Tries to find a missing file, since other programs replace a file by deleting it first: 6 ms in
/// total, which every read of a document that does not exist costs.
pub(crate) const MISSING_ATTEMPTS: u32 = 4;
/// Pause between two of them; it grows with each.
pub(crate) const READ_PAUSE: Duration = Duration::from_millis(1);
/// Names that a document's temporary files may have: as many writers of one document can write at a
/// time, and a sweep looks for no other names. One writer holds the lock; there are more only if
/// locks were lost.
pub(crate) const TEMP_NAMES: u64 = 4;
/// A file written less than this many ns ago may still be written in place without a change of its
/// modification time, at any resolution of that time (2 s for FAT).
pub(crate) const YOUNG_NS: i64 = 2_000_000_000;
/// Changes of a file less than this many ns apart may have the same change time: the kernel's clock
/// for files ticks at least 100 times a second, and a machine may pause for several of these ticks.
pub(crate) const FINE_TICK_NS: i64 = 100_000_000;
/// The same if a file system keeps whole seconds (or two, as FAT), or if the time is by another
/// machine's clock.
pub(crate) const COARSE_TICK_NS: i64 = YOUNG_NS + FINE_TICK_NS;

/// Documents of which a store keeps a snapshot, unless it sets another number.
pub(crate) const DEFAULT_SNAPSHOT_ENTRIES: usize = 4_096;
/// Bytes of JSON text that all snapshots of a store may be parsed from, unless it sets another
/// number.
pub(crate) const DEFAULT_SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024;
/// Parts of the snapshot cache, each with its own lock. One document may fill a whole part, but not
/// more.
pub(crate) const SNAPSHOT_SHARDS: usize = 4;
/// How long a reader waits for another reader's load of the same document before it loads by
/// itself.
pub(crate) const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);
/// Steps in ns, tried in order, by which a save's modification time exceeds the last one: the first
/// that the file system keeps distinct. 1 us for most; 1 ms; 2 s for those with times of one or two
/// seconds.
pub(crate) const MTIME_STEPS_NS: [i64; 3] = [1_000, 1_000_000, 2_000_000_000];
/// Actions that one protocol run may take; more is a bug, detected by the run itself.
pub(crate) const MAX_STEPS: u32 = 10_000_000;
/// The highest decimal number that is accepted: 19 digits, as many as a 64-bit counter of the
/// server has.
pub(crate) const MAX_DECIMAL: u64 = 9_999_999_999_999_999_999;
/// The highest fence: the maximum of the server's signed 64-bit counter minus one, so that it can
/// still grow.
pub(crate) const MAX_FENCE: u64 = i64::MAX as u64 - 1;
