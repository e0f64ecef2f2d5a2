//! Decoders of text.

use isthmus_link::{Fingerprint, TrustDomain};
use isthmus_log::LeaseName;
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::names::{BucketName, Key};
use isthmus_replication::session_token::SessionToken;
use isthmus_replication::version::Version;
use isthmus_runtime::settings::{Address, ByteSize, Duration, NatsServer};
use isthmus_runtime::telemetry::traceparent;

fn text(input: &[u8]) -> Option<&str> {
    str::from_utf8(input).ok()
}

pub(crate) fn session_token(input: &[u8]) {
    if let Some(Ok(token)) = text(input).map(str::parse::<SessionToken>) {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
}

pub(crate) fn version(input: &[u8]) {
    if let Some(Ok(version)) = text(input).map(str::parse::<Version>) {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
}

pub(crate) fn traceparent(input: &[u8]) {
    if let Some(context) = text(input).and_then(traceparent::parse) {
        assert_eq!(traceparent::parse(&traceparent::format(&context)), Some(context));
    }
}

/// Names, addresses, quantities and fingerprints: whatever is accepted must be written as text that
/// parses to the same value.
pub(crate) fn names(input: &[u8]) {
    let Some(text) = text(input) else { return };
    again(BucketName::parse(text).ok(), |text| BucketName::parse(text).ok());
    again(Key::parse(text).ok().map(|key| key.as_str().to_owned()), |text| {
        Key::parse(text).ok().map(|key| key.as_str().to_owned())
    });
    again(text.parse::<TrustDomain>().ok(), |text| text.parse().ok());
    again(text.parse::<Fingerprint>().ok(), |text| text.parse().ok());
    again(text.parse::<Address>().ok(), |text| text.parse().ok());
    again(text.parse::<NatsServer>().ok(), |text| text.parse().ok());
    again(ByteSize::parse(text).ok(), |text| ByteSize::parse(text).ok());
    again(Duration::parse(text).ok(), |text| Duration::parse(text).ok());
    if let Some(token) = SubjectToken::parse(text) {
        assert_eq!(token.as_str(), text);
    }
    if let Ok(name) = LeaseName::parse(text) {
        assert_eq!(name.as_str(), text);
    }
}

fn again<T: std::fmt::Display + std::fmt::Debug + PartialEq>(
    read: Option<T>,
    parse: impl Fn(&str) -> Option<T>,
) {
    if let Some(read) = read {
        assert_eq!(parse(&read.to_string()), Some(read));
    }
}
