#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use isthmus_replication::names::{BucketName, RegionName};
use tempfile::TempDir;

use super::*;

mod access;
mod process;

const SET: &str = r#"set: shop
generation: 7
trust_domain: example.org
regions:
  eu-west: { gateways: ["dns:gw.eu-west.example.org:7443"], trust: trust/eu-west.pem }
  us-east: { gateways: ["127.0.0.1:7121", "127.0.0.1:7122"], trust: trust/us-east.pem }
groups:
  default: { partitions: 2 }
  eu-only: { partitions: 1, regions: [eu-west] }
buckets:
  "*": { kind: value, max_value: 256KiB, unknown: refuse }
  sessions: { ttl: 12h }
  accounts: { group: eu-only, max_value: 1MiB }
"#;
const AGENT: &str = "set: ../set.yaml\nregion: eu-west\nnats: { servers: [\"nats://127.0.0.1:7041\"] }\n";
const GATEWAY: &str = "set: ../set.yaml\nregion: eu-west\nnats: { servers: [\"nats://127.0.0.1:7041\"] }\n\
    link: { listen: 127.0.0.1:7121, certificate: gateway.crt, key: gateway.key }\n";
const MINIMAL_SET: &str =
    "set: shop\ngeneration: 1\nregions:\n  eu-west: { gateways: [\"127.0.0.1:1\"], trust: a.pem }\n";

/// A folder as created by `isthmus init`.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(TempDir::new().unwrap());
        for (path, content) in [
            ("set.yaml", SET),
            ("trust/eu-west.pem", ""),
            ("trust/us-east.pem", ""),
            ("eu-west/region-agent.yaml", AGENT),
            ("eu-west/gateway.yaml", GATEWAY),
            ("eu-west/gateway.crt", ""),
            ("eu-west/gateway.key", ""),
        ] {
            folder.write(path, content);
        }
        folder
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), content).unwrap();
    }

    fn load<S: Settings>(&self, path: &str, variables: &[(&str, &str)]) -> Result<S, SettingsError> {
        S::load(&self.path(path), &Environment::new(variables.iter().copied()))
    }

    fn agent(&self, variables: &[(&str, &str)]) -> Result<AgentSettings, SettingsError> {
        self.load("eu-west/region-agent.yaml", variables)
    }

    fn gateway(&self, variables: &[(&str, &str)]) -> Result<GatewaySettings, SettingsError> {
        self.load("eu-west/gateway.yaml", variables)
    }
}

fn set(text: &str) -> Result<SetSettings, SettingsError> {
    SetSettings::from_document(Document::from_text("set.yaml", text))
}

fn region(name: &str) -> RegionName {
    RegionName::parse(name).unwrap()
}

fn bucket(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}

