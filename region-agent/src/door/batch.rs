//! `POST /v1/batch`: operations line by line, answers line by line in the same order.
//!
//! Writes are pipelined: many wait for the log at a time, bounded by number and bytes. A get waits for the writes before
//! it and is done before anything after it is sent, so that a batch reads what it wrote. The client reads answers
//! while it sends: what it does not take holds back what is read of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt};
use isthmus_door::{ErrorCode, Problem};
use isthmus_replication::limits;
use isthmus_replication::session_token::SessionToken;
use isthmus_replication::trace::TraceContext;

use super::kv;
use super::lines::{Line, Lines};
use super::query::Query;
use super::rights::Asker;
use super::{Rejection, reject};
use crate::operation::{Core, Get, Operation, Write};

mod line;

pub use line::OperationLine;
pub use line::{Asked, parse as parse_line};

/// Writes of one batch that wait for the log at a time.
const WAITING: usize = 1024;
/// Bytes of values of one batch that wait for the log at a time.
const WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Answers that are ready together travel together, up to about this size.
const ANSWER_BYTES: usize = 64 * 1024;

type Answer = Pin<Box<dyn Future<Output = Bytes> + Send>>;

/// Does many operations: one JSON object a line in, one answer a line out, in the same order.
///
/// Each answer has a `status`, and the members of the operation's own answer or of a problem. Read answers while sending.
#[utoipa::path(post, path = "/v1/batch",
    params(
        ("consistency" = Option<String>, Query, description = "For every write: `region` (default), `majority` or `all`"),
        ("timeout" = Option<String>, Query, description = "For every operation, at most 60s; 5s by default"),
        ("Isthmus-Session" = Option<String>, Header, description = "What the gets must see"),
    ),
    request_body(content = OperationLine, content_type = "application/x-ndjson"),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn batch(
    State(core): State<Arc<Core>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    let asked = (|| {
        let query = Query::parse(request.uri().query(), &["consistency", "timeout"]);
        let query = query.map_err(kv::invalid_parameter)?;
        Ok::<_, Rejection>((
            query,
            kv::session(request.headers())?,
            kv::trace(request.headers()),
        ))
    })();
    let (query, session, trace) = match asked {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let longest = core.policy().largest_value() * 4 / 3 + limits::MESSAGE_OVERHEAD_BYTES;
    let batch = Batch {
        lines: Lines::new(request.into_body().into_data_stream(), longest),
        core,
        asker,
        query,
        session,
        trace,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        ended: false,
    };
    let body = Body::from_stream(batch.answers().map(Ok::<_, std::convert::Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

struct Batch {
    lines: Lines,
    core: Arc<Core>,
    asker: Asker,
    query: Query,
    session: Option<SessionToken>,
    trace: Option<TraceContext>,
    /// Answers in order, each with the bytes that it holds.
    waiting: VecDeque<(Answer, usize)>,
    waiting_bytes: usize,
    ended: bool,
}

impl Batch {
    fn answers(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, |mut batch| async move {
            let answers = batch.next().await?;
            Some((answers, batch))
        })
    }

    /// The next answers in order; none after the last.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let full = self.waiting.len() >= WAITING || self.waiting_bytes >= WAITING_BYTES;
            if self.ended || full {
                let first = self.first().await?;
                return Some(self.joined(first));
            }
            tokio::select! {
                biased;
                line = self.lines.next() => self.take(line).await,
                Some(first) = front(&mut self.waiting) => {
                    self.release();
                    return Some(self.joined(first));
                }
            }
        }
    }

    async fn first(&mut self) -> Option<Bytes> {
        let first = front(&mut self.waiting).await;
        self.release();
        first
    }

    fn release(&mut self) {
        if let Some((_, bytes)) = self.waiting.pop_front() {
            self.waiting_bytes -= bytes;
        }
    }

    /// `first` with the answers after it that are ready too.
    fn joined(&mut self, first: Bytes) -> Bytes {
        let mut joined = BytesMut::from(first);
        while joined.len() < ANSWER_BYTES
            && let Some(Some(next)) = front(&mut self.waiting).now_or_never()
        {
            self.release();
            joined.extend_from_slice(&next);
        }
        joined.freeze()
    }

    async fn take(&mut self, line: Option<Line>) {
        let problem = match line {
            None => {
                self.ended = true;
                return;
            }
            Some(Line::Text(text)) if text.trim_ascii().is_empty() => return,
            Some(Line::Text(text)) => match line::parse(&text) {
                Ok(asked) => match self.may(&asked) {
                    Ok(()) => return self.start(asked, text.len()).await,
                    Err(problem) => problem,
                },
                Err(problem) => problem,
            },
            Some(Line::TooLong) => {
                let detail = "the line is longer than the largest value of any bucket";
                reject(ErrorCode::ValueTooLarge, detail)
            }
            Some(Line::Broken) => {
                self.ended = true;
                let detail = "the body broke off; the operations before it were done";
                reject(ErrorCode::InvalidRequest, detail)
            }
        };
        self.wait_for(Box::pin(std::future::ready(line::failure(&problem))), 0);
    }

    fn may(&self, asked: &Asked) -> Result<(), Rejection> {
        match asked {
            Asked::Write(bucket, ..) => self.asker.writes(bucket),
            Asked::Get(bucket, _) => self.asker.reads(bucket),
        }
    }

    async fn start(&mut self, asked: Asked, bytes: usize) {
        match asked {
            Asked::Write(bucket, key, content) => {
                let write = Write {
                    bucket,
                    key,
                    content,
                    consistency: self.query.consistency,
                    timeout: self.query.timeout,
                    session: None,
                    trace: self.trace,
                    followed: false,
                };
                let pending = self.core.submit(write).await;
                let answer = async { line::answer(pending.outcome().await) };
                self.wait_for(Box::pin(answer), bytes);
            }
            Asked::Get(bucket, key) => self.get(bucket, key).await,
        }
    }

    /// Ends what waits, then reads.
    async fn get(
        &mut self,
        bucket: isthmus_replication::names::BucketName,
        key: isthmus_replication::names::Key,
    ) {
        let mut done = Vec::with_capacity(self.waiting.len());
        while let Some(answer) = self.first().await {
            done.push(answer);
        }
        let get = Get {
            bucket,
            key,
            session: self.session.clone(),
            timeout: self.query.timeout,
        };
        done.push(line::answer(self.core.execute(Operation::Get(get)).await));
        for answer in done {
            self.wait_for(Box::pin(std::future::ready(answer)), 0);
        }
    }

    fn wait_for(&mut self, answer: Answer, bytes: usize) {
        self.waiting_bytes += bytes;
        self.waiting.push_back((answer, bytes));
    }
}

/// The answer at the front once it is there; it stays in its place. None when nothing waits.
async fn front(waiting: &mut VecDeque<(Answer, usize)>) -> Option<Bytes> {
    let (answer, _) = waiting.front_mut()?;
    Some(answer.await)
}
