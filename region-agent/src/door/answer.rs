//! Outcomes and refusals as HTTP answers, and as the lines of a batch.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use isthmus_door::{ErrorCode, Problem};
use isthmus_replication::names::RegionName;
use isthmus_replication::session_token::SessionToken;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;
use serde::Serialize;
use utoipa::ToSchema;

use crate::operation::{Found, Listed, Outcome, Refusal, Tombstone, Written};

/// What a client has seen. The client sends it back to see at least as much, in any region.
pub const SESSION: HeaderName = HeaderName::from_static("isthmus-session");
/// The version of a value or of the tombstone in its place.
pub const VERSION: HeaderName = HeaderName::from_static("isthmus-version");
/// The region where a value was written.
pub const ORIGIN: HeaderName = HeaderName::from_static("isthmus-origin");

/// When the agent applied the value or the tombstone, in RFC 3339.
pub const APPLIED: HeaderName = HeaderName::from_static("isthmus-applied");

/// The answer to a write.
#[derive(Debug, Serialize, ToSchema)]
pub struct WrittenBody {
    /// The version: 16 hex digits of the hybrid logical clock, region, 16 hex digits of the writer.
    #[schema(example = "0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3")]
    pub version: String,
    /// The session token, as in the header `Isthmus-Session`.
    pub session: String,
    /// The regions that have the write in their logs.
    pub regions: Vec<String>,
    /// A newer write of the key had already won.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
}

/// One page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedBody {
    /// Live keys in order.
    pub keys: Vec<ListedKey>,
    /// Pass it as `after` for the next page; null at the end. A page may be short, or empty, and
    /// still have a next one.
    pub next: Option<String>,
}

/// A key of a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedKey {
    /// The key.
    pub key: String,
    /// Its version.
    pub version: String,
}

impl From<&Written> for WrittenBody {
    fn from(written: &Written) -> Self {
        Self {
            version: written.version.to_string(),
            session: written.session.to_string(),
            regions: names(&written.regions),
            superseded: written.superseded,
        }
    }
}

impl From<&Listed> for ListedBody {
    fn from(listed: &Listed) -> Self {
        let key = |(key, version): &(isthmus_replication::names::Key, Version)| ListedKey {
            key: key.as_str().to_owned(),
            version: version.to_string(),
        };
        Self {
            keys: listed.keys.iter().map(key).collect(),
            next: listed.next.as_ref().map(|key| key.as_str().to_owned()),
        }
    }
}

#[must_use]
pub(super) fn answer(result: Result<Outcome, Refusal>) -> Response {
    match result {
        Ok(Outcome::Written(written)) => {
            let mut headers = HeaderMap::new();
            add_version(&mut headers, &written.version);
            add(&mut headers, SESSION, &written.session.to_string());
            (headers, Json(WrittenBody::from(&written))).into_response()
        }
        Ok(Outcome::Found(found)) => value(found),
        Ok(Outcome::Absent { tombstone, session }) => absent(tombstone.as_ref(), &session).into_response(),
        Ok(Outcome::Listed(listed)) => {
            let mut headers = HeaderMap::new();
            add(&mut headers, SESSION, &listed.session.to_string());
            (headers, Json(ListedBody::from(&listed))).into_response()
        }
        Err(refusal) => problem(&refusal).into_response(),
    }
}

fn value(found: Found) -> Response {
    let mut headers = HeaderMap::new();
    let content_type = match found.content_type.as_str() {
        "" => "application/octet-stream",
        content_type => content_type,
    };
    add(&mut headers, header::CONTENT_TYPE, content_type);
    add_version(&mut headers, &found.version);
    add(&mut headers, ORIGIN, found.version.region.as_str());
    add(&mut headers, APPLIED, &timestamp(found.applied_at));
    add(&mut headers, SESSION, &found.session.to_string());
    (StatusCode::OK, headers, Body::from(found.value)).into_response()
}

/// A time in RFC 3339, with milliseconds.
#[must_use]
pub fn timestamp(wall: Wall) -> String {
    isthmus_runtime::timestamp::rfc3339(wall.millis())
}

/// The problem for a key without a live value.
#[must_use]
pub(super) fn absent(tombstone: Option<&Tombstone>, session: &SessionToken) -> Problem {
    let detail = if tombstone.is_some() {
        "the key was deleted or has expired"
    } else {
        "there is no such key"
    };
    let mut problem = Problem::new(ErrorCode::NotFound, detail);
    if let Ok(session) = HeaderValue::from_str(&session.to_string()) {
        problem = problem.with_header(SESSION, session);
    }
    if let Some(tombstone) = tombstone {
        let version = tombstone.version.to_string();
        let headers = [
            (VERSION, version.clone()),
            (ORIGIN, tombstone.version.region.to_string()),
            (APPLIED, timestamp(tombstone.applied_at)),
        ];
        for (name, text) in headers {
            if let Ok(value) = HeaderValue::from_str(&text) {
                problem = problem.with_header(name, value);
            }
        }
        problem = problem.with("version", version);
    }
    problem
}

/// A refusal as a problem, with its machine-readable members.
#[must_use]
pub fn problem(refusal: &Refusal) -> Problem {
    let problem = Problem::new(refusal.code(), refusal.to_string());
    match refusal {
        Refusal::ValueTooLarge { limit } => problem.with("limit", *limit),
        Refusal::Elsewhere { regions, .. } => problem.with("regions", names(regions)),
        Refusal::RegionsUnreachable { unreachable, needed } => problem
            .with("unreachable", names(unreachable))
            .with("needed", *needed),
        Refusal::RegionsUnconfirmed {
            version,
            regions,
            missing,
        } => problem
            .with("version", version.to_string())
            .with("regions", names(regions))
            .with("missing", names(missing)),
        Refusal::Stale { origin, have, want } => {
            let have = have.map_or(0, |have| have.sequence.0);
            problem
                .with("origin", origin.as_str())
                .with("have", have)
                .with("want", want.sequence.0)
                .with("distance", want.sequence.0.saturating_sub(have))
        }
        Refusal::NeedsSync { origin, want } => problem
            .with("origin", origin.as_str())
            .with("want", want.sequence.0),
        _ => problem,
    }
}

fn names(regions: &[RegionName]) -> Vec<String> {
    regions.iter().map(|region| region.as_str().to_owned()).collect()
}

fn add_version(headers: &mut HeaderMap, version: &Version) {
    add(headers, header::ETAG, &format!("\"{version}\""));
    add(headers, VERSION, &version.to_string());
}

/// Adds a header if its text is valid there. A content type beyond ASCII is not.
fn add(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
