//! The page at `/` of the admin listener: files of this binary, and a stream of server-sent events
//! that keeps them current.
//!
//! `/v1/live` sends these events:
//!
//! - `history` once: the [samples](crate::live) of the last minutes.
//! - `status` at once and then once a second: the same as `/v1/status`.
//! - `events`: what is [new](isthmus_door::history::Follower::next) in the region.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream::{self, Stream, StreamExt};
use isthmus_door::History;
use isthmus_door::openapi::Document;
use isthmus_report::live::{LagSample, StatusSample};
use tokio::sync::watch;

use crate::live::Live;
use crate::shared::Shared;

/// The page shows the events of this long before it was opened.
const EVENTS: Duration = Duration::from_secs(3600);

/// Path, media type and text of each file.
const FILES: [(&str, &str, &str); 7] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("../page/index.html"),
    ),
    (
        "/page/page.css",
        "text/css; charset=utf-8",
        include_str!("../page/page.css"),
    ),
    ("/page/page.js", SCRIPT, include_str!("../page/page.js")),
    ("/page/charts.js", SCRIPT, include_str!("../page/charts.js")),
    ("/page/tables.js", SCRIPT, include_str!("../page/tables.js")),
    ("/page/picture.js", SCRIPT, include_str!("../page/picture.js")),
    ("/page/text.js", SCRIPT, include_str!("../page/text.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Only what this listener serves may be loaded, and no other page may frame this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The state of the stream's handler.
#[derive(Clone)]
struct Source {
    shared: Shared,
    history: History,
    live: Live,
}

/// The files of the page and its stream.
pub fn router(shared: &Shared, history: &History, live: Live) -> Router {
    let source = Source {
        shared: shared.clone(),
        history: history.clone(),
        live,
    };
    let stream = Router::new().route("/v1/live", get(follow)).with_state(source);
    FILES.into_iter().fold(stream, |router, (path, kind, text)| {
        router.route(path, get(async move || file(kind, text)))
    })
}

/// Adds the stream to the OpenAPI document of the listener.
pub fn describe(document: Document) -> Document {
    let events = "`history` once, a list of LagSample; `status` each second, a StatusSample; `events`, what is new in the region";
    document.events::<(Vec<LagSample>, StatusSample)>("/v1/live", "What the page at / shows", events)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (HeaderMap::from_iter(headers), text).into_response()
}

async fn follow(State(source): State<Source>) -> Response {
    let samples = serde_json::to_string(&source.live.samples()).unwrap_or_default();
    let history = stream::iter([sse("history", samples)]);
    let status = changes(source.live.listen(&source.shared)).map(|text| sse("status", &*text));
    let events = stream::unfold(source.history.follow(EVENTS), async |mut follower| {
        let news = follower.next().await;
        Some((sse("events", news.to_string()), follower))
    });
    let all = history.chain(stream::select(status, events));
    let stop = source.shared.process.supervisor.draining().clone();
    Sse::new(all.take_until(stop.cancelled_owned())).into_response()
}

/// The changes from now on. A slow reader misses those in between.
fn changes(receiver: watch::Receiver<Arc<str>>) -> impl Stream<Item = Arc<str>> {
    stream::unfold(receiver, async |mut receiver| {
        receiver.changed().await.ok()?;
        let text = Arc::clone(&receiver.borrow_and_update());
        Some((text, receiver))
    })
}

fn sse(what: &str, text: impl AsRef<str>) -> Result<Event, Infallible> {
    Ok(Event::default().event(what).data(text))
}
