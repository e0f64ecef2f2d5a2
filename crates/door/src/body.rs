//! Request bodies with a size limit.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http_body_util::LengthLimitError;

use crate::code::ErrorCode;
use crate::problem::Problem;

/// Reads a whole body of at most `most` bytes within `within`. A larger body is refused as soon as
/// its size is known, without reading the rest.
///
/// # Errors
/// A [`Problem`]: [`ErrorCode::BodyTooLarge`], [`ErrorCode::RequestTimeout`], or
/// [`ErrorCode::InvalidRequest`] for an incomplete body.
pub async fn read_body(body: Body, most: usize, within: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(within, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => {
            let detail = format!("the body has more than {most} bytes; send less at a time");
            Err(Problem::new(ErrorCode::BodyTooLarge, detail).with("limit", most))
        }
        Ok(Err(error)) => Err(Problem::new(
            ErrorCode::InvalidRequest,
            format!("the body could not be read: {error}"),
        )),
        Err(_) => {
            let detail = format!("the body did not arrive within {within:?}; send it again");
            Err(Problem::new(ErrorCode::RequestTimeout, detail))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<LengthLimitError>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_body_within_its_bound_is_read_whole() {
        assert_eq!(read_body(Body::from("12345"), 5, SOON).await.unwrap(), "12345");
    }

    #[tokio::test]
    async fn a_larger_one_is_refused() {
        let problem = read_body(Body::from("123456"), 5, SOON).await.unwrap_err();
        assert_eq!(problem.code(), ErrorCode::BodyTooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_come_is_refused() {
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(
            read_body(never, 5, SOON).await.unwrap_err().code(),
            ErrorCode::RequestTimeout
        );
    }

    #[tokio::test]
    async fn one_that_breaks_off_is_refused() {
        let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let problem = read_body(Body::from_stream(broken), 5, SOON).await.unwrap_err();
        assert_eq!(problem.code(), ErrorCode::InvalidRequest);
    }
}
