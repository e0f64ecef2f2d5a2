//! Decoders of stored data: headers and bodies of the log, marks, fold states, cells of a
//! checkpoint, and messages of a region's peers.

use bytes::Bytes;
use isthmus_replication::agreement::{self, Sample};
use isthmus_replication::body;
use isthmus_replication::cell::CellId;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::fold::{Fold, LogName, MarkBody, Message, SubjectToken, Verdict};
use isthmus_replication::header::{Header, Record};
use isthmus_replication::names::{GroupName, RegionName, SetName};
use isthmus_replication::peer::{AppliedPositions, PeerCursors, PeerDoubt};
use isthmus_replication::store::HeldCell;
use isthmus_replication::time::Wall;

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::parse(name).expect("a valid name")
}

pub(crate) fn shard() -> Shard {
    Shard {
        group: GroupName::parse("default").expect("a valid name"),
        partition: 3,
    }
}

/// The log of the golden samples.
pub(crate) fn log(region_name: &str) -> LogName {
    LogName {
        set: SetName::parse("shop").expect("a valid name"),
        region: region(region_name),
        shard: shard(),
    }
}

pub(crate) fn header(input: &[u8]) {
    if let Ok(header) = Header::decode(input) {
        let again = Header::decode(&header.encode());
        assert_eq!(again.as_ref(), Ok(&header));
        let _ = (header.message_id(), header.record.kind());
    }
}

pub(crate) fn body(input: &[u8]) {
    let origin = region("eu-west");
    match body::decode(&origin, Bytes::copy_from_slice(input)) {
        Ok(changes) => {
            let encoded = body::encode(&origin, &changes);
            assert_eq!(body::decode(&origin, encoded), Ok(changes));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) fn mark(input: &[u8]) {
    if let Ok(mark) = MarkBody::decode(log("us-east"), input) {
        let again = MarkBody::decode(log("us-east"), &mark.encode()).expect("its own bytes");
        assert_eq!(again, mark);
    }
}

/// A state, and messages that are judged from it: `state length, state, (token, age, header length,
/// header)*`.
pub(crate) fn fold(input: &[u8]) {
    let mut input = Input(input);
    let length = input.u16();
    let Ok(mut fold) = Fold::decode(log("us-east"), input.take(length.into())) else {
        return;
    };
    let again = Fold::decode(log("us-east"), &fold.encode()).expect("its own bytes");
    assert_eq!(again, fold);
    let mut timestamp = Wall::from_millis(1_700_000_000_000);
    while !input.0.is_empty() {
        let token = token(input.u8());
        timestamp = Wall::from_millis(
            timestamp
                .millis()
                .wrapping_add_signed(input.u16().cast_signed().into()),
        );
        let length = input.u16();
        judge(&mut fold, timestamp, token.as_ref(), input.take(length.into()));
    }
}

fn token(choice: u8) -> Option<SubjectToken> {
    match choice % 5 {
        0 => Some(SubjectToken::Agent),
        1 => Some(SubjectToken::Gateway),
        2 => Some(SubjectToken::Origin(region("us-east"))),
        3 => Some(SubjectToken::Origin(region("eu-west"))),
        _ => None,
    }
}

fn judge(fold: &mut Fold, timestamp: Wall, token: Option<&SubjectToken>, header: &[u8]) {
    let header = Header::decode(header);
    let sequence = fold.at().sequence.next();
    let before = fold.clone();
    let message = Message {
        sequence,
        timestamp,
        token,
        header: header.as_ref(),
    };
    match fold.apply(message) {
        Ok(Verdict::Accepted(accepted)) => {
            assert!(fold.highest_stamp() >= before.highest_stamp());
            if let Ok(header) = &header {
                assert_eq!(accepted.kind(), header.record.kind());
                assert!(matches!(header.record, Record::Life(_)) || before.position().is_some());
            }
        }
        Ok(Verdict::Void(_)) => {
            assert_eq!(fold.highest_stamp(), before.highest_stamp());
            assert!(fold.origins().eq(before.origins()));
        }
        Ok(Verdict::Stop { .. }) | Err(_) => assert_eq!(*fold, before),
    }
    let again = Fold::decode(fold.log().clone(), &fold.encode()).expect("its own bytes");
    assert_eq!(again, *fold);
}

/// A name and a cell as in a checkpoint: `name length, name, cell`.
pub(crate) fn cell(input: &[u8]) {
    let mut input = Input(input);
    let length = input.u16();
    if let Ok(id) = CellId::from_stored(input.take(length.into())) {
        assert_eq!(CellId::from_stored(&id.to_stored()).as_ref(), Ok(&id));
    }
    if let Ok(held) = HeldCell::from_stored(input.0) {
        assert_eq!(HeldCell::from_stored(&held.to_stored()).as_ref(), Ok(&held));
    }
}

pub(crate) fn peer(input: &[u8]) {
    if let Ok(cursors) = PeerCursors::decode(input) {
        assert_eq!(PeerCursors::decode(&cursors.encode()).as_ref(), Ok(&cursors));
    }
    if let Ok(applied) = AppliedPositions::decode(input) {
        assert_eq!(AppliedPositions::decode(&applied.encode()).as_ref(), Ok(&applied));
    }
    if let Ok(sample) = Sample::decode(input) {
        assert_eq!(Sample::decode(&sample.encode()).as_ref(), Ok(&sample));
        for found in agreement::compare(&sample, &sample).flatten() {
            assert!(found, "a sample differs from itself");
        }
    }
    if let Ok(doubt) = PeerDoubt::decode(input) {
        assert_eq!(PeerDoubt::decode(&doubt.encode()).as_ref(), Ok(&doubt));
    }
}

/// Takes values from the front of an input. Beyond its end there are zeros and empty slices.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }
}
