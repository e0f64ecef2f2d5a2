//! Decoders of values in the bucket of leases.

use isthmus_log::candidacy_payload::{beat, holder, read_beat, read_holder};
use isthmus_log::{LeaseName, Member};
use isthmus_region_agent::region::MemberPayload;

pub(crate) fn lease(input: &[u8]) {
    if let Some(read) = read_holder(input) {
        assert_eq!(read_holder(&holder(&read)), Some(read));
    }
    if let Some(read) = read_beat(input) {
        assert_eq!(read_beat(&beat(&read)), Some(read));
    }
}

pub(crate) fn member(input: &[u8]) {
    if let Some(payload) = MemberPayload::decode(input) {
        assert_eq!(MemberPayload::decode(&payload.encode()), Some(payload));
    }
    let name = str::from_utf8(input)
        .ok()
        .and_then(|name| LeaseName::parse(name).ok());
    if let Some((name, member)) = name.and_then(|name| Some((name.clone(), Member::parse(&name)?))) {
        assert_eq!(member.lease(), name);
    }
}
