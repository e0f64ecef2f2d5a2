//! Decoders of requests to the door.

use isthmus_region_agent::door::{Parameter, Query, Target, parse_line};

pub(crate) fn batch_line(input: &[u8]) {
    if let Err(problem) = parse_line(input) {
        assert!(
            problem.to_value()["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
}

pub(crate) fn query(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match Query::parse(Some(text), &Parameter::ALL) {
        Ok(query) => assert!(query.limit > 0 && !query.timeout.is_zero()),
        Err(invalid) => assert!(!invalid.to_string().is_empty()),
    }
}

pub(crate) fn path(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(target) = Target::parse(text) {
        let plain = target.key.as_ref().map(|key| key.as_str().replace('%', "%25"));
        let again = match plain {
            Some(key) => format!("{}/{key}", target.bucket),
            None => target.bucket.to_string(),
        };
        assert_eq!(Target::parse(&again), Ok(target));
    }
}
