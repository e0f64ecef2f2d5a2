//! What the regions of a set share, checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::limits;
use isthmus_replication::names::{BucketName, GroupName, RegionName, SetName};

use super::address::Address;
use super::document::Document;
use super::environment::Environment;
use super::error::SettingsError;
use super::set_file::{BucketFile, GroupFile, Kind, RegionFile, SetFile, UnknownBuckets, partitions};
use super::units::ByteSize;

const DEFAULT_GROUP: &str = "default";
const DEFAULT_MAX_VALUE: ByteSize = ByteSize::kib(256);
/// The key of set.yaml's `buckets` that holds the defaults.
const DEFAULTS: &str = "*";

/// xxh3-128 of the bytes of set.yaml. It travels in Hello and in membership: regions compare it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetDigest([u8; 16]);

/// One region of the set.
#[derive(Debug, Clone)]
pub struct RegionSettings {
    /// Where other regions find this region's gateways: at least one.
    pub gateways: Vec<Address>,
    /// The file with the certificates (PEM) that may vouch for this region, and for no other.
    pub trust: PathBuf,
    /// The URI that this region's certificates carry.
    pub identity: String,
}

/// One group of buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// 1 to [`limits::PARTITIONS`].
    pub partitions: u16,
    /// The regions that hold it: at least one.
    pub regions: BTreeSet<RegionName>,
}

/// What a bucket allows. Only doors ask; apply never does (design.md section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSettings {
    /// The group that holds it.
    pub group: GroupName,
    /// What its cells mean.
    pub kind: Kind,
    /// How long a value lives unless its write says otherwise; `None` is for ever.
    pub ttl: Option<Duration>,
    /// The largest value taken.
    pub max_value: ByteSize,
}

/// Limits of clocks (design.md sections 5 and 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockLimits {
    /// How far a stamp may be ahead of its message's log timestamp.
    pub max_ahead: Duration,
    /// How far a stamp may be behind the log's highest one.
    pub max_behind: Duration,
    /// How far another region's clock may be ahead before its lane stalls.
    pub max_offset: Duration,
}

/// `set.yaml`, checked.
#[derive(Debug, Clone)]
pub struct SetSettings {
    /// The set's name.
    pub name: SetName,
    /// Raised with each change of the file; at least 1.
    pub generation: u64,
    /// The trust domain of identities.
    pub trust_domain: String,
    /// The member regions, at least one.
    pub regions: BTreeMap<RegionName, RegionSettings>,
    /// Every group, `default` among them.
    pub groups: BTreeMap<GroupName, GroupSettings>,
    /// Limits of clocks.
    pub clock: ClockLimits,
    /// How long a region without contact to a majority goes on taking writes.
    pub max_offline: Duration,
    /// The lag above which a region counts as behind.
    pub lag_objective: Duration,
    /// Of the file's bytes.
    pub digest: SetDigest,
    buckets: BTreeMap<BucketName, BucketSettings>,
    unknown: Option<BucketSettings>,
    document: Document,
}

