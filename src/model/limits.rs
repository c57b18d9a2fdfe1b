//! The bounds of rules files and params, which a program may want to check before it calls. An option's own docs state its default and
//! bounds.
//!
//! Each loop, retry, list and payload of the library has a bound; running out is an error, never a hang.

use std::time::Duration;

/// Bytes of a rules file, its text before parsing.
pub const MAX_RULES_BYTES: usize = 4 * 1024 * 1024;
/// Controllers in a rules file.
pub const MAX_CONTROLLERS: usize = 4_096;
/// Tasks (rules) in a rules file.
pub const MAX_TASKS: usize = 4_096;
/// Bytes of one key template.
pub const MAX_TEMPLATE_BYTES: usize = 1_024;
/// The longest life that rules may give an entry: ten years.
pub const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// Bytes of one param value, as it stands in a key.
pub const MAX_PARAM_BYTES: usize = 256;
/// Values in one list param.
pub const MAX_PARAM_VALUES: usize = 1_000;
/// Keys that one expansion may give, so that one commit stays a bounded server-side step.
pub const MAX_KEYS: usize = 10_000;

/// Problems reported for one rules file; what is past them is counted.
pub(crate) const MAX_PROBLEMS: usize = 100;
/// Steps that all comparisons of a rules file's templates may take. Real files take a few for each pair of alike templates;
/// only one that is made to be hard gets here, after about a second.
pub(crate) const MAX_COMPARE_STEPS: usize = 10_000_000;
/// Placeholders of dependents' keys that are compared with their sources' keys for warnings. Past
/// it, the rest of the file gets no such warnings: only a file made to be hard gets there.
pub(crate) const MAX_FURTHER_STEPS: usize = 10_000_000;
/// Such warnings that are made before all but [`MAX_PROBLEMS`] are dropped.
pub(crate) const MAX_FURTHER_WARNINGS: usize = 10 * MAX_PROBLEMS;
/// Keys in one `UNLINK` or `HDEL` of a script: Lua's `unpack` fails at 8,000 values, so the design's 1,000 leaves room.
pub(crate) const UNLINK_CHUNK: usize = 1_000;
/// Bytes of all keys that one expansion may give.
pub(crate) const MAX_KEYS_BYTES: usize = 64 * 1024 * 1024;

