//! The entries that the region has set aside: they can be listed, shown, restored by a write, and
//! dropped.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use isthmus_door::{ErrorCode, Problem};
use isthmus_log::{EntryName, Journal, JournalName, LogError, PageFrom};
use isthmus_replication::aside::{Entry, Kept, KeptWrite, Reason, Why};
use isthmus_replication::cell::Content;
use isthmus_replication::change::Op;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::names::{BucketName, GroupName, InvalidName};
use isthmus_replication::time::Wall;
use isthmus_runtime::settings;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::Assembled;
use super::entry_json::{id_of, shown, summary};
use crate::door::{self, Rejection, WrittenBody};
use crate::operation::{Consistency, DEFAULT_TIMEOUT, Operation, Outcome, Write};
use crate::region::Region;

/// The most entries of one answer.
const PAGE: usize = 1000;
/// Entries held with their bytes at a time. A listing shows them without bytes.
const STEP: usize = 4;
/// Requests that hold entries at a time. The others wait.
const AT_A_TIME: usize = 2;

/// The routes for what is set aside.
pub(super) fn router(assembled: &Assembled) -> Router {
    Router::new()
        .route("/v1/aside", get(list))
        .route("/v1/aside/{id}", get(show).delete(discard))
        .route("/v1/aside/{id}/restore", post(restore))
        .with_state(Arc::clone(assembled))
        .route_layer(from_fn_with_state(Arc::new(Semaphore::new(AT_A_TIME)), in_turn))
}

async fn in_turn(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let _turn = turns.acquire().await;
    next.run(request).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    reason: Option<String>,
    bucket: Option<String>,
    since: Option<String>,
    from: Option<String>,
    limit: Option<usize>,
}

/// The parsed parameters of a listing.
struct Wanted {
    reason: Option<Reason>,
    bucket: Option<BucketName>,
    since: Option<Duration>,
    from: Option<(GroupName, Sequence)>,
    limit: usize,
}

