//! Bodies: the changes of a message. Bodies can be concatenated, so a gateway joins stored bodies
//! into a range without decoding them.

use bytes::Bytes;
use prost::Message;

mod packed;

pub use packed::{PackedError, pack, unpack};

use crate::cell::{CellId, ContentType, Field};
use crate::change::{Change, Op};
use crate::coordinates::WriterId;
use crate::header::Codec;
use crate::hlc::Hlc;
use crate::limits;
use crate::names::{BucketName, Key, RegionName};
use crate::time::Wall;
use crate::trace::TraceContext;
use crate::version::Version;
use crate::wire;

/// Why a body can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The bytes are not a body.
    #[error("the body is not protobuf")]
    NotProtobuf,
    /// A field has an invalid value.
    #[error("change {change} of the body has an invalid {what}")]
    Invalid {
        /// The index of the change, counted from 0 over the body.
        change: usize,
        /// The invalid field.
        what: &'static str,
    },
    /// A change claims a region whose changes the message must not carry.
    #[error("a change of region {found} in a message of {expected}")]
    ForeignRegion {
        /// The region of the message.
        expected: RegionName,
        /// The region that the change claims.
        found: RegionName,
    },
}

/// Why the changes of a stored body can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It can't be unpacked.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// Its changes can't be read.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// Unpacks and decodes a stored body, whose changes must all be of `region`. `codec` is from its
/// header.
///
/// # Errors
/// [`OpenError`] if the body can't be unpacked or decoded.
pub fn open(codec: Codec, region: &RegionName, stored: Bytes) -> Result<Vec<Change>, OpenError> {
    Ok(decode(region, unpack(codec, stored)?)?)
}

/// Encodes changes of one region as a body. Consecutive changes of one writer share a batch.
///
/// All changes must be of `region`; the caller ensures this.
#[must_use]
pub fn encode(region: &RegionName, changes: &[Change]) -> Bytes {
    let mut body = wire::Body::default();
    for change in changes {
        debug_assert_eq!(&change.version.region, region, "a body speaks for one region");
        let writer = change.version.writer.0;
        match body.batches.last_mut().filter(|batch| batch.writer == writer) {
            Some(batch) => batch.changes.push(change_to_wire(change)),
            None => body.batches.push(wire::Batch {
                region: region.as_str().to_owned(),
                writer,
                changes: vec![change_to_wire(change)],
            }),
        }
    }
    body.encode_to_vec().into()
}

/// Decodes a body whose changes must all be of `region`. Values are slices of `body`.
///
/// # Errors
/// [`BodyError`] if the body is malformed or has a change of another region.
pub fn decode(region: &RegionName, body: Bytes) -> Result<Vec<Change>, BodyError> {
    check_sizes(&body)?;
    let body = wire::Body::decode(body).map_err(|_| BodyError::NotProtobuf)?;
    let mut changes = Vec::with_capacity(body.batches.iter().map(|batch| batch.changes.len()).sum());
    for batch in body.batches {
        if batch.region != region.as_str() {
            let invalid = BodyError::Invalid {
                change: changes.len(),
                what: "region",
            };
            let found = RegionName::parse(&batch.region).map_err(|_| invalid)?;
            return Err(BodyError::ForeignRegion {
                expected: region.clone(),
                found,
            });
        }
        for change in batch.changes {
            let at = changes.len();
            let change = change_from_wire(region, WriterId(batch.writer), change)
                .map_err(|what| BodyError::Invalid { change: at, what })?;
            changes.push(change);
        }
    }
    Ok(changes)
}

/// Rejects a body with changes that are too short to be valid, before memory is allocated for them.
fn check_sizes(body: &[u8]) -> Result<(), BodyError> {
    let changes = wire::elements(body, 1).flat_map(|batch| wire::elements(batch, 3));
    match changes.enumerate().find(|(_, change)| change.len() < LEAST_BYTES) {
        Some((change, _)) => Err(BodyError::Invalid {
            change,
            what: "length",
        }),
        None => Ok(()),
    }
}

/// The most bytes that one entry of `seen` takes in a body.
pub(crate) const SEEN_ENTRY_BYTES: usize = 56;

/// An upper bound for the bytes that a change with `seen_entries` entries of `seen` takes in a
/// body.
pub(crate) fn size_bound(id: &CellId, op: &Op, seen_entries: usize) -> usize {
    /// Tags, lengths, stamp, expiry and trace.
    const OVERHEAD: usize = 128;
    let content = match op {
        Op::Put { value, content_type } => value.len() + content_type.as_str().len(),
        Op::Delete => 0,
    };
    let names = id.bucket.as_str().len() + id.key.as_str().len() + id.field.bytes().len();
    OVERHEAD + names + content + SEEN_ENTRY_BYTES * seen_entries
}

/// The least bytes that op, bucket and key of a change take.
const LEAST_BYTES: usize = 2 + 3 + 3;
const OP_PUT: u32 = 1;
const OP_DELETE: u32 = 2;

fn change_to_wire(change: &Change) -> wire::Change {
    let (op, content_type, value) = match &change.op {
        Op::Put { value, content_type } => (OP_PUT, content_type.as_str().to_owned(), value.clone()),
        Op::Delete => (OP_DELETE, String::new(), Bytes::new()),
    };
    wire::Change {
        op,
        bucket: change.id.bucket.as_str().to_owned(),
        key: change.id.key.as_str().to_owned(),
        field: change.id.field.bytes().clone(),
        hlc: change.version.hlc.bits(),
        seen: wire::SeenEntry::all_of(&change.seen),
        expires_at_ms: change.expires_at.map_or(0, Wall::millis),
        content_type,
        trace: change
            .trace
            .map_or_else(Bytes::new, |trace| Bytes::copy_from_slice(&trace.to_bytes())),
        value,
    }
}

