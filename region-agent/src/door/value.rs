//! The value in a request's body.
//!
//! A value that is too large is read and dropped, within bounds, before it is refused: a connection
//! that is closed with unread bytes can lose the answer.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use isthmus_door::{ErrorCode, Holding, no_room};
use tokio::time::timeout;

use super::answer::problem;
use super::{Rejection, reject};
use crate::operation::Refusal;

/// A value must have arrived within this time.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How much of a value that is too large is read and dropped: bytes and time.
const PASSED_OVER: usize = 4 * 1024 * 1024;
const PASSING: Duration = Duration::from_secs(2);

/// Reads a value of at most `limit` bytes, which count towards `holding` until the writer has the
/// value.
///
/// # Errors
/// A problem: `value_too_large`, `overloaded`, `request_timeout`, or `invalid_request` for a body
/// that breaks off.
pub(super) async fn read(body: Body, limit: usize, holding: &mut Holding) -> Result<Bytes, Rejection> {
    let mut stream = body.into_data_stream();
    match timeout(ARRIVAL, collect(&mut stream, limit, holding)).await {
        Ok(Ok(Collected::Whole(value))) => Ok(value),
        Ok(Ok(Collected::TooLarge)) => {
            timeout(PASSING, pass_over(&mut stream)).await.ok();
            Err(Box::new(problem(&Refusal::ValueTooLarge { limit })))
        }
        Ok(Ok(Collected::NoRoom)) => {
            timeout(PASSING, pass_over(&mut stream)).await.ok();
            Err(Box::new(no_room()))
        }
        Ok(Err(error)) => Err(reject(
            ErrorCode::InvalidRequest,
            format!("the value could not be read: {error}"),
        )),
        Err(_) => Err(reject(
            ErrorCode::RequestTimeout,
            format!("the value did not arrive within {}s", ARRIVAL.as_secs()),
        )),
    }
}

enum Collected {
    Whole(Bytes),
    TooLarge,
    NoRoom,
}

/// The whole body, unless it is too large or the door has no room for it.
async fn collect(
    stream: &mut BodyDataStream,
    limit: usize,
    holding: &mut Holding,
) -> Result<Collected, axum::Error> {
    let mut value = BytesMut::new();
    while let Some(part) = stream.next().await {
        let part = part?;
        if value.len() + part.len() > limit {
            return Ok(Collected::TooLarge);
        }
        value.extend_from_slice(&part);
        if !holding.resize(value.capacity()) {
            holding.force(0);
            return Ok(Collected::NoRoom);
        }
    }
    Ok(Collected::Whole(value.freeze()))
}

async fn pass_over(stream: &mut BodyDataStream) {
    let mut passed = 0;
    while passed < PASSED_OVER
        && let Some(Ok(part)) = stream.next().await
    {
        passed += part.len();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_door::HeldBytes;

    use super::*;

    async fn read(body: Body, limit: usize) -> Result<Bytes, Rejection> {
        super::read(body, limit, &mut HeldBytes::new(1 << 20).holding()).await
    }

    fn code(result: Result<Bytes, Rejection>) -> ErrorCode {
        result.unwrap_err().code()
    }

    #[tokio::test]
    async fn a_value_is_read_whole_or_refused_with_its_reason() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(read(Body::empty(), 0).await.unwrap(), "");
        assert_eq!(
            code(read(Body::from("123456"), 5).await),
            ErrorCode::ValueTooLarge
        );
        let broken =
            futures::stream::iter([Ok(Bytes::from_static(b"12")), Err(std::io::Error::other("gone"))]);
        assert_eq!(
            code(read(Body::from_stream(broken), 5).await),
            ErrorCode::InvalidRequest
        );
    }

    #[tokio::test]
    async fn one_that_never_ends_is_given_up() {
        let endless =
            futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1024])));
        assert_eq!(
            code(read(Body::from_stream(endless), 5).await),
            ErrorCode::ValueTooLarge
        );
    }

    #[tokio::test]
    async fn a_value_that_finds_no_room_is_refused_and_holds_nothing() {
        let held = HeldBytes::new(1 << 20);
        let (mut others, mut own) = (held.holding(), held.holding());
        assert!(others.resize(1 << 20));
        let value = Body::from(vec![0; 100_000]);
        let refused = code(super::read(value, 1 << 20, &mut own).await);
        assert_eq!((refused, own.bytes()), (ErrorCode::Overloaded, 0));
        let small = super::read(Body::from("small"), 1 << 20, &mut own).await.unwrap();
        assert_eq!((&small[..], own.bytes() > 0), (&b"small"[..], true));
    }
}