impl SetDigest {
    /// The digest of the bytes of a set.yaml.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes())
    }

    /// 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SetSettings {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`SettingsError`] with file, line and mend.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        Self::from_document(Document::read(path)?)
    }

    /// Checks a file that has been read. The environment does not reach it: its bytes are the same in every region.
    ///
    /// # Errors
    /// [`SettingsError`] with file, line and mend.
    pub fn from_document(mut document: Document) -> Result<Self, SettingsError> {
        let file: SetFile = document.parse(&Environment::empty())?;
        check_head(&document, &file)?;
        let trust_domain = file.trust_domain;
        let regions = regions(&document, &file.set.0, &trust_domain, file.regions)?;
        let groups = groups(&document, &regions, file.groups)?;
        let (buckets, unknown) = buckets(&document, &groups, file.buckets)?;
        Ok(Self {
            name: file.set.0,
            generation: file.generation,
            trust_domain,
            regions,
            groups,
            clock: ClockLimits {
                max_ahead: file.clock.max_ahead.0,
                max_behind: file.clock.max_behind.0,
                max_offset: file.clock.max_offset.0,
            },
            max_offline: file.membership.max_offline.0,
            lag_objective: file.lag_objective.0,
            digest: SetDigest::of(document.text().as_bytes()),
            buckets,
            unknown,
            document,
        })
    }

    /// The file these settings were read from.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// What `bucket` allows; `None` for a bucket that the set neither names nor creates.
    #[must_use]
    pub fn bucket(&self, bucket: &BucketName) -> Option<&BucketSettings> {
        self.buckets.get(bucket).or(self.unknown.as_ref())
    }

    /// The group that holds `bucket`.
    #[must_use]
    pub fn group_of(&self, bucket: &BucketName) -> Option<&GroupName> {
        self.bucket(bucket).map(|bucket| &bucket.group)
    }

    /// The groups that `region` holds, in order.
    pub fn groups_for<'a>(
        &'a self,
        region: &'a RegionName,
    ) -> impl Iterator<Item = (&'a GroupName, &'a GroupSettings)> {
        self.groups
            .iter()
            .filter(move |(_, group)| group.regions.contains(region))
    }

    /// The shards that `region` holds, in order.
    #[must_use]
    pub fn shards_for(&self, region: &RegionName) -> Vec<Shard> {
        self.shards(|group| group.regions.contains(region))
    }

    /// The shards that both ends of a link hold: what it carries (design.md section 3).
    #[must_use]
    pub fn shards_between(&self, one: &RegionName, other: &RegionName) -> Vec<Shard> {
        self.shards(|group| group.regions.contains(one) && group.regions.contains(other))
    }

    fn shards(&self, holds: impl Fn(&GroupSettings) -> bool) -> Vec<Shard> {
        let held = self.groups.iter().filter(|(_, group)| holds(group));
        held.flat_map(|(name, group)| {
            (0..group.partitions).map(|partition| Shard {
                group: name.clone(),
                partition,
            })
        })
        .collect()
    }

    /// The largest value that any bucket of `region` takes.
    #[must_use]
    pub fn max_value(&self, region: &RegionName) -> ByteSize {
        let held = |bucket: &&BucketSettings| {
            self.groups
                .get(&bucket.group)
                .is_some_and(|group| group.regions.contains(region))
        };
        let largest = self
            .buckets
            .values()
            .chain(&self.unknown)
            .filter(held)
            .map(|bucket| bucket.max_value)
            .max();
        largest.unwrap_or(ByteSize(0))
    }

    /// Checks that the region's NATS server, which takes messages of at most `max_payload` bytes, can store the largest
    /// value with what a message adds to it (64 KiB).
    ///
    /// # Errors
    /// [`SettingsError`] with the line of the bucket that allows too much.
    pub fn check_max_payload(&self, max_payload: u64) -> Result<(), SettingsError> {
        let room = max_payload.saturating_sub(limits::MESSAGE_OVERHEAD_BYTES as u64);
        let named = self.buckets.iter().map(|(name, bucket)| (name.as_str(), bucket));
        let all = named.chain(self.unknown.iter().map(|bucket| (DEFAULTS, bucket)));
        for (name, bucket) in all.filter(|(_, bucket)| bucket.max_value.0 > room) {
            let message = format!(
                "bucket {name} allows values of {}, which with {} for the message is above the NATS server's max_payload of {}",
                bucket.max_value,
                ByteSize(limits::MESSAGE_OVERHEAD_BYTES as u64),
                ByteSize(max_payload),
            );
            let mend = format!(
                "lower max_value to {} or raise max_payload in the NATS server's file",
                ByteSize(room)
            );
            return Err(bucket_fault(&self.document, name, "max_value", message, &mend));
        }
        Ok(())
    }
}

