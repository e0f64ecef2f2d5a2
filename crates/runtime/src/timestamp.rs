//! Timestamps for people, in RFC 3339.

use std::time::{Duration, UNIX_EPOCH};

/// The last millisecond whose year has four digits in RFC 3339.
const LAST: u64 = 253_402_300_799_999;

/// `millis` since 1970 in RFC 3339, in UTC and with milliseconds. Later times are shown as the last
/// representable one, because any number may come from outside.
#[must_use]
pub fn rfc3339(millis: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(millis.min(LAST));
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_is_a_time() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(LAST), "9999-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(u64::MAX), rfc3339(LAST));
    }
}