/// Why the parameters of a listing are invalid.
#[derive(Debug, thiserror::Error)]
enum InvalidListing {
    #[error("{0}")]
    Query(#[from] QueryRejection),
    #[error("reason is one of {}", Reason::ALL.map(Reason::as_str).join(", "))]
    Reason,
    #[error(transparent)]
    Bucket(#[from] InvalidName),
    #[error("since: {0}")]
    Since(settings::InvalidQuantity),
    #[error("from must be a value of next")]
    From,
    #[error("limit must be 1 to {PAGE}")]
    Limit,
}

impl Which {
    fn read(self) -> Result<Wanted, InvalidListing> {
        let reason = self
            .reason
            .map(|text| Reason::parse(&text).ok_or(InvalidListing::Reason));
        let bucket = self.bucket.map(|text| BucketName::parse(&text));
        let since = self.since.map(|text| settings::Duration::parse(&text));
        let from = self.from.map(|text| {
            let place = text.split_once('.');
            let place = place.and_then(|(group, at)| Some((GroupName::parse(group).ok()?, at.parse().ok()?)));
            place.ok_or(InvalidListing::From)
        });
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE).contains(&limit) {
            return Err(InvalidListing::Limit);
        }
        Ok(Wanted {
            reason: reason.transpose()?,
            bucket: bucket.transpose()?,
            since: since
                .transpose()
                .map_err(InvalidListing::Since)?
                .map(|since| since.0),
            from: from.transpose()?.map(|(group, at)| (group, Sequence(at))),
            limit,
        })
    }
}

impl Wanted {
    fn has(&self, entry: &Entry) -> bool {
        let bucket = match &entry.kept {
            Kept::Write(write) => Some(&write.id.bucket),
            Kept::Range(_) => None,
        };
        self.reason.is_none_or(|reason| reason == entry.reason())
            && self.bucket.as_ref().is_none_or(|wanted| Some(wanted) == bucket)
    }
}

/// `GET /v1/aside?reason=&bucket=&since=&limit=&from=`: group by group, oldest first, without
/// values.
async fn list(State(assembled): State<Assembled>, query: Result<Query<Which>, QueryRejection>) -> Response {
    let wanted = query.map_err(InvalidListing::from);
    answer(match wanted.and_then(|Query(which)| which.read()) {
        Ok(wanted) => page(&assembled, &wanted).await,
        Err(invalid) => Err(reject(ErrorCode::InvalidRequest, invalid.to_string())),
    })
}

async fn page(assembled: &Assembled, wanted: &Wanted) -> Result<Value, Rejection> {
    let region = region(assembled)?;
    let journal = &*region.core.context().ports.journal;
    let (entries, next) = listed(journal, &groups(region), wanted)
        .await
        .map_err(|error| away(&error))?;
    Ok(json!({ "entries": entries, "next": next }))
}

/// Entries of the groups in order, and where the next page begins. A page examines at most as many
/// entries as it may have, so a page can be short or empty and still have a next one.
async fn listed(
    journal: &dyn Journal,
    groups: &[GroupName],
    wanted: &Wanted,
) -> Result<(Vec<Value>, Option<String>), LogError> {
    let begin = wanted.from.as_ref().map(|(group, _)| group);
    let groups = groups
        .iter()
        .filter(|group| begin.is_none_or(|begin| *group >= begin));
    let mut left = wanted.limit;
    let mut entries = Vec::new();
    for group in groups {
        let aside = JournalName::Aside(group.clone());
        let from = match (&wanted.from, wanted.since) {
            (Some((at, sequence)), _) if at == group => PageFrom::Sequence(*sequence),
            (_, Some(since)) => {
                let now = journal.time(&aside).await?.micros();
                let since = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
                PageFrom::Time(Wall::from_micros(now.saturating_sub(since)))
            }
            (_, None) => PageFrom::Sequence(Sequence::NONE.next()),
        };
        let mut from = from;
        loop {
            let page = journal.page(&aside, from, left.min(STEP)).await?;
            left -= page.entries.len();
            for found in page.entries {
                match Entry::decode(found.entry) {
                    Ok(entry) if wanted.has(&entry) => entries.push(summary(&entry)),
                    Ok(_) => {}
                    Err(error) => tracing::warn!(name = %found.name, %error, "of a later version"),
                }
            }
            if left == 0 {
                return Ok((entries, Some(format!("{group}.{}", page.next.0))));
            }
            if page.is_last {
                break;
            }
            from = PageFrom::Sequence(page.next);
        }
    }
    Ok((entries, None))
}

/// `GET /v1/aside/{id}`: an entry with its value.
async fn show(State(assembled): State<Assembled>, Path(id): Path<String>) -> Response {
    answer(found(&assembled, &id).await)
}

async fn found(assembled: &Assembled, id: &str) -> Result<Value, Rejection> {
    let (_, _, entry) = find(region(assembled)?, id).await?;
    Ok(shown(&entry))
}

/// `DELETE /v1/aside/{id}`: drops the entry.
async fn discard(State(assembled): State<Assembled>, Path(id): Path<String>) -> Response {
    answer(discarded(&assembled, &id).await)
}

async fn discarded(assembled: &Assembled, id: &str) -> Result<Value, Rejection> {
    let region = region(assembled)?;
    let (aside, name, entry) = find(region, id).await?;
    remove(region, &aside, &name).await?;
    Ok(json!({ "id": id_of(&entry), "dropped": true }))
}

/// `POST /v1/aside/{id}/restore`: writes the entry's content again, with a new stamp, and drops the
/// entry.
async fn restore(State(assembled): State<Assembled>, Path(id): Path<String>) -> Response {
    answer(restored(&assembled, &id).await)
}

fn answer(result: Result<Value, Rejection>) -> Response {
    match result {
        Ok(json) => Json(json).into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn reject(code: ErrorCode, detail: impl Into<String>) -> Rejection {
    Box::new(Problem::new(code, detail))
}

async fn restored(assembled: &Assembled, id: &str) -> Result<Value, Rejection> {
    let region = region(assembled)?;
    let (aside, name, entry) = find(region, id).await?;
    let Kept::Write(write) = &entry.kept else {
        let detail = "a range that could not be decoded is not a write; a sync brings what is missing";
        return Err(reject(ErrorCode::InvalidRequest, detail));
    };
    let ttl = ends_of(&entry, write).map(|ends| ends.since(region.core.context().now().wall));
    let op = op_of(write, ttl)?;
    let write = Write {
        bucket: write.id.bucket.clone(),
        key: write.id.key.clone(),
        op,
        ttl,
        consistency: Consistency::Region,
        timeout: DEFAULT_TIMEOUT,
        session: None,
        trace: None,
        followed: false,
    };
    let outcome = region.core.execute(Operation::Write(write)).await;
    let written = match outcome.map_err(|refusal| Box::new(door::problem(&refusal)))? {
        Outcome::Written(written) => WrittenBody::from(&written),
        _ => return Err(reject(ErrorCode::Internal, "a write without its outcome")),
    };
    let dropped = remove(region, &aside, &name).await.is_ok();
    Ok(json!({ "id": id, "restored": written, "dropped": dropped }))
}

/// When the value of an entry expires. If a wrong clock stamped it, it gets its full lifetime from
/// the moment it was set aside.
fn ends_of(entry: &Entry, write: &KeptWrite) -> Option<Wall> {
    let ends = write.expires_at?;
    match write.why {
        Why::Clock => {
            let lives = ends.millis().saturating_sub(write.version.hlc.millis());
            Some(entry.at.after(Duration::from_millis(lives)))
        }
        Why::TooLate | Why::Late | Why::Conflict { .. } => Some(ends),
    }
}

/// The operation of the write that restores an entry.
fn op_of(write: &KeptWrite, ttl: Option<Duration>) -> Result<Op, Rejection> {
    let gone = |detail: &str| reject(ErrorCode::InvalidRequest, detail.to_owned());
    if !write.id.field.is_none() {
        return Err(gone("a field of a key can't be restored by this version"));
    }
    match &write.content {
        Content::Tombstone => Ok(Op::Delete),
        Content::Swept(_) => Err(gone(
            "the value had expired, and its bytes were dropped, before it was set aside",
        )),
        Content::Value { bytes, content_type } => {
            if ttl.is_some_and(|ttl| ttl.is_zero()) {
                return Err(gone("the value has expired"));
            }
            Ok(Op::Put {
                value: bytes.clone(),
                content_type: content_type.clone(),
            })
        }
    }
}

async fn find(region: &Region, id: &str) -> Result<(JournalName, EntryName, Entry), Rejection> {
    let nothing = || reject(ErrorCode::NotFound, format!("no entry {id:?} is set aside here"));
    let (group, name) = id.split_once('.').ok_or_else(nothing)?;
    let group = GroupName::parse(group).map_err(|_| nothing())?;
    let name = EntryName::parse(name).map_err(|_| nothing())?;
    if !groups(region).contains(&group) {
        return Err(nothing());
    }
    let aside = JournalName::Aside(group);
    let journal = &region.core.context().ports.journal;
    let found = journal.get(&aside, &name).await.map_err(|error| away(&error))?;
    let entry = Entry::decode(found.ok_or_else(nothing)?.entry)
        .map_err(|error| reject(ErrorCode::UpgradeNeeded, error.to_string()))?;
    Ok((aside, name, entry))
}

async fn remove(region: &Region, aside: &JournalName, name: &EntryName) -> Result<(), Rejection> {
    let journal = &region.core.context().ports.journal;
    let removed = journal.remove(aside, name).await;
    removed
        .map(drop)
        .map_err(|error| reject(ErrorCode::LogNotWritable, error.to_string()))
}

fn region(assembled: &Assembled) -> Result<&Region, Rejection> {
    assembled
        .get()
        .ok_or_else(|| reject(ErrorCode::NotReady, "the agent is starting"))
}

/// The groups that the region holds, in order.
fn groups(region: &Region) -> Vec<GroupName> {
    let mut groups: Vec<GroupName> = region
        .core
        .shards()
        .map(|shard| shard.shard().group.clone())
        .collect();
    groups.dedup();
    groups
}

fn away(error: &LogError) -> Rejection {
    reject(ErrorCode::NotReady, error.to_string())
}