fn change_from_wire(
    region: &RegionName,
    writer: WriterId,
    wire: wire::Change,
) -> Result<Change, &'static str> {
    if wire.value.len() > limits::VALUE_BYTES {
        return Err("value");
    }
    let op = match wire.op {
        OP_PUT => Op::Put {
            value: wire.value,
            content_type: ContentType::new(&wire.content_type).ok_or("content type")?,
        },
        OP_DELETE => Op::Delete,
        _ => return Err("op"),
    };
    let seen = wire::SeenEntry::read(&wire.seen).ok_or("seen")?;
    Ok(Change {
        id: CellId {
            bucket: BucketName::parse(&wire.bucket).map_err(|_| "bucket")?,
            key: Key::parse(&wire.key).map_err(|_| "key")?,
            field: Field::new(wire.field).ok_or("field")?,
        },
        version: Version {
            hlc: Hlc::from_bits(wire.hlc),
            region: region.clone(),
            writer,
        },
        seen,
        expires_at: (wire.expires_at_ms != 0).then(|| Wall::from_millis(wire.expires_at_ms)),
        op,
        trace: TraceContext::from_bytes(&wire.trace),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::header::tests::region_name;
    use crate::seen::{Seen, Stamp};

    fn change() -> impl Strategy<Value = Change> {
        let op = prop_oneof![
            Just(Op::Delete),
            (vec(any::<u8>(), 0..64), "[a-z/]{0,12}").prop_map(|(value, kind)| Op::Put {
                value: value.into(),
                content_type: ContentType::new(&kind).expect("short"),
            }),
        ];
        let id =
            ("[a-z0-9-]{1,32}", ".{1,40}", vec(any::<u8>(), 0..8)).prop_map(|(bucket, key, field)| CellId {
                bucket: BucketName::parse(&bucket).expect("drawn as a valid name"),
                key: Key::parse(&key).expect("drawn as a valid key"),
                field: Field::new(field.into()).expect("short"),
            });
        let stamp = (any::<u64>(), prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)]);
        let seen = vec((region_name(), stamp), 0..3).prop_map(|entries| {
            let mut seen = Seen::default();
            for (region, (hlc, writer)) in entries {
                let (hlc, writer) = (Hlc::from_bits(hlc), WriterId(writer));
                seen.note(&region, Stamp { hlc, writer });
            }
            seen
        });
        let trace = proptest::option::of((1u128.., 1u64.., any::<u8>()).prop_map(
            |(trace_id, span_id, flags)| TraceContext {
                trace_id,
                span_id,
                flags,
            },
        ));
        let expires = proptest::option::of((1u64..1 << 48).prop_map(Wall::from_millis));
        (id, any::<u64>(), 0u64..3, seen, expires, op, trace).prop_map(
            |(id, hlc, writer, seen, expires_at, op, trace)| Change {
                id,
                version: Version {
                    hlc: Hlc::from_bits(hlc),
                    region: home(),
                    writer: WriterId(writer),
                },
                seen,
                expires_at,
                op,
                trace,
            },
        )
    }

    fn home() -> RegionName {
        RegionName::parse("eu-west").expect("a valid name")
    }

    proptest! {
        #[test]
        fn a_body_round_trips(changes in vec(change(), 0..20)) {
            prop_assert_eq!(decode(&home(), encode(&home(), &changes)), Ok(changes));
        }

        #[test]
        fn bodies_concatenate(a in vec(change(), 0..10), b in vec(change(), 0..10)) {
            let joined = [encode(&home(), &a), encode(&home(), &b)].concat();
            prop_assert_eq!(decode(&home(), joined.into()), Ok([a, b].concat()));
        }

        #[test]
        fn any_bytes_are_a_body_or_an_error(bytes in vec(any::<u8>(), 0..400)) {
            let _: Result<Vec<Change>, BodyError> = decode(&home(), bytes.into());
        }

        #[test]
        fn a_damaged_body_is_a_body_or_an_error(
            changes in vec(change(), 1..5), at: prop::sample::Index, flip in 1u8..
        ) {
            let mut bytes = encode(&home(), &changes).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _: Result<Vec<Change>, BodyError> = decode(&home(), bytes.into());
        }
    }

    #[test]
    fn a_change_of_another_region_is_refused() {
        let other = RegionName::parse("us-east").expect("a valid name");
        let body = wire::Body {
            batches: vec![wire::Batch {
                region: "us-east".into(),
                writer: 1,
                changes: vec![],
            }],
        };
        assert_eq!(
            decode(&home(), body.encode_to_vec().into()),
            Err(BodyError::ForeignRegion {
                expected: home(),
                found: other
            })
        );
    }

    #[test]
    fn changes_too_small_to_be_any_are_refused() {
        let body = wire::Body {
            batches: vec![wire::Batch {
                region: "eu-west".into(),
                writer: 1,
                changes: vec![wire::Change::default(); 3],
            }],
        };
        let refused = BodyError::Invalid {
            change: 0,
            what: "length",
        };
        assert_eq!(decode(&home(), body.encode_to_vec().into()), Err(refused));
    }
}
