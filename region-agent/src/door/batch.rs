//! `POST /v1/batch`: one operation per line, one answer per line in the same order.
//!
//! Writes are pipelined: many wait for the log at a time, bounded by number and bytes. A get waits
//! for the writes before it, and is done before anything after it is sent, so that a batch reads
//! what it wrote. The client reads answers while it sends: as long as it leaves answers unread, its
//! lines are not read. No line is read while an answer is ready, so that a batch holds writes, one
//! line and the answers of one part of its body. The [door](isthmus_door::HeldBytes) counts them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt};
use isthmus_door::{ALLOWANCE, ErrorCode, HeldBytes, Holding, HoldsItself, Problem, no_room};
use isthmus_replication::limits;
use isthmus_replication::session_token::SessionToken;
use isthmus_replication::trace::TraceContext;

use super::kv;
use super::lines::{Line, Lines, Skipped};
use super::query::{Parameter, Query};
use super::rights::Asker;
use super::{Rejection, reject};
use crate::operation::{Core, Get, Operation, Write};

mod line;

pub(super) use line::OperationLine;
pub use line::{Asked, parse as parse_line};

/// Writes of one batch that wait for the log at a time.
const WAITING: usize = 1024;
/// Bytes of values of one batch that wait for the log at a time.
const WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Answers that are ready together are sent together, up to about this size, which any caller may
/// hold.
const ANSWER_BYTES: usize = ALLOWANCE;
/// The bytes that a write holds in addition to its line.
const WRITE_BYTES: usize = 1024;

type AnswerFuture = Pin<Box<dyn Future<Output = Bytes> + Send>>;

