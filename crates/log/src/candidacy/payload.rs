//! Payloads of leases and beats: `<process> <run>` and `<process> <run> <revision>`, as text, so
//! that an operator can read them in the bucket.

use bytes::Bytes;
use isthmus_replication::coordinates::WriterId;
use isthmus_replication::lease::{Beat, Holder, Revision};
use isthmus_replication::names::ProcessName;

/// The payload of a lease.
#[must_use]
pub fn holder(holder: &Holder) -> Bytes {
    format!("{} {}", holder.process, holder.run).into()
}

/// The payload of a beat.
#[must_use]
pub fn beat(beat: &Beat) -> Bytes {
    format!("{} {} {}", beat.holder.process, beat.holder.run, beat.revision.0).into()
}

/// Parses a lease's payload; `None` if it is malformed.
#[must_use]
pub fn read_holder(payload: &[u8]) -> Option<Holder> {
    let text = std::str::from_utf8(payload).ok()?;
    let (process, run) = text.split_once(' ')?;
    Some(Holder {
        process: ProcessName::parse(process).ok()?,
        run: WriterId(u64::from_str_radix(run, 16).ok()?),
    })
}

/// Parses a beat's payload; `None` if it is malformed.
#[must_use]
pub fn read_beat(payload: &[u8]) -> Option<Beat> {
    let text = std::str::from_utf8(payload).ok()?;
    let (holder, revision) = text.rsplit_once(' ')?;
    Some(Beat {
        holder: read_holder(holder.as_bytes())?,
        revision: Revision(revision.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_garbage_is_not() {
        let own = Holder {
            process: ProcessName::parse("gateway-1").expect("a valid name"),
            run: WriterId(0xfeed),
        };
        assert_eq!(read_holder(&holder(&own)), Some(own.clone()));
        let sent = Beat {
            holder: own,
            revision: Revision(7),
        };
        assert_eq!(read_beat(&beat(&sent)), Some(sent));
        for garbage in [&b""[..], b"x", b"a b c", b"\xff 1 2", b"gateway-1 zz 1"] {
            assert_eq!(read_beat(garbage), None);
        }
    }
}
