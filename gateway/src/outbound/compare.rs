//! Comparing this region's stores with a peer's, over the link to it (docs/decisions/0017).

use std::collections::BTreeMap;
use std::fmt::Display;

use bytes::Bytes;
use isthmus_replication::agreement::{self, COMPARE_INTERVAL, InvalidSample, News, PARTS, Sample};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::link::session::Session;
use isthmus_replication::names::RegionName;
use isthmus_runtime::events::{Severity, Source};
use serde_json::{Value, json};

use crate::shared::Shared;

/// A few shards are requested at a time, so that each has its turn within this many seconds.
const TURNS: usize = COMPARE_INTERVAL.as_secs() as usize;

/// The pending calls for samples on one session.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    asked: BTreeMap<u64, Shard>,
    turn: usize,
}

impl Comparing {
    /// Requests samples of the shards whose turn it is. To be called once a second. A call that
    /// can't be made is made at the shard's next turn.
    pub(super) fn ask(
        &mut self,
        shared: &Shared,
        peer: &RegionName,
        session: &mut Session,
        shards: &[Shard],
    ) {
        let now = shared.log_now();
        for shard in shards.iter().skip(self.turn).step_by(TURNS) {
            if let Ok(id) = session.request(now, agreement::METHOD, agreement::question(shard)) {
                self.asked.insert(id, shard.clone());
                shared.tables.lock().compared.begin(now.mono, peer, shard);
            }
        }
        self.turn = (self.turn + 1) % TURNS;
    }

    /// The shard that call `id` asked for; none if it asked for something else.
    pub(super) fn take(&mut self, id: u64) -> Option<Shard> {
        self.asked.remove(&id)
    }
}

/// Compares with the answer of `peer`, and records what is new.
pub(super) fn answered(shared: &Shared, peer: &RegionName, shard: &Shard, answer: &[u8]) {
    let theirs = match Sample::decode(answer) {
        Ok(sample) if sample.shard == *shard => sample,
        Ok(_) => return warn(shared, peer, shard, &"they are of another shard than requested"),
        Err(error) => return warn(shared, peer, shard, &error),
    };
    let now = shared.process.clock.mono();
    let mut tables = shared.tables.lock();
    let news = tables.compared.note(now, peer, &theirs);
    let ours = tables.compared.newest(shard).map(included);
    drop(tables);
    if let Some(news) = news {
        tell(
            shared,
            peer,
            shard,
            news,
            &json!({ "here": ours, "there": included(&theirs) }),
        );
    }
}

/// Answers a peer's call for this region's newest sample.
///
/// # Errors
/// When the call is invalid or there is no sample. The text is for the peer's log.
pub fn answer(shared: &Shared, question: &[u8]) -> Result<Bytes, NoSample> {
    let shard = agreement::asked(question)?;
    let tables = shared.tables.lock();
    let newest = tables.compared.newest(&shard).map(Sample::encode);
    newest.ok_or(NoSample::NotPublished(shard))
}

/// Why a peer gets no sample.
#[derive(Debug, thiserror::Error)]
pub enum NoSample {
    /// The question can't be read.
    #[error(transparent)]
    Question(#[from] InvalidSample),
    /// The steward of this region has published none.
    #[error("the steward has published no digests of {0} yet")]
    NotPublished(Shard),
}

fn included(sample: &Sample) -> Value {
    let positions = sample.positions();
    let json = positions.map(|(region, at)| {
        (
            region.to_string(),
            json!({ "life": at.life.to_string(), "sequence": at.sequence.0 }),
        )
    });
    json.collect::<serde_json::Map<_, _>>().into()
}

fn warn(shared: &Shared, peer: &RegionName, shard: &Shard, error: &dyn Display) {
    let source = Source::region(peer);
    if let Some(before) = shared.process.events.may_log("bad digests", &source) {
        tracing::warn!(%peer, %shard, %error, before, "the peer's digests can't be used");
    }
}

fn tell(shared: &Shared, peer: &RegionName, shard: &Shard, news: News, included: &Value) {
    let own = shared.region();
    let fields = |parts: usize| {
        json!({
            "region": own.as_str(),
            "peer": peer.as_str(),
            "group": shard.group.as_str(),
            "partition": shard.partition,
            "parts": parts,
            "included": included,
        })
    };
    let events = &shared.process.events;
    let source = Source::region(peer).of_shard(shard);
    match news {
        News::Differ { parts } => events.record_from(
            &source,
            Severity::Alarm,
            "regions_differ",
            format!(
                "{own} and {peer} hold different values in {parts} of {PARTS} parts of {shard}, where they must hold the same: no value is removed"
            ),
            fields(parts),
        ),
        News::Agree => events.record_from(
            &source,
            Severity::Notice,
            "regions_agree",
            format!("{own} and {peer} hold the same values again in {shard}, as far as it can be compared"),
            fields(0),
        ),
    }
}
