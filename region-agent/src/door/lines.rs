//! The lines of a request's body, read within a memory bound.

use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use isthmus_door::{ALLOWANCE, Holding};

/// The next part of a body must arrive within this time.
const IDLE: Duration = Duration::from_secs(30);

/// Reads a body line by line.
#[derive(Debug)]
pub(super) struct Lines {
    stream: BodyDataStream,
    buffer: BytesMut,
    searched: usize,
    longest: usize,
    skipping: Option<Skipped>,
    ended: bool,
    /// The bytes that the buffer holds.
    holding: Holding,
}

/// Why a line was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It was longer than the bound.
    TooLong,
    /// The door had no room for it.
    NoRoom,
}

/// A line, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end; may be empty.
    Text(Bytes),
    Skipped(Skipped),
    /// The body broke off or stalled for too long. Nothing follows.
    Broken,
}

impl Lines {
    /// The lines of `stream`, each of at most `longest` bytes. The buffer counts towards `holding`.
    #[must_use]
    pub(super) fn new(stream: BodyDataStream, longest: usize, holding: Holding) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            searched: 0,
            longest,
            skipping: None,
            ended: false,
            holding,
        }
    }

    /// The next line; none at the end. Cancel safe: a dropped call loses nothing.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.complete() {
                return Some(line);
            }
            if self.ended {
                return self.rest();
            }
            match tokio::time::timeout(IDLE, self.stream.next()).await {
                Ok(Some(Ok(part))) => self.add(&part),
                Ok(None) => self.ended = true,
                Ok(Some(Err(_))) | Err(_) => {
                    self.ended = true;
                    self.buffer.clear();
                    self.searched = 0;
                    return Some(Line::Broken);
                }
            }
        }
    }

    fn add(&mut self, part: &[u8]) {
        self.buffer.extend_from_slice(part);
        if self.holding.resize(self.buffer.capacity()) {
            return;
        }
        // A part is small compared to a line that is too large.
        if part.contains(&b'\n') || self.buffer.len() <= ALLOWANCE {
            self.holding.force(self.buffer.capacity());
        } else {
            self.skip(Skipped::NoRoom);
        }
    }

    /// Skips the line that has begun.
    fn skip(&mut self, why: Skipped) {
        self.buffer = BytesMut::new();
        self.holding.force(0);
        self.searched = 0;
        self.skipping.get_or_insert(why);
    }

    /// A whole line of the buffer.
    fn complete(&mut self) -> Option<Line> {
        let found = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(at) = found.map(|at| at + self.searched) else {
            self.searched = self.buffer.len();
            if self.searched > self.longest {
                self.skip(Skipped::TooLong);
            }
            return None;
        };
        let line = self.buffer.split_to(at + 1).freeze().slice(..at);
        self.holding.force(self.buffer.capacity());
        self.searched = 0;
        if let Some(why) = self.skipping.take() {
            return Some(Line::Skipped(why));
        }
        if line.len() > self.longest {
            return Some(Line::Skipped(Skipped::TooLong));
        }
        Some(Line::Text(line))
    }

    /// What follows the last line end.
    fn rest(&mut self) -> Option<Line> {
        let rest = self.buffer.split().freeze();
        self.holding.force(0);
        self.searched = 0;
        if let Some(why) = self.skipping.take() {
            return Some(Line::Skipped(why));
        }
        (!rest.is_empty()).then_some(Line::Text(rest))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;
    use isthmus_door::HeldBytes;
    use proptest::prelude::*;

    use super::*;

    async fn read(parts: Vec<Vec<u8>>, longest: usize) -> Vec<Line> {
        let parts = parts
            .into_iter()
            .map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
        let body = Body::from_stream(futures::stream::iter(parts));
        let mut lines = Lines::new(
            body.into_data_stream(),
            longest,
            HeldBytes::new(1 << 20).holding(),
        );
        let mut read = Vec::new();
        while let Some(line) = lines.next().await {
            read.push(line);
        }
        read
    }

    fn text(text: &'static str) -> Line {
        Line::Text(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_may_be_cut_anywhere_and_the_last_needs_no_end() {
        let parts = ["a\nb", "b\n", "", "\nlast"].map(|part| part.as_bytes().to_vec());
        assert_eq!(
            read(parts.to_vec(), 10).await,
            [text("a"), text("bb"), text(""), text("last")]
        );
    }

    #[tokio::test]
    async fn a_line_beyond_the_bound_is_passed_over() {
        let parts = ["12345\n123", "456", "7890\n12345\n", "123456"].map(|part| part.as_bytes().to_vec());
        let expected = [
            text("12345"),
            Line::Skipped(Skipped::TooLong),
            text("12345"),
            Line::Skipped(Skipped::TooLong),
        ];
        assert_eq!(read(parts.to_vec(), 5).await, expected);
    }

    #[tokio::test]
    async fn only_a_line_without_room_is_skipped() {
        let held = HeldBytes::new(64 * 1024);
        let mut others = held.holding();
        assert!(others.resize(64 * 1024 + ALLOWANCE));
        let long = vec![b'x'; 20 * 1024];
        let parts = [&b"a\n"[..], &long, &long, b"end\nb\n", &long, b"\n", &long];
        let parts = parts.map(|part| Ok::<_, std::io::Error>(Bytes::copy_from_slice(part)));
        let body = Body::from_stream(futures::stream::iter(parts));
        let mut lines = Lines::new(body.into_data_stream(), 1 << 20, held.holding());
        let mut read = Vec::new();
        while let Some(line) = lines.next().await {
            read.push(line);
            assert!(held.held() < 64 * 1024 + 4 * ALLOWANCE, "{}", held.held());
        }
        let skipped = || Line::Skipped(Skipped::NoRoom);
        assert_eq!(read, [text("a"), skipped(), text("b"), skipped(), skipped()]);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_says_so() {
        let parts = [
            Ok(Bytes::from_static(b"a\nhalf")),
            Err(std::io::Error::other("gone")),
        ];
        let body = Body::from_stream(futures::stream::iter(parts));
        let mut lines = Lines::new(body.into_data_stream(), 10, HeldBytes::new(1 << 20).holding());
        assert_eq!(lines.next().await, Some(text("a")));
        assert_eq!(lines.next().await, Some(Line::Broken));
        assert_eq!(lines.next().await, None);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_lines_are_the_same(
            text in "[a-c\n]{0,80}",
            cuts in proptest::collection::vec(1usize..9, 0..40),
        ) {
            let mut rest = text.as_bytes();
            let mut parts = Vec::new();
            for cut in cuts {
                let (part, left) = rest.split_at(cut.min(rest.len()));
                parts.push(part.to_vec());
                rest = left;
            }
            parts.push(rest.to_vec());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let whole = runtime.block_on(read(vec![text.clone().into_bytes()], 20));
            prop_assert_eq!(runtime.block_on(read(parts, 20)), whole);
        }
    }
}