fn check_head(document: &Document, file: &SetFile) -> Result<(), SettingsError> {
    let host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    if file.trust_domain.is_empty() || file.trust_domain.len() > 255 || !file.trust_domain.bytes().all(host) {
        let message = format!("{:?} is not a trust domain", file.trust_domain);
        return Err(document.fault(
            &["trust_domain"],
            message,
            "use a lower-case name such as example.org",
        ));
    }
    if file.generation == 0 {
        return Err(document.fault(&["generation"], "the generation is 0", "count generations from 1"));
    }
    if file.regions.is_empty() || file.regions.len() > limits::REGIONS {
        let message = format!(
            "a set has 1 to {} regions, this one {}",
            limits::REGIONS,
            file.regions.len()
        );
        return Err(document.fault(
            &["regions"],
            message,
            "name at least one region with its gateways and trust",
        ));
    }
    for (key, limit) in [
        ("max_ahead", &file.clock.max_ahead),
        ("max_behind", &file.clock.max_behind),
    ] {
        if limit.0.is_zero() {
            return Err(document.fault(
                &["clock", key],
                format!("{key} is zero: every write would be void"),
                "raise it",
            ));
        }
    }
    Ok(())
}

fn regions(
    document: &Document,
    set: &SetName,
    trust_domain: &str,
    files: BTreeMap<super::address::Name<RegionName>, RegionFile>,
) -> Result<BTreeMap<RegionName, RegionSettings>, SettingsError> {
    let checked = files.into_iter().map(|(name, file)| {
        let name = name.0;
        if file.gateways.is_empty() {
            let message = format!("region {name} names no gateway");
            let mend = "give at least one address, such as gateways: [\"127.0.0.1:7121\"]";
            return Err(document.fault(&["regions", name.as_str(), "gateways"], message, mend));
        }
        let identity = file
            .identity
            .unwrap_or_else(|| format!("spiffe://{trust_domain}/isthmus/{set}/region/{name}/gateway"));
        let region = RegionSettings {
            gateways: file.gateways,
            trust: document.resolve(&file.trust),
            identity,
        };
        Ok((name, region))
    });
    let regions: BTreeMap<_, _> = checked.collect::<Result<_, _>>()?;
    let mut seen: BTreeMap<&str, &RegionName> = BTreeMap::new();
    for (name, region) in &regions {
        if let Some(other) = seen.insert(&region.identity, name) {
            let message = format!(
                "regions {other} and {name} have the same identity {}",
                region.identity
            );
            let mend = "give each region an identity of its own";
            return Err(document.fault(&["regions", name.as_str(), "identity"], message, mend));
        }
    }
    Ok(regions)
}

fn groups(
    document: &Document,
    regions: &BTreeMap<RegionName, RegionSettings>,
    files: BTreeMap<super::address::Name<GroupName>, GroupFile>,
) -> Result<BTreeMap<GroupName, GroupSettings>, SettingsError> {
    let everywhere: BTreeSet<_> = regions.keys().cloned().collect();
    let mut groups = BTreeMap::new();
    if let Ok(name) = GroupName::parse(DEFAULT_GROUP) {
        groups.insert(
            name,
            GroupSettings {
                partitions: partitions(),
                regions: everywhere.clone(),
            },
        );
    }
    for (name, file) in files {
        let fault =
            |key, message, mend: &str| Err(document.fault(&["groups", name.0.as_str(), key], message, mend));
        if !(1..=limits::PARTITIONS).contains(&file.partitions) {
            let message = format!("group {} has {} partitions", name.0, file.partitions);
            return fault(
                "partitions",
                message,
                &format!("use 1 to {} partitions", limits::PARTITIONS),
            );
        }
        let listed = file
            .regions
            .map(|names| names.into_iter().map(|name| name.0).collect::<BTreeSet<_>>());
        let held = listed.unwrap_or_else(|| everywhere.clone());
        if let Some(stranger) = held.iter().find(|region| !regions.contains_key(*region)) {
            let message = format!(
                "group {} names region {stranger}, which is not in the set",
                name.0
            );
            return fault(
                "regions",
                message,
                &format!("use some of {}", joined(regions.keys())),
            );
        }
        if held.is_empty() {
            return fault(
                "regions",
                format!("group {} is held by no region", name.0),
                "leave the key out, or name a region",
            );
        }
        groups.insert(
            name.0,
            GroupSettings {
                partitions: file.partitions,
                regions: held,
            },
        );
    }
    Ok(groups)
}

