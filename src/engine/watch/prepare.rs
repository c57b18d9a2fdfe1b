use super::{
    attempt::{Attempt, Seen, Stop},
    commit::held,
    flights,
    lease::time_ms,
};
use crate::{
    engine::{call::Call, wire::Packed},
    model::limits,
    op::{Prepare, PrepareReply, flight},
};

/// Marks for entries that share a hash of leases, up to as many as one request takes.
struct Marks<'a> {
    leases: &'a str,
    values: Vec<&'a str>,
    texts: Vec<Vec<u8>>,
    /// How much longer the hash lives, as PTTL returns it.
    left_ms: i64,
}

pub(super) async fn run(
    attempt: &mut Attempt<'_, '_>,
    op: &Prepare,
    call: &Call<'_>,
) -> Result<PrepareReply, Stop> {
    let lock_keys: Vec<&str> = op.locks.iter().map(|lock| lock.key.as_str()).collect();
    let leases: Vec<&str> = flights::of(call).map(|flight| flight.leases).collect();
    let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
    for flight in flights::of(call) {
        let chunks = flight.values.chunks(limits::UNLINK_CHUNK);
        parts.extend(chunks.map(|values| (flight.leases, values.to_vec())));
    }
    let mut seen = attempt
        .look(
            &lock_keys,
            |packed| flights::pack_mget(&lock_keys, packed),
            &leases,
            |packed| {
                packed.request(&[b"TIME"]);
                for (leases, values) in &parts {
                    flights::pack_fields(leases, values, packed);
                    packed.request(&[b"PTTL", leases.as_bytes()]);
                }
            },
        )
        .await?;
    if held(&op.locks, &mut seen)?.len() < op.locks.len() {
        return Ok(PrepareReply::Lost);
    }
    let ttl = op.ttl_ms.to_string();
    let now_ms = time_ms(&mut seen)?;
    let marks = parts
        .into_iter()
        .map(|(leases, values)| marks(op, leases, values, now_ms, &mut seen))
        .collect::<Result<Vec<_>, Stop>>()?;
    let entries = op.entries.iter().map(|entry| entry.value.as_str());
    let entries: Vec<&str> = entries.collect();
    attempt
        .write(|packed| {
            marks.iter().for_each(|marks| marks.pack(packed));
            for marks in &marks {
                // The hash lives as long as its longest field.
                if u64::try_from(marks.left_ms).is_ok_and(|left| left >= op.ttl_ms) {
                    continue;
                }
                packed.request(&[b"PEXPIRE", marks.leases.as_bytes(), ttl.as_bytes()]);
            }
            flights::pack_unlink(&entries, packed);
        })
        .await?;
    Ok(PrepareReply::Done)
}

fn marks<'a>(
    op: &Prepare,
    leases: &'a str,
    values: Vec<&'a str>,
    now_ms: u64,
    seen: &mut Seen,
) -> Result<Marks<'a>, Stop> {
    let found = seen.texts()?;
    let marked = |field: &Option<Vec<u8>>| {
        flight::marked(field.as_deref(), &op.token, now_ms + op.ttl_ms, now_ms)
    };
    let texts = found.iter().map(marked);
    Ok(Marks {
        leases,
        values,
        texts: texts.collect(),
        left_ms: seen.number()?,
    })
}

impl Marks<'_> {
    fn pack(&self, packed: &mut Packed) {
        let fields = self.values.iter().zip(&self.texts);
        let fields = fields.map(|(value, text)| (*value, &**text));
        flights::pack_put(self.leases, fields, packed);
    }
}