/// Checks that the error's text contains every part of `expected`.
#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, SettingsError>, expected: &[&str]) {
    let text = outcome.expect_err("refused").to_string();
    for part in expected {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn a_set_is_resolved_into_buckets_groups_and_shards() {
    let set = set(SET).unwrap();
    let accounts = set.bucket(&bucket("accounts")).unwrap();
    assert_eq!(accounts.group.as_str(), "eu-only");
    assert_eq!(accounts.max_value, ByteSize::mib(1));
    let sessions = set.bucket(&bucket("sessions")).unwrap();
    assert_eq!(sessions.ttl.map(|ttl| ttl.as_secs()), Some(12 * 3600));
    assert_eq!(sessions.max_value, ByteSize::kib(256));
    assert_eq!(sessions.group.as_str(), "default");
    assert_eq!(set.bucket(&bucket("nobody")), None);
    let shards = |shards: Vec<_>| {
        shards
            .into_iter()
            .map(|shard: isthmus_replication::coordinates::Shard| shard.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shards(set.shards_for(&region("eu-west"))),
        ["default/0", "default/1", "eu-only/0"]
    );
    assert_eq!(
        shards(set.shards_for(&region("us-east"))),
        ["default/0", "default/1"]
    );
    assert_eq!(
        shards(set.shards_between(&region("eu-west"), &region("us-east"))),
        ["default/0", "default/1"]
    );
    assert_eq!(set.max_value(&region("us-east")), ByteSize::kib(256));
    assert_eq!(
        set.regions[&region("eu-west")].identity,
        "spiffe://example.org/isthmus/shop/region/eu-west/gateway"
    );
}

#[test]
fn a_minimal_set_has_the_documented_defaults() {
    let set = set(MINIMAL_SET).unwrap();
    assert_eq!(set.trust_domain, "isthmus.local");
    assert_eq!(set.shards_for(&region("eu-west")).len(), 4);
    let any = set.bucket(&bucket("any")).unwrap();
    assert_eq!(
        (any.kind, any.ttl, any.max_value),
        (Kind::Value, None, ByteSize::kib(256))
    );
    assert_eq!(set.clock.max_ahead.as_millis(), 500);
    assert_eq!(set.clock.max_behind.as_secs(), 10);
    assert_eq!(set.clock.max_offset.as_secs(), 2);
    assert_eq!(set.max_offline.as_secs(), 72 * 3600);
    assert_eq!(set.lag_objective.as_secs(), 2);
}

#[test]
fn the_digest_is_of_the_bytes_alone() {
    assert_eq!(set(SET).unwrap().digest, SetDigest::of(SET.as_bytes()));
    assert_ne!(
        SetDigest::of(SET.as_bytes()),
        SetDigest::of(format!("{SET} ").as_bytes())
    );
}

/// (text to replace in [`SET`], replacement, what the error must contain)
const BAD_SETS: &[(&str, &str, &[&str])] = &[
    (
        "generation: 7",
        "generation: 7\nbukets: {}",
        &["set.yaml:3:1", "bukets", "buckets"],
    ),
    (
        "generation: 7\n",
        "",
        &["generation", "fix: add the key generation"],
    ),
    (
        "generation: 7",
        "generation: 0",
        &["set.yaml:2:1", "count generations from 1"],
    ),
    ("generation: 7", "generation: seven", &["set.yaml:2:13"]),
    ("set: shop", "set: Shop", &["set.yaml:1:6", "a-z, 0-9"]),
    (
        "  us-east: {",
        "  us_east: {",
        &["set.yaml:6:", "us_east", "a-z, 0-9"],
    ),
    ("ttl: 12h", "ttl: 12", &["set.yaml:12:20", "write 12s"]),
    ("ttl: 12h", "ttl: 12KiB", &["set.yaml:12:20", "such as 10s"]),
    ("ttl: 12h", "ttl: 0s", &["set.yaml:12:15", "raise it"]),
    (
        "max_value: 256KiB",
        "max_value: 256",
        &["set.yaml:11:", "write 256KiB"],
    ),
    (
        "max_value: 256KiB",
        "max_value: 10s",
        &["set.yaml:11:", "such as 256KiB"],
    ),
    (
        "max_value: 256KiB",
        "max_value: 9GiB",
        &["set.yaml:11:", "use 1B to 8MiB"],
    ),
    (
        "kind: value",
        "kind: hash",
        &[
            "set.yaml:11:",
            "kind hash is not available in this version; use kind: value",
        ],
    ),
    ("kind: value", "kind: counter", &["kind counter is not available"]),
    (
        "kind: value",
        "kind: blob",
        &["set.yaml:11:", "kind \"blob\" does not exist; use kind: value"],
    ),
    (
        "group: eu-only,",
        "group: us-only,",
        &[
            "set.yaml:13:15",
            "us-only, which does not exist",
            "default, eu-only",
        ],
    ),
    (
        "regions: [eu-west]",
        "regions: [mars]",
        &[
            "set.yaml:9:29",
            "mars, which is not in the set",
            "eu-west, us-east",
        ],
    ),
    ("regions: [eu-west]", "regions: []", &["set.yaml:9:", "no region"]),
    (
        "partitions: 2",
        "partitions: 0",
        &["set.yaml:8:14", "use 1 to 1024"],
    ),
    (
        "partitions: 2",
        "partitions: 4096",
        &["set.yaml:8:14", "use 1 to 1024"],
    ),
    ("partitions: 2", "partitions: -1", &["set.yaml:8:"]),
    (
        "[\"127.0.0.1:7121\", \"127.0.0.1:7122\"]",
        "[]",
        &["set.yaml:6:14", "names no gateway", "127.0.0.1:7121"],
    ),
    ("127.0.0.1:7122", "7122", &["set.yaml:6:", "dns:name:port"]),
    (
        "sessions: {",
        "Sessions: {",
        &["set.yaml:12:3", "rename the bucket"],
    ),
    (
        "sessions: { ttl",
        "sessions: { unknown: create, ttl",
        &["set.yaml:12:3", "move it under \"*\""],
    ),
    ("unknown: refuse", "unknown: reuse", &["set.yaml:11:", "create"]),
    (
        "  sessions: { ttl: 12h }",
        "  sessions: { ttl: 12h }\n  sessions: {}",
        &["set.yaml:13:3", "sessions", "keep one of the two"],
    ),
    (
        "example.org\n",
        "Example Org\n",
        &["set.yaml:3:1", "lower-case name"],
    ),
    (
        "generation: 7",
        "generation: 7\nclock: { max_ahead: 0s }",
        &["set.yaml:3:10", "void"],
    ),
    ("generation: 7", "generation: [7", &["set.yaml:"]),
];

#[test]
fn bad_sets_are_refused_with_line_column_and_fix() {
    for (good, bad, expected) in BAD_SETS {
        assert!(SET.contains(good), "{good}");
        refused(set(&SET.replacen(good, bad, 1)), expected);
    }
}

#[test]
fn an_error_shows_the_line() {
    let text = set(&SET.replace("kind: value", "kind: hash"))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("\n  11 |   \"*\": { kind: hash, max_value"),
        "{text}"
    );
    let caret = text.lines().nth(2).unwrap().find('^').unwrap();
    assert_eq!(
        caret,
        text.lines().nth(1).unwrap().find("hash").unwrap(),
        "{text}"
    );
}

#[test]
fn files_that_are_not_settings_are_refused() {
    for text in ["", "- a", "just text", "\u{0}", "a: &x [*x]"] {
        assert!(set(text).is_err(), "{text:?}");
    }
    refused(
        SetSettings::load(Path::new("nowhere/set.yaml")),
        &["nowhere/set.yaml", "cannot be read", "fix:"],
    );
}

#[test]
fn the_largest_value_must_fit_the_servers_messages() {
    let set = set(SET).unwrap();
    assert!(set.check_max_payload(1024 * 1024 + 64 * 1024).is_ok());
    refused(
        set.check_max_payload(1024 * 1024),
        &[
            "set.yaml:13:",
            "bucket accounts",
            "1MiB",
            "64KiB",
            "lower max_value to 960KiB",
        ],
    );
    refused(set.check_max_payload(1024), &["raise max_payload"]);
    let minimal = self::set(MINIMAL_SET).unwrap();
    refused(minimal.check_max_payload(64 * 1024), &["set.yaml", "bucket *"]);
}

#[test]
fn schemas_name_every_key() {
    let keys = |file| {
        schema(file)["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        keys(SettingsFile::Set),
        "buckets clock generation groups lag_objective membership regions set trust_domain"
    );
    assert_eq!(
        keys(SettingsFile::Agent),
        "admin clients data drain listen log memory name nats region set sync telemetry tls"
    );
    assert_eq!(
        keys(SettingsFile::Gateway),
        "admin drain link log name nats region set telemetry"
    );
}