/// Runs many operations: one JSON object per line in, one answer per line out, in the same order.
///
/// Each answer has a `status`, and the members of the operation's own answer or of a problem. Read
/// answers while sending.
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
pub(super) async fn batch(
    State(core): State<Arc<Core>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    let asked = (|| {
        let query = Query::parse(
            request.uri().query(),
            &[Parameter::Consistency, Parameter::Timeout],
        );
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
    let held = HeldBytes::of(request.extensions());
    let batch = Batch {
        lines: Lines::new(request.into_body().into_data_stream(), longest, held.holding()),
        holding: held.holding(),
        held,
        core,
        asker,
        query,
        session,
        trace,
        waiting: VecDeque::new(),
        read: None,
        ended: false,
    };
    let body = Body::from_stream(batch.answers().map(Ok::<_, std::convert::Infallible>));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Extension(HoldsItself), body).into_response()
}

struct Batch {
    lines: Lines,
    core: Arc<Core>,
    asker: Asker,
    query: Query,
    session: Option<SessionToken>,
    trace: Option<TraceContext>,
    held: HeldBytes,
    /// The bytes that `waiting` holds.
    holding: Holding,
    /// Writes in order, each with the bytes that it holds.
    waiting: VecDeque<(AnswerFuture, usize)>,
    /// A line that was read but not started. No other line is read meanwhile.
    read: Option<Begun>,
    ended: bool,
}

/// A parsed line whose operation is not done yet.
enum Begun {
    /// A write and the bytes that it holds.
    Write(Asked, usize),
    Get(Get),
    Refused(Rejection),
}

impl Batch {
    fn answers(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, |mut batch| async move {
            let answers = batch.next().await?;
            Some((answers, batch))
        })
    }

    /// The next answers in order, as many as are ready; none after the last.
    async fn next(&mut self) -> Option<Bytes> {
        let mut answers = Answers::new(&self.held);
        answers.add(self.answer().await?);
        while answers.have_room()
            && let Some(answer) = self.answer_at_once()
        {
            answers.add(answer);
        }
        Some(answers.finish())
    }

    async fn answer(&mut self) -> Option<Bytes> {
        loop {
            let waits = !self.waiting.is_empty();
            match &self.read {
                Some(Begun::Write(..)) if !self.is_full() => self.write().await,
                Some(_) if !waits => return self.after_writes().await,
                None if !waits && self.ended => return None,
                None if !self.ended && !self.is_full() => {}
                Some(_) | None => return self.first().await,
            }
            tokio::select! {
                biased;
                Some(first) = front(&mut self.waiting) => {
                    self.release();
                    return Some(first);
                }
                line = self.lines.next(), if self.read.is_none() => self.take(line),
            }
        }
    }

    /// The next answer, if it is ready or comes without waiting.
    fn answer_at_once(&mut self) -> Option<Bytes> {
        loop {
            if !self.waiting.is_empty() {
                let first = front(&mut self.waiting).now_or_never()??;
                self.release();
                return Some(first);
            }
            match &self.read {
                Some(Begun::Write(..)) => return None,
                Some(_) => return self.after_writes().now_or_never()?,
                None if self.ended => return None,
                None => {
                    let line = self.lines.next().now_or_never()?;
                    self.take(line);
                }
            }
        }
    }

    /// The answer to a line that is no write, for when all writes before it have ended. None if no
    /// such line was read. A dropped call can be repeated.
    async fn after_writes(&mut self) -> Option<Bytes> {
        let answer = match self.read.as_ref()? {
            Begun::Get(get) => line::answer(self.core.execute(Operation::Get(get.clone())).await),
            Begun::Refused(problem) => line::failure(problem),
            Begun::Write(..) => return None,
        };
        self.read = None;
        Some(answer)
    }

    /// Whether no further write may start. A single write always may.
    fn is_full(&self) -> bool {
        let many = self.waiting.len() >= WAITING || self.holding.bytes() >= WAITING_BYTES;
        many && !self.waiting.is_empty()
    }

    async fn first(&mut self) -> Option<Bytes> {
        let first = front(&mut self.waiting).await;
        self.release();
        first
    }

    fn release(&mut self) {
        if let Some((_, bytes)) = self.waiting.pop_front() {
            self.holding.force(self.holding.bytes() - bytes);
        }
    }

    fn take(&mut self, line: Option<Line>) {
        self.read = match line {
            None => {
                self.ended = true;
                None
            }
            Some(Line::Text(text)) if text.trim_ascii().is_empty() => None,
            Some(Line::Text(text)) => Some(self.begin(&text).unwrap_or_else(Begun::Refused)),
            Some(Line::Skipped(Skipped::TooLong)) => {
                let detail = "the line is longer than the largest value of any bucket";
                Some(Begun::Refused(reject(ErrorCode::ValueTooLarge, detail)))
            }
            Some(Line::Skipped(Skipped::NoRoom)) => Some(Begun::Refused(Box::new(no_room()))),
            Some(Line::Broken) => {
                self.ended = true;
                let detail = "the body ended early; the operations before that were executed";
                Some(Begun::Refused(reject(ErrorCode::InvalidRequest, detail)))
            }
        };
    }

    fn begin(&mut self, text: &[u8]) -> Result<Begun, Rejection> {
        let asked = line::parse(text)?;
        match &asked {
            Asked::Write(bucket, ..) => {
                self.asker.writes(bucket)?;
                let bytes = text.len() + WRITE_BYTES;
                if !self.holding.resize(self.holding.bytes() + bytes) {
                    return Err(Box::new(no_room()));
                }
                Ok(Begun::Write(asked, bytes))
            }
            Asked::Get(bucket, key) => {
                self.asker.reads(bucket)?;
                Ok(Begun::Get(Get {
                    bucket: bucket.clone(),
                    key: key.clone(),
                    session: self.session.clone(),
                    timeout: self.query.timeout,
                }))
            }
        }
    }

    /// Submits the write that was read.
    async fn write(&mut self) {
        let Some(Begun::Write(Asked::Write(bucket, key, op, ttl), bytes)) = self.read.take() else {
            return;
        };
        let write = Write {
            bucket,
            key,
            op,
            ttl,
            consistency: self.query.consistency,
            timeout: self.query.timeout,
            session: None,
            trace: self.trace,
            followed: false,
        };
        let pending = self.core.submit(write).await;
        let answer = async { line::answer(pending.outcome().await) };
        self.waiting.push_back((Box::pin(answer), bytes));
    }
}

/// Waits for the answer at the front, which stays in the queue. None if nothing waits.
async fn front(waiting: &mut VecDeque<(AnswerFuture, usize)>) -> Option<Bytes> {
    let (answer, _) = waiting.front_mut()?;
    Some(answer.await)
}

/// Answers that are sent together, and the bytes that they hold of the door until they have left.
struct Answers {
    joined: BytesMut,
    holding: Holding,
}

impl Answers {
    fn new(held: &HeldBytes) -> Self {
        Self {
            joined: BytesMut::new(),
            holding: held.holding(),
        }
    }

    fn have_room(&self) -> bool {
        self.joined.len() < ANSWER_BYTES
    }

    /// Adds an answer. A large one for which the door has no room becomes a refusal: it was a
    /// get's, which can be repeated.
    fn add(&mut self, answer: Bytes) {
        let length = self.joined.len() + answer.len();
        if self.holding.resize(length) {
            self.joined.extend_from_slice(&answer);
        } else if answer.len() < ANSWER_BYTES {
            self.holding.force(length);
            self.joined.extend_from_slice(&answer);
        } else {
            let refused = line::failure(&no_room());
            self.holding.force(self.joined.len() + refused.len());
            self.joined.extend_from_slice(&refused);
        }
    }

    fn finish(self) -> Bytes {
        self.holding.keep(self.joined.freeze())
    }
}