/// A cached entry's life where the rules name none: 72 h.
pub(crate) const DEFAULT_ENTRY_TTL: Duration = Duration::from_secs(72 * 3_600);
/// A lock's life where the store names none.
pub(crate) const DEFAULT_LOCK_TTL: Duration = Duration::from_secs(60);
/// The longest life in ms that a server operation takes: it can still be doubled, and added to any time.
pub(crate) const MAX_LIFE_MS: u64 = 999_999_999_999_999;
/// The shortest life of a lock that a store takes.
pub(crate) const MIN_LOCK_TTL: Duration = Duration::from_millis(1);
/// The longest: a day. A lock that is kept for longer is renewed.
pub(crate) const MAX_LOCK_TTL: Duration = Duration::from_secs(24 * 3_600);
/// The life of a lock's fence after the last try for the lock: it has to outlive every lock that was given one, whatever TTL
/// others ask with.
pub(crate) const FENCE_LIFE: Duration = Duration::from_secs(2 * 24 * 3_600);
/// How long `lock()` waits for another holder.
pub(crate) const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(10);
/// Between two tries for a held lock where no message tells that it is free: the first pause; it grows to
/// [`LOCK_POLL_MAX`] and is jittered.
pub(crate) const LOCK_POLL_MIN: Duration = Duration::from_millis(2);
/// The longest of these pauses.
pub(crate) const LOCK_POLL_MAX: Duration = Duration::from_millis(50);
/// Tries of an update before it waits for the document's lock.
pub(crate) const UPDATE_TRIES_WITHOUT_LOCK: u32 = 3;
/// Tries of an update of a document without a lock.
pub(crate) const UPDATE_TRIES: u32 = 100;
/// Between two tries of an update: the first pause; it doubles up to [`UPDATE_PAUSE_MAX`]. Each is up to twice as long, by jitter.
pub(crate) const UPDATE_PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest of these pauses: with 64 at work on one document most of them have to stand back at any moment.
pub(crate) const UPDATE_PAUSE_MAX: Duration = Duration::from_millis(250);
/// Between two tries for a held lock where messages come: one may be lost.
pub(crate) const LOCK_LISTEN_POLL: Duration = Duration::from_millis(250);
/// A lock that is held for so long is listened to by its holder: it may be cleared.
pub(crate) const LOCK_WATCH_AFTER: Duration = Duration::from_millis(500);
/// Between two tries to renew a lock while the server is away, at least.
pub(crate) const KEEP_ALIVE_RETRY: Duration = Duration::from_millis(20);
/// Threads of a cache that renew leases, marks and locks: as many servers that do not answer, or hooks that take long, keep
/// no other renewal waiting.
pub(crate) const TIMER_THREADS: usize = 8;
/// How long a thread that renews leases, marks and locks waits for another one.
pub(crate) const TIMER_LINGER: Duration = Duration::from_secs(5);
/// How long the thread that reads messages does not look who else wants some.
pub(crate) const LISTEN_LOOK: Duration = Duration::from_millis(20);
/// How long messages are read that nobody waits for any more: somebody may again. And between two questions to the server
/// that brings them: one that has not answered the last one is given up.
pub(crate) const LISTEN_LINGER: Duration = Duration::from_secs(5);
/// Between two tries for a connection that brings messages: the first pause; it doubles up to [`LISTEN_PAUSE_MAX`] and is
/// jittered.
pub(crate) const LISTEN_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest of these pauses.
pub(crate) const LISTEN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Between two looks of a task whether an entry is still being deleted again that it is about to set.
#[cfg(feature = "tokio")]
pub(crate) const ECHO_PAUSE: Duration = Duration::from_millis(1);
/// How many calls of tasks that block at a time are done by threads of their runtime's.
#[cfg(feature = "tokio")]
pub(crate) const ASIDE: usize = 64;
/// Bytes of a request that goes by the connection that tasks share: a bigger one would hold up the others.
pub(crate) const SHARED_BYTES: usize = 64 << 10;
/// The pause where the server's ACL denies messages.
pub(crate) const LISTEN_DENIED_PAUSE: Duration = Duration::from_secs(60);

/// How long a reader may load an entry before another one may, unless the cache says otherwise; it is renewed while the
/// loader runs.
pub(crate) const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(10);
/// The shortest life of a lease, or a mark, that a cache takes: it is renewed three times in it.
pub(crate) const MIN_LEASE_TTL: Duration = Duration::from_millis(30);
/// The longest: an hour.
pub(crate) const MAX_LEASE_TTL: Duration = Duration::from_secs(3_600);
/// How long a reader waits for another one's loader, or for a writer, unless the cache says otherwise.
pub(crate) const DEFAULT_LOAD_WAIT: Duration = Duration::from_secs(10);
/// Between two looks at an entry that somebody else loads: the first pause; it grows to [`LOAD_POLL_MAX`] and is jittered.
pub(crate) const LOAD_POLL_MIN: Duration = Duration::from_millis(1);
/// Between two looks at an entry that somebody else loads: the longest pause.
pub(crate) const LOAD_POLL_MAX: Duration = Duration::from_millis(50);
/// The longest part of an entry's life that jitter may take off.
pub(crate) const MAX_TTL_JITTER: f64 = 0.5;
/// Times that a reader finds a value under an entry's key whose stamp does not vouch for it, until it loads without filling.
pub(crate) const UNFIT_ATTEMPTS: u32 = 4;

/// How long a crash-safe writer's marks keep readers from filling, unless the cache says otherwise; a writer that takes
/// longer than half of it marks again.
pub(crate) const DEFAULT_MARK_TTL: Duration = Duration::from_secs(30);

/// Time to open a connection, TLS and AUTH included.
pub(crate) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time to wait for a reply.
pub(crate) const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time-out that a cache takes: a day. Deadlines are sums of time-outs and the clock, and must not overflow.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// Connections of one cache: more threads than that wait for a free one.
pub(crate) const DEFAULT_POOL_SIZE: u32 = 16;

