//! The bytes of every record and frame kind, as first encoded: stored data, and data from other
//! versions, must stay readable. A failure prints the line with the current encoding; golden.txt
//! changes only with a new tag or kind.

use bytes::Bytes;
use isthmus_replication::aside::Entry;
use isthmus_replication::body;
use isthmus_replication::cell::Digest;
use isthmus_replication::fold::MarkBody;
use isthmus_replication::header::Header;
use isthmus_replication::link::frame::Frame;
use isthmus_replication::time::Wall;

mod samples;

use samples::{asides, changes, fold, frames, header, packed, records, region};

const GOLDEN: &str = include_str!("golden.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lines() -> Vec<String> {
    let records = records()
        .into_iter()
        .map(|(name, record)| format!("record {name} {}", hex(&header(record).encode())));
    let mark = MarkBody {
        wall: Wall::from_micros(5),
        fold: fold(),
        digest: Digest(0x0102),
        cells: 3,
    };
    let bodies = [
        format!(
            "body changes {}",
            hex(&body::encode(&region("eu-west"), &changes()))
        ),
        format!("body mark {}", hex(&mark.encode())),
        format!("state fold {}", hex(&fold().encode())),
    ];
    let packed = std::iter::once(format!("packed range {}", hex(&packed().encode())));
    let frames = frames()
        .into_iter()
        .map(|(name, frame)| format!("frame {name} {}", hex(&frame.encode())));
    let asides = asides()
        .into_iter()
        .map(|(name, entry)| format!("aside {name} {}", hex(&entry.encode())));
    records
        .chain(packed)
        .chain(bodies)
        .chain(frames)
        .chain(asides)
        .collect()
}

#[test]
fn every_record_and_frame_is_encoded_as_it_first_was() {
    let (found, kept) = (lines(), GOLDEN.lines().collect::<Vec<_>>());
    let missing: Vec<&str> = found
        .iter()
        .map(String::as_str)
        .filter(|line| !kept.contains(line))
        .collect();
    assert!(missing.is_empty(), "not in golden.txt:\n{}", missing.join("\n"));
    assert_eq!(found.len(), kept.len(), "golden.txt holds what nothing encodes");
}

fn kept(kind: &str) -> Vec<(String, Bytes)> {
    let bytes = |hex: &str| -> Bytes {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits");
        (0..hex.len()).step_by(2).map(digit).collect()
    };
    let parts = |line: &'static str| line.splitn(3, ' ').collect::<Vec<_>>();
    GOLDEN
        .lines()
        .map(parts)
        .filter(|line| line[0] == kind)
        .map(|line| (line[1].to_owned(), bytes(line[2])))
        .collect()
}

#[test]
fn what_was_kept_is_read_as_it_was_meant() {
    let records = records();
    assert_eq!(kept("record").len(), records.len());
    for (name, bytes) in kept("record") {
        let (_, record) = records
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a record of that name");
        assert_eq!(Header::decode(&bytes), Ok(header(record.clone())), "{name}");
    }
    let [(_, bytes)] = kept("packed").try_into().expect("one packed range");
    assert_eq!(Header::decode(&bytes), Ok(packed()));
    let frames = frames();
    assert_eq!(kept("frame").len(), frames.len());
    for (name, bytes) in kept("frame") {
        let (_, frame) = frames
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a frame of that name");
        assert_eq!(Frame::decode(bytes).as_ref(), Ok(frame), "{name}");
    }
    let asides = asides();
    assert_eq!(kept("aside").len(), asides.len());
    for (name, bytes) in kept("aside") {
        let (_, entry) = asides
            .iter()
            .find(|(known, _)| *known == name)
            .expect("an entry of that name");
        assert_eq!(Entry::decode(bytes).as_ref(), Ok(entry), "{name}");
    }
    let [(_, body), (_, mark)] = kept("body").try_into().expect("two bodies");
    assert_eq!(body::decode(&region("eu-west"), body), Ok(changes()));
    let mark = MarkBody::decode(fold().log().clone(), &mark).expect("a mark body");
    assert_eq!((mark.fold, mark.cells), (fold(), 3));
}