type Buckets = (BTreeMap<BucketName, BucketSettings>, Option<BucketSettings>);

fn buckets(
    document: &Document,
    groups: &BTreeMap<GroupName, GroupSettings>,
    mut files: BTreeMap<String, BucketFile>,
) -> Result<Buckets, SettingsError> {
    let defaults = files.remove(DEFAULTS).unwrap_or_default();
    let unknown = match defaults.unknown {
        Some(UnknownBuckets::Refuse) => None,
        _ => Some(bucket(
            document,
            groups,
            DEFAULTS,
            &defaults,
            &BucketFile::default(),
        )?),
    };
    let mut named = BTreeMap::new();
    for (name, file) in &files {
        let fault = |message: String, mend: &str| document.fault(&["buckets", name], message, mend);
        let parsed =
            BucketName::parse(name).map_err(|error| fault(error.to_string(), "rename the bucket"))?;
        if file.unknown.is_some() {
            return Err(fault(
                format!("bucket {name} has the key unknown"),
                "move it under \"*\"",
            ));
        }
        named.insert(parsed, bucket(document, groups, name, file, &defaults)?);
    }
    Ok((named, unknown))
}

fn bucket(
    document: &Document,
    groups: &BTreeMap<GroupName, GroupSettings>,
    name: &str,
    file: &BucketFile,
    defaults: &BucketFile,
) -> Result<BucketSettings, SettingsError> {
    let fault = |key, message: String, mend: &str| bucket_fault(document, name, key, message, mend);
    let group = file
        .group
        .as_ref()
        .or(defaults.group.as_ref())
        .map(|group| group.0.clone());
    let group = group
        .map_or_else(|| GroupName::parse(DEFAULT_GROUP), Ok)
        .map_err(|e| fault("group", e.to_string(), ""))?;
    if !groups.contains_key(&group) {
        let message = format!("bucket {name} is in group {group}, which does not exist");
        return Err(fault(
            "group",
            message,
            &format!("add it under groups, or use one of {}", joined(groups.keys())),
        ));
    }
    let ttl = file.ttl.or(defaults.ttl).map(|ttl| ttl.0);
    if ttl.is_some_and(|ttl| ttl.as_millis() == 0) {
        return Err(fault(
            "ttl",
            format!("bucket {name} has a ttl of zero"),
            "raise it, or leave it out",
        ));
    }
    let max_value = file.max_value.or(defaults.max_value).unwrap_or(DEFAULT_MAX_VALUE);
    let most = ByteSize(limits::VALUE_BYTES as u64);
    if max_value.0 == 0 || max_value > most {
        let message = format!("bucket {name} allows values of {max_value}");
        return Err(fault("max_value", message, &format!("use 1B to {most}")));
    }
    let kind = file.kind.or(defaults.kind).unwrap_or(Kind::Value);
    Ok(BucketSettings {
        group,
        kind,
        ttl,
        max_value,
    })
}

/// The error for `key` of bucket `name`, at the bucket itself or, where that is silent, at the defaults it follows.
fn bucket_fault(document: &Document, name: &str, key: &str, message: String, mend: &str) -> SettingsError {
    let own = ["buckets", name, key];
    let defaults = ["buckets", DEFAULTS, key];
    let inherited = !document.holds(&own) && document.holds(&defaults);
    document.fault(if inherited { &defaults } else { &own }, message, mend)
}

pub(super) fn joined(names: impl Iterator<Item: fmt::Display>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}