/// Waits in vain for the server, in a row, after which the circuit breaker opens.
pub(crate) const BREAKER_FAILURES: u32 = 3;
/// Parts of a Cluster's hash slots that have a circuit breaker each. Nodes serve ranges of slots, so parts are ranges too.
pub(crate) const BREAKER_CIRCUITS: usize = 64;
/// Hash slots of a Cluster.
pub(crate) const SLOTS: u16 = 16_384;
/// How long the circuit breaker skips the server before it asks again, unless the cache says otherwise.
pub(crate) const DEFAULT_BREAKER_PAUSE: Duration = Duration::from_secs(2);
/// A connection that was not used for longer is replaced before its next use.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(10 * 60);
/// A connection that is older is replaced before its next use: its name may lead to another server by now.
pub(crate) const CONNECTION_LIFE: Duration = Duration::from_secs(30 * 60);
/// An idle connection is probed after so long, so that one whose server vanished is found.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Attempts of the Watch engine at one operation, each of which may find its keys changed by somebody else.
pub(crate) const WATCH_ATTEMPTS: u32 = 32;
/// Between two of them: the first pause; it grows to [`WATCH_PAUSE_MAX`] and is jittered.
pub(crate) const WATCH_PAUSE_MIN: Duration = Duration::from_micros(200);
/// Between two of them: the longest pause.
pub(crate) const WATCH_PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long a boot's rules count as in use by others.
pub(crate) const RULES_SEEN: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Bytes of the keys' templates that a boot tells others of: longer ones are left out, and then count as any keys.
pub(crate) const MAX_NOTICE_BYTES: usize = 16 * 1024;
/// Pairs of templates that a boot compares to find out whether another process's rules concern the same keys.
pub(crate) const MAX_TEMPLATE_PAIRS: usize = 1 << 20;
/// Causes of warnings that are remembered, to log each once; after so many they are forgotten.
pub(crate) const MAX_WARNED_CAUSES: usize = 1_024;
/// Controllers whose keys a boot tries to read, to find gaps in the ACL.
pub(crate) const MAX_PROBED_KEYS: usize = 64;
/// Times that an operation is sent: once, and once more where a connection from the pool turns out to be closed.
pub(crate) const SEND_ATTEMPTS: u32 = 2;
/// Tries to open one connection: one more where the server ends it before anything was asked, or refuses what
/// [`CacheBuilder::credentials`](crate::CacheBuilder::credentials) said.
pub(crate) const CONNECT_ATTEMPTS: u32 = 2;
/// Servers that an operation is sent on to, one right after the other, before it waits for them to agree.
pub(crate) const MAX_REDIRECTS: u32 = 8;
/// Between two looks at a Cluster, or a Sentinel's servers, that have not settled: the first pause; it doubles up to
/// [`SETTLE_POLL_MAX`] and is jittered. In all they last no longer than the time-outs for connecting and for a reply.
pub(crate) const SETTLE_POLL_MIN: Duration = Duration::from_millis(5);
/// The longest of these pauses.
pub(crate) const SETTLE_POLL_MAX: Duration = Duration::from_millis(100);
/// Questions to a Cluster's nodes, or to sentinels, that come further apart are no longer in a row: the first pause after the
/// next one is [`SETTLE_POLL_MIN`] again.
pub(crate) const SETTLE_CALM: Duration = Duration::from_secs(1);
/// Addresses of a Cluster's nodes that are kept with their connections: as many as the largest Cluster has. Past that, those
/// that serve no slot are forgotten.
pub(crate) const KEPT_NODES: usize = 1_000;
/// The shortest wait for replicas after a commit: servers take zero for ever.
pub(crate) const MIN_REPLICA_WAIT: Duration = Duration::from_millis(1);
/// The longest.
pub(crate) const MAX_REPLICA_WAIT: Duration = Duration::from_secs(60);
/// Between two tries of a commit, a lock or a lease of which nobody knows whether it was done, but for the first two: the
/// first pause; it doubles up to [`RESEND_PAUSE_MAX`]. In all they last no longer than the time-out for a reply.
pub(crate) const RESEND_PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest of these pauses.
pub(crate) const RESEND_PAUSE_MAX: Duration = Duration::from_millis(100);
/// From a rules file's last change until it is read again: an editor may write it in pieces.
#[cfg(feature = "watch")]
pub(crate) const RULES_SETTLE: Duration = Duration::from_millis(100);
/// Bytes of memory that a connection keeps for packing its next request.
pub(crate) const WARM_BUFFER_BYTES: usize = 512 * 1024;

