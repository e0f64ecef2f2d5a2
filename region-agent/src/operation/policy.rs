//! What the set allows for a bucket. Only doors check it; apply never does (design.md section 6).

use std::sync::Arc;
use std::time::Duration;

use isthmus_replication::change::Op;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::{BucketName, Key, RegionName};
use isthmus_replication::session_token::SessionToken;
use isthmus_runtime::settings::{BucketSettings, SetSettings};

use super::{Refusal, Write};

/// The set as one region sees it.
#[derive(Debug, Clone)]
pub struct Policy {
    set: Arc<SetSettings>,
    region: RegionName,
}

impl Policy {
    /// The policy of `set` for `region`.
    #[must_use]
    pub fn new(set: Arc<SetSettings>, region: RegionName) -> Self {
        Self { set, region }
    }

    /// The largest value that any bucket of this region accepts.
    #[must_use]
    pub fn largest_value(&self) -> usize {
        self.set.max_value(&self.region).bytes()
    }

    /// The largest value that `bucket` accepts.
    ///
    /// # Errors
    /// [`Refusal::UnknownBucket`] or [`Refusal::Elsewhere`] if this region does not have the
    /// bucket.
    pub fn max_value(&self, bucket: &BucketName) -> Result<usize, Refusal> {
        Ok(self.bucket(bucket)?.max_value.bytes())
    }

    /// The shard of a key.
    ///
    /// # Errors
    /// [`Refusal::UnknownBucket`] or [`Refusal::Elsewhere`] if this region does not have the
    /// bucket.
    pub fn shard(&self, bucket: &BucketName, key: &Key) -> Result<Shard, Refusal> {
        let group = &self.bucket(bucket)?.group;
        let partitions = self.set.groups.get(group).map_or(1, |group| group.partitions);
        Ok(Shard::of_key(group, partitions, bucket, key))
    }

    /// Every shard that may hold keys of a bucket, in order.
    ///
    /// # Errors
    /// [`Refusal::UnknownBucket`] or [`Refusal::Elsewhere`] if this region does not have the
    /// bucket.
    pub fn shards(&self, bucket: &BucketName) -> Result<Vec<Shard>, Refusal> {
        let group = &self.bucket(bucket)?.group;
        let partitions = self.set.groups.get(group).map_or(1, |group| group.partitions);
        let shard = |partition| Shard {
            group: group.clone(),
            partition,
        };
        Ok((0..partitions).map(shard).collect())
    }

    /// Checks a write against its bucket and returns how long its value lives.
    ///
    /// # Errors
    /// [`Refusal::UnknownBucket`] or [`Refusal::Elsewhere`] if this region does not have the
    /// bucket, [`Refusal::ValueTooLarge`] if the value exceeds the bucket's limit.
    pub fn admit(&self, write: &Write) -> Result<Option<Duration>, Refusal> {
        let settings = self.bucket(&write.bucket)?;
        let Op::Put { value, .. } = &write.op else {
            return Ok(None);
        };
        if value.len() > settings.max_value.bytes() {
            return Err(Refusal::ValueTooLarge {
                limit: settings.max_value.bytes(),
            });
        }
        Ok(write.ttl.or(settings.ttl))
    }

    /// Checks that a session is of this set: what it has seen of another one never arrives here.
    ///
    /// # Errors
    /// [`Refusal::ForeignSession`] if it is of another set.
    pub fn admit_session(&self, session: Option<&SessionToken>) -> Result<(), Refusal> {
        let foreign = |(region, shard): &(&RegionName, &Shard)| {
            let group = self.set.groups.get(&shard.group);
            let held = group.is_some_and(|group| shard.partition < group.partitions);
            !held || !self.set.regions.contains_key(*region)
        };
        let found = session.and_then(|session| session.logs().find(foreign));
        found.map_or(Ok(()), |(region, shard)| {
            Err(Refusal::ForeignSession {
                region: region.clone(),
                shard: shard.clone(),
            })
        })
    }

    /// The regions that hold a shard, including this one.
    #[must_use]
    pub fn regions(&self, shard: &Shard) -> Vec<RegionName> {
        let group = self.set.groups.get(&shard.group);
        group.map_or_else(
            || vec![self.region.clone()],
            |group| group.regions.iter().cloned().collect(),
        )
    }

    /// This region.
    #[must_use]
    pub fn region(&self) -> &RegionName {
        &self.region
    }

    fn bucket(&self, bucket: &BucketName) -> Result<&BucketSettings, Refusal> {
        let settings = self.set.bucket(bucket).ok_or_else(|| Refusal::UnknownBucket {
            bucket: bucket.clone(),
        })?;
        let regions = self.set.groups.get(&settings.group).map(|group| &group.regions);
        match regions {
            Some(regions) if !regions.contains(&self.region) => Err(Refusal::Elsewhere {
                bucket: bucket.clone(),
                regions: regions.iter().cloned().collect(),
            }),
            _ => Ok(settings),
        }
    }
}
