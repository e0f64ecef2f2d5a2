//! The settings that the regions of a set share, checked.

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
use super::set_check::{DEFAULTS, bucket_fault, buckets, check_head, groups, regions};
use super::set_file::{Kind, SetFile};
use super::units::ByteSize;

/// xxh3-128 of the bytes of set.yaml. Hello and membership contain it, and regions compare it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetDigest([u8; 16]);

/// One region of the set.
#[derive(Debug, Clone)]
pub struct RegionSettings {
    /// The addresses of this region's gateways for other regions: at least one.
    pub gateways: Vec<Address>,
    /// The file with the CA certificates (PEM) that may vouch for this region, and for no other.
    pub trust: PathBuf,
    /// The URI in this region's certificates.
    pub identity: String,
}

/// One group of buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// 1 to [`limits::PARTITIONS`].
    pub partitions: u16,
    /// The regions that have it: at least one.
    pub regions: BTreeSet<RegionName>,
}

/// The settings of a bucket. Only doors check them; apply never does (design.md section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSettings {
    /// The group that contains it.
    pub group: GroupName,
    /// The meaning of its cells.
    pub kind: Kind,
    /// The time to live of a value unless its write sets another; `None` means for ever.
    pub ttl: Option<Duration>,
    /// The maximum size of a value.
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
    /// Incremented with each change of the file; at least 1.
    pub generation: u64,
    /// The trust domain of identities.
    pub trust_domain: String,
    /// The member regions, at least one.
    pub regions: BTreeMap<RegionName, RegionSettings>,
    /// Every group, `default` among them.
    pub groups: BTreeMap<GroupName, GroupSettings>,
    /// Limits of clocks.
    pub clock: ClockLimits,
    /// How long a region without contact to a majority continues to accept writes.
    pub max_offline: Duration,
    /// The lag above which a region counts as behind.
    pub lag_objective: Duration,
    /// The digest of the file's bytes.
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

    /// The 16 bytes.
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
    /// [`SettingsError`] with file, line and fix.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        Self::from_document(Document::read(path)?)
    }

    /// Checks a file that has been read. The environment does not override it: its bytes are the
    /// same in every region.
    ///
    /// # Errors
    /// [`SettingsError`] with file, line and fix.
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

    /// The settings of `bucket`; `None` for a bucket that the set neither names nor creates.
    #[must_use]
    pub fn bucket(&self, bucket: &BucketName) -> Option<&BucketSettings> {
        self.buckets.get(bucket).or(self.unknown.as_ref())
    }

    /// The label of the bucket in metrics: `*` unless set.yaml names it, so that the number of
    /// labels is bounded by that file.
    #[must_use]
    pub fn label_of<'a>(&self, bucket: &'a BucketName) -> &'a str {
        if self.buckets.contains_key(bucket) {
            bucket.as_str()
        } else {
            DEFAULTS
        }
    }

    /// The groups of `region`, in order.
    pub fn groups_for<'a>(
        &'a self,
        region: &'a RegionName,
    ) -> impl Iterator<Item = (&'a GroupName, &'a GroupSettings)> {
        self.groups
            .iter()
            .filter(move |(_, group)| group.regions.contains(region))
    }

    /// The regions that share `group`, in order.
    pub fn regions_of(&self, group: &GroupName) -> impl Iterator<Item = &RegionName> {
        self.groups
            .get(group)
            .into_iter()
            .flat_map(|group| &group.regions)
    }

    /// The shards of `region`, in order.
    #[must_use]
    pub fn shards_for(&self, region: &RegionName) -> Vec<Shard> {
        self.shards(|group| group.regions.contains(region))
    }

    /// The maximum number of concurrent readers of one log in a process: a gateway has one for each
    /// other region and one at the log's head, an agent two while it rereads. The result includes
    /// one more, for the time when one reader replaces another.
    #[must_use]
    pub fn readers(&self) -> u32 {
        u32::try_from(self.regions.len()).map_or(u32::MAX, |regions| regions.saturating_add(1))
    }

    /// The shards that both ends of a link have, which the link carries (design.md section 3).
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

    /// The maximum size of a value in any bucket of `region`.
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

    /// Checks that the region's NATS server, which accepts messages of at most `max_payload` bytes,
    /// can store the largest value with its overhead (64 KiB).
    ///
    /// # Errors
    /// [`SettingsError`] with the line of the bucket whose limit is too large.
    pub fn check_max_payload(&self, max_payload: u64) -> Result<(), SettingsError> {
        let room = max_payload.saturating_sub(limits::MESSAGE_OVERHEAD_BYTES as u64);
        let named = self.buckets.iter().map(|(name, bucket)| (name.as_str(), bucket));
        let all = named.chain(self.unknown.iter().map(|bucket| (DEFAULTS, bucket)));
        let mut too_large = all.filter(|(_, bucket)| bucket.max_value.0 > room);
        let Some((name, bucket)) = too_large.next() else {
            return Ok(());
        };

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
        Err(bucket_fault(&self.document, name, "max_value", message, &mend))
    }
}