/// Bytes of a document that is read or written, unless the store says otherwise.
pub(crate) const DEFAULT_MAX_DOCUMENT_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of memory that a read takes before it has read any: enough for most documents in one go.
pub(crate) const READ_AHEAD_BYTES: u64 = 1024 * 1024;
/// Bytes of an error message about a document's content, which may quote values of any length; its middle is cut out.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1_024;
/// Bytes of white space kept before, and after, a file's JSON text: a final line break, not padding.
pub(crate) const MAX_OUTER_BYTES: usize = 1_024;
/// The life of a value that a commit sends ahead of its script in the same transaction, which gives it its own: nobody sees it
/// before, and where the script is lost it ends by itself. A busy machine may stand still between the two.
pub(crate) const UNSETTLED_TTL: Duration = Duration::from_millis(100);
/// The longest value that a server takes where it does not say: `proto-max-bulk-len`'s default.
pub(crate) const SERVER_BULK_BYTES: u64 = 512 * 1024 * 1024;
/// The bytes of a client's requests that it keeps: `client-query-buffer-limit`'s default.
pub(crate) const SERVER_QUERY_BYTES: u64 = 1024 * 1024 * 1024;
/// Of these, what is kept free for all that is around a value in its request.
pub(crate) const REQUEST_FRAME_BYTES: u64 = 64 * 1024;

/// Records that wait in one process's outbox; past it they become one for each set of params.
pub(crate) const MAX_OUTBOX_RECORDS: usize = 65_536;
/// Bytes of these records; past it likewise.
pub(crate) const MAX_OUTBOX_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of an outbox file that are read: over four times what a process writes.
pub(crate) const MAX_OUTBOX_FILE_BYTES: u64 = 160 * 1024 * 1024;
/// Bytes of an outbox file that may be records which are done, before it is written anew.
pub(crate) const OUTBOX_IDLE_BYTES: u64 = 1024 * 1024;
/// Dead processes' outboxes that one process takes over at a time, since it keeps them in memory.
pub(crate) const MAX_TAKEN_OVER: usize = 16;
/// Rounds of taking over and replaying before a replay ends; the next one goes on.
pub(crate) const REPLAY_ROUNDS: u32 = 10_000;
/// Records that a replay looks at together.
pub(crate) const REPLAY_BATCH: usize = 256;
/// Keys that a replay deletes in one step: other clients wait while it runs.
pub(crate) const REPLAY_KEYS: usize = 1_000;
/// Between two tries to reach the server with what is in the outbox: the first pause; it doubles up to
/// [`REPLAY_PAUSE_MAX`] and is jittered.
pub(crate) const REPLAY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest of these pauses.
pub(crate) const REPLAY_PAUSE_MAX: Duration = Duration::from_millis(400);
/// Keys of the last changes (entries set or deleted, locks released) that are kept in memory, to be deleted again on a server that is another one than
/// the one that took them.
pub(crate) const ECHO_KEYS: usize = 65_536;
/// How old they may be: a server that restarts from its snapshot may have lost so much.
pub(crate) const ECHO_AGE: Duration = Duration::from_secs(3_600);
/// A process that has deleted something and is silent for so long asks the server who it is: no operation of its own would
/// notice another one.
pub(crate) const ECHO_SILENCE: Duration = Duration::from_secs(5);
/// Between two looks for outboxes of processes that died.
pub(crate) const TAKEOVER_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of a transaction's journal, which names every entry that is to be deleted; a transaction with more is refused.
pub(crate) const MAX_JOURNAL_BYTES: usize = 64 * 1024 * 1024;
/// Documents of one transaction.
pub(crate) const MAX_TRANSACTION_DOCUMENTS: usize = 8;
/// How long a reader, or a look in the background, waits for the documents of a transaction that died, to finish it: longer than
/// anybody has their OS locks who does not finish it himself.
pub(crate) const FINISH_WAIT: Duration = Duration::from_millis(100);
/// Dead transactions' journals that one look in the background finishes; the next one goes on.
pub(crate) const MAX_JOURNALS: usize = 1_024;
/// Tries to make a journal that nobody takes for a dead owner's before it is locked.
pub(crate) const JOURNAL_ATTEMPTS: u32 = 64;

