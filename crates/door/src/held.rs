//! Bytes that a door holds for its callers: request bodies that arrive, and responses that are not
//! read yet.
//!
//! Problem: each connection may hold little, but thousands of them hold too much. Sketch: one
//! account per door. Every caller has a small allowance of its own, so that small requests are
//! served whatever others hold; the rest comes out of room that all callers share. A caller that
//! finds no room is refused and may try again: nobody waits while holding bytes.
//!
//! Invariant: the bytes held are at most the room, plus an allowance for each holding, plus a
//! single holding that is larger than the whole room, which is accepted only alone. A response is
//! held until its last byte has been sent, including the bytes in hyper's buffers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, SizeHint};

use crate::code::ErrorCode;
use crate::problem::Problem;

/// The allowance of each holding, in bytes.
pub const ALLOWANCE: usize = 16 * 1024;

/// The account of a door. Clones share it.
#[derive(Debug, Clone)]
pub struct HeldBytes(Arc<Account>);

#[derive(Debug)]
struct Account {
    room: usize,
    /// Bytes beyond the allowances.
    shared: AtomicUsize,
    /// All bytes.
    held: AtomicUsize,
}

/// A caller's part of the bytes that a door holds; released when it is dropped.
#[derive(Debug)]
pub struct Holding {
    account: Arc<Account>,
    bytes: usize,
}

/// A response with this extension accounts for its bytes itself.
#[derive(Debug, Clone, Copy)]
pub struct HoldsItself;

impl HeldBytes {
    /// An account with room for `room` bytes beyond the allowances.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self(Arc::new(Account {
            room,
            shared: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
        }))
    }

    /// The account of the door that a request came through; a new one for a request that came
    /// through none.
    #[must_use]
    pub fn of(request: &Extensions) -> Self {
        let door = request.get::<Self>().cloned();
        door.unwrap_or_else(|| Self::new(crate::Limits::default().held_bytes))
    }

    /// An empty holding.
    #[must_use]
    pub fn holding(&self) -> Holding {
        Holding {
            account: Arc::clone(&self.0),
            bytes: 0,
        }
    }

    /// The total number of bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }
}

fn beyond(bytes: usize) -> usize {
    bytes.saturating_sub(ALLOWANCE)
}

impl Holding {
    /// Changes the holding to `bytes`. Returns false and leaves it unchanged if there is no room.
    #[must_use]
    pub fn resize(&mut self, bytes: usize) -> bool {
        let (before, after) = (beyond(self.bytes), beyond(bytes));
        if after > before {
            let fits = |shared: usize| {
                let others = shared - before;
                (others == 0 || others + after <= self.account.room).then_some(others + after)
            };
            let shared = &self.account.shared;
            if shared
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
                .is_err()
            {
                return false;
            }
        } else {
            self.account.shared.fetch_sub(before - after, Ordering::Relaxed);
        }
        self.note(bytes);
        true
    }

    /// Changes the holding to `bytes`, whether or not there is room: for small content that can no
    /// longer be refused.
    pub fn force(&mut self, bytes: usize) {
        let (before, after) = (beyond(self.bytes), beyond(bytes));
        let shared = &self.account.shared;
        shared.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        self.note(bytes);
    }

    fn note(&mut self, bytes: usize) {
        let change = bytes.wrapping_sub(self.bytes);
        self.account.held.fetch_add(change, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// The size of the holding.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same bytes; dropping their last clone releases this holding.
    #[must_use]
    pub fn keep(self, data: Bytes) -> Bytes {
        struct Kept(Bytes, #[allow(dead_code)] Holding);
        impl AsRef<[u8]> for Kept {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Kept(data, self))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.force(0);
    }
}

/// The problem for a caller that finds no room.
#[must_use]
pub fn no_room() -> Problem {
    let detail = "the door already holds the maximum of bytes for its callers: read responses as they arrive, and try again";
    Problem::new(ErrorCode::Overloaded, detail)
}

/// Serves a request and holds its response until it has been sent. A request that only reads is
/// refused if there is no room for its response; the result of a write is returned in any case.
pub(crate) async fn hold_answer(State(held): State<HeldBytes>, mut request: Request, next: Next) -> Response {
    let only_reads = request.method().is_safe();
    request.extensions_mut().insert(held.clone());
    let answer = next.run(request).await;
    if answer.extensions().get::<HoldsItself>().is_some() {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let mut whole = held.holding();
    if let Some(bytes) = body.size_hint().exact() {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if !whole.resize(bytes) {
            if only_reads {
                return no_room().into_response();
            }
            whole.force(bytes);
        }
    }
    let body = HeldBody {
        body,
        whole: Some(whole),
        held,
    };
    Response::from_parts(parts, Body::new(UnsyncBoxBody::new(body)))
}

/// A body whose frames are held until they have been sent.
struct HeldBody {
    body: Body,
    /// If the length of the body is known: a holding for all of it, until its first frame.
    whole: Option<Holding>,
    held: HeldBytes,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let data = match next {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            },
            end => return Poll::Ready(end),
        };
        let mut holding = self.whole.take().unwrap_or_else(|| self.held.holding());
        if holding.bytes() < data.len() && !holding.resize(data.len()) {
            return Poll::Ready(Some(Err(axum::Error::new(NoRoom))));
        }
        Poll::Ready(Some(Ok(Frame::data(holding.keep(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the door has no room for the next part of a stream; the stream ends")]
struct NoRoom;

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 100 * 1024;

    #[test]
    fn each_has_an_allowance_and_all_share_the_room_beyond() {
        let held = HeldBytes::new(ROOM);
        let (mut one, mut other, mut small) = (held.holding(), held.holding(), held.holding());
        assert!(one.resize(ROOM + ALLOWANCE), "an allowance and all of the room");
        assert!(
            !other.resize(ALLOWANCE + 1),
            "nothing is left beyond an allowance"
        );
        assert_eq!(other.bytes(), 0);
        assert!(small.resize(ALLOWANCE));
        assert_eq!(held.held(), ROOM + 2 * ALLOWANCE);
        assert!(one.resize(ROOM));
        assert!(other.resize(2 * ALLOWANCE), "what one gives back another has");
        drop((one, other, small));
        assert_eq!((held.held(), held.0.shared.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_is_larger_than_the_room_is_held_alone() {
        let held = HeldBytes::new(ROOM);
        let (mut large, mut other) = (held.holding(), held.holding());
        assert!(large.resize(3 * ROOM));
        assert!(large.resize(4 * ROOM), "it may grow");
        assert!(!other.resize(2 * ALLOWANCE));
        drop(large);
        assert!(other.resize(2 * ALLOWANCE));
        let mut large = held.holding();
        assert!(!large.resize(3 * ROOM), "only alone");
        large.force(3 * ROOM);
        assert_eq!(held.held(), 3 * ROOM + 2 * ALLOWANCE);
    }

    #[test]
    fn bytes_are_held_until_their_last_clone_is_dropped() {
        let held = HeldBytes::new(ROOM);
        let mut holding = held.holding();
        assert!(holding.resize(5));
        let data = holding.keep(Bytes::from_static(b"value"));
        let part = data.slice(1..3);
        drop(data);
        assert_eq!((&part[..], held.held()), (&b"al"[..], 5));
        drop(part);
        assert_eq!(held.held(), 0);
    }
}
