//! Landmarks: earlier cursors into other regions' logs. They let a region find where it lost a tail
//! that only other regions had read.
//!
//! Problem: a log loses a tail that no agent of its own region had read, and assigns the same
//! sequences again. Its own region notices nothing. A peer that has the tail finds that the log has
//! another message at its cursor, but its cursor alone does not show where the lost tail began.
//!
//! Sketch: a gateway keeps the cursors that its fold had at marks of its own log. The region that
//! lost the tail requests them over the link ([`METHOD`]) and checks which of them its log still
//! has: the newest is the fork of its next life (design.md section 5).
//!
//! Invariant: a landmark is a cursor from an accepted state, so any landmark that matches is shared
//! by both logs.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost::Message;

use super::check::{self, InvalidFrame};
use super::wire;
use crate::coordinates::{Cursor, Shard};
use crate::fold::Fold;
use crate::header::Lineage;
use crate::limits;
use crate::names::RegionName;

/// The call that requests a region's landmarks of the caller's log of a shard.
pub const METHOD: &str = "landmarks";

/// Earlier cursors of one log's fold, for each other region.
#[derive(Debug, Clone, Default)]
pub struct Landmarks {
    marks: u64,
    kept: BTreeMap<RegionName, VecDeque<Cursor>>,
}

impl Landmarks {
    /// Keeps the cursors that `fold` has for every origin.
    pub fn note(&mut self, fold: &Fold) {
        for (region, origin) in fold.origins() {
            let kept = self.kept.entry(region.clone()).or_default();
            while kept.back().is_some_and(|last| !is_before(last, &origin.cursor)) {
                kept.pop_back();
            }
            if kept.len() == limits::LANDMARKS {
                kept.pop_front();
            }
            kept.push_back(origin.cursor);
        }
    }

    /// Like [`Landmarks::note`], called at each mark of the log; one in
    /// [`limits::MARKS_PER_LANDMARK`] is kept.
    pub fn note_mark(&mut self, fold: &Fold) {
        if self.marks.is_multiple_of(limits::MARKS_PER_LANDMARK) {
            self.note(fold);
        }
        self.marks += 1;
    }

    /// The landmarks of `region`'s log, newest first.
    pub fn of(&self, region: &RegionName) -> impl Iterator<Item = Cursor> {
        self.kept.get(region).into_iter().flatten().rev().copied()
    }
}

fn is_before(one: &Cursor, other: &Cursor) -> bool {
    let order = |cursor: &Cursor| (cursor.position.life, cursor.position.sequence);
    order(one) < order(other)
}

/// The body of the request.
#[must_use]
pub fn question(shard: &Shard) -> Bytes {
    check::shard_to_wire(shard).encode_to_vec().into()
}

/// The shard that a request asks for.
///
/// # Errors
/// [`InvalidFrame`].
pub fn asked(body: &[u8]) -> Result<Shard, InvalidFrame> {
    let wire = wire::Shard::decode(body).map_err(|_| InvalidFrame::NotProtobuf(METHOD))?;
    check::shard(Some(wire))
}

/// The answer to the request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LandmarksAnswer {
    /// Earlier cursors into the caller's log, newest first.
    pub landmarks: Vec<Cursor>,
    /// The lives of the caller's log, as its newest range reported them.
    pub lineage: Lineage,
}

impl LandmarksAnswer {
    /// Encodes the answer with the newest [`limits::LANDMARKS`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let landmarks = self.landmarks.iter().take(limits::LANDMARKS);
        let wire = wire::Landmarks {
            cursors: landmarks.copied().map(Into::into).collect(),
            lineage: self.lineage.to_wire(),
        };
        wire.encode_to_vec().into()
    }

    /// Decodes and checks an answer.
    ///
    /// # Errors
    /// [`InvalidFrame`].
    pub fn decode(body: &[u8]) -> Result<Self, InvalidFrame> {
        let wire = wire::Landmarks::decode(body).map_err(|_| InvalidFrame::NotProtobuf(METHOD))?;
        let landmarks = check::bounded(wire.cursors, limits::LANDMARKS, METHOD)?
            .into_iter()
            .map(|cursor| Cursor::try_from(cursor).map_err(|_| InvalidFrame::Field("cursor")));
        let lineage = Lineage::from_wire_or_none(&wire.lineage);
        Ok(Self {
            landmarks: landmarks.collect::<Result<_, _>>()?,
            lineage: lineage.map_err(|_| InvalidFrame::Field("lineage"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coordinates::{Life, MessageId, Position, Sequence};
    use crate::names::GroupName;

    fn cursor() -> impl Strategy<Value = Cursor> {
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(number, nonce, sequence, id)| {
            Cursor {
                position: Position {
                    life: Life { number, nonce },
                    sequence: Sequence(sequence),
                },
                message_id: MessageId(id),
            }
        })
    }

    proptest! {
        #[test]
        fn an_answer_tells_the_newest_and_no_more_than_may_be(
            cursors in prop::collection::vec(cursor(), 0..100), lineage in crate::header::tests::lineage()
        ) {
            let mut answer = LandmarksAnswer { landmarks: cursors, lineage };
            let decoded = LandmarksAnswer::decode(&answer.encode()).expect("own bytes");
            answer.landmarks.truncate(limits::LANDMARKS);
            prop_assert_eq!(decoded, answer);
        }

        #[test]
        fn a_question_names_its_shard(partition in 0..limits::PARTITIONS, name in "[a-z0-9-]{1,32}") {
            let shard = Shard { group: GroupName::parse(&name).expect("drawn as a valid name"), partition };
            prop_assert_eq!(asked(&question(&shard)), Ok(shard));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (_, _) = (asked(&bytes), LandmarksAnswer::decode(&bytes));
        }
    }
}