/// Bytes of one path component: what common file systems allow.
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// How long a save waits for the OS lock on a document's sidecar, which others hold for some file operations only.
pub(crate) const SIDECAR_WAIT: Duration = Duration::from_secs(5);
/// The longest that an update waits for the server's word on who holds the lock. It has the sidecar's OS lock meanwhile, for which others
/// wait up to [`SIDECAR_WAIT`].
pub(crate) const LOOK_WAIT: Duration = Duration::from_secs(1);
/// Between two tries for the sidecar's OS lock.
pub(crate) const SIDECAR_POLL: Duration = Duration::from_millis(1);
/// Tries to read a file that changes while it is read, or that a writer in place has cut short: 0.5 s in all.
pub(crate) const READ_ATTEMPTS: u32 = 32;
/// Tries to find a file that is missing, since other programs replace one by deleting it first: 6 ms in all, which every
/// read of a document that is not there costs.
pub(crate) const MISSING_ATTEMPTS: u32 = 4;
/// Between two of them; it grows with each.
pub(crate) const READ_PAUSE: Duration = Duration::from_millis(1);
/// Names that a document's temporary files may have: as many writers of one document can write at a time, and a sweep looks
/// for no others. One holds the lock; more are at work only where locks were lost.
pub(crate) const TEMP_NAMES: u64 = 4;
/// A file that was written so recently, in ns, may still be written in place, and that without its modification time changing,
/// however coarse it is (2 s for FAT).
pub(crate) const YOUNG_NS: i64 = 2_000_000_000;
/// Changes of a file less than this apart, in ns, may have the same change time: the kernel's clock for files moves 100 times a
/// second at least, and a machine may stand still for some of these ticks.
pub(crate) const FINE_TICK_NS: i64 = 100_000_000;
/// The same where a file system keeps whole seconds (or two, as FAT), or another machine's clock counts.
pub(crate) const COARSE_TICK_NS: i64 = YOUNG_NS + FINE_TICK_NS;

/// Documents of which a store keeps a snapshot, unless it says otherwise.
pub(crate) const DEFAULT_SNAPSHOT_ENTRIES: usize = 4_096;
/// Bytes of JSON text that all snapshots of a store may come from, unless it says otherwise.
pub(crate) const DEFAULT_SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024;
/// Parts of the snapshots that are locked apart; one document may take a whole part, not more.
pub(crate) const SNAPSHOT_SHARDS: usize = 4;
/// How long a reader waits for another one's load of the same document before it loads by itself.
pub(crate) const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);
/// A save's modification time lies this much above the last one, in ns: the first that the file system keeps apart.
/// 1 us for most; 1 ms; 2 s for those with times of one or two seconds.
pub(crate) const MTIME_STEPS_NS: [i64; 3] = [1_000, 1_000_000, 2_000_000_000];
/// Actions that one protocol run may take; more is a bug, found by the run itself.
pub(crate) const MAX_STEPS: u32 = 10_000_000;
/// The highest number that is taken for one: 19 digits, as many as a 64-bit counter of the server has.
pub(crate) const MAX_DECIMAL: u64 = 9_999_999_999_999_999_999;
/// The highest fence: what a signed 64-bit counter of the server can hold, less one to grow by.
pub(crate) const MAX_FENCE: u64 = i64::MAX as u64 - 1;
