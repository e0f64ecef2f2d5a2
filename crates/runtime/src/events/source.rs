//! The cause of an event.

use std::net::IpAddr;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::{CallerName, RegionName};

/// Who caused an event, and why. The rate limit applies to each source, and each has its share of
/// the stored events. The default is no particular source.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    pub(super) reason: &'static str,
    pub(super) who: String,
}

impl Source {
    /// The gateways of another region.
    #[must_use]
    pub fn region(region: &RegionName) -> Self {
        Self::named(region.as_str())
    }

    /// Somebody at an address. The range that an IPv6 network assigns to one site counts as one
    /// address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::named(&address.to_string()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::named(&format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"))
            }
        }
    }

    /// A caller named in the settings.
    #[must_use]
    pub fn caller(caller: &CallerName) -> Self {
        Self::named(caller.as_str())
    }

    fn named(who: &str) -> Self {
        Self {
            reason: "",
            who: who.to_owned(),
        }
    }

    /// The same source at one of several doors.
    #[must_use]
    pub fn at(mut self, door: &'static str) -> Self {
        self.who = format!("{door} {}", self.who);
        self
    }

    /// The same source in one shard.
    #[must_use]
    pub fn of_shard(mut self, shard: &Shard) -> Self {
        self.who = format!("{} {shard}", self.who);
        self
    }

    /// The same source with one of a closed list of reasons.
    #[must_use]
    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_site_is_one_source_however_many_addresses_it_has() {
        let of = |text: &str| Source::address(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
