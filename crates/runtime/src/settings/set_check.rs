//! Converts the keys of `set.yaml` into the checked model, and refuses values that conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use isthmus_replication::limits;
use isthmus_replication::names::{BucketName, GroupName, RegionName, SetName};

use super::address::Name;
use super::document::Document;
use super::error::SettingsError;
use super::set::{BucketSettings, GroupSettings, RegionSettings};
use super::set_file::{BucketFile, GroupFile, Kind, RegionFile, SetFile, UnknownBuckets, partitions};
use super::units::ByteSize;

const DEFAULT_GROUP: &str = "default";
const DEFAULT_MAX_VALUE: ByteSize = ByteSize::kib(256);
/// The key in `buckets` of set.yaml with the defaults.
pub(super) const DEFAULTS: &str = "*";

pub(super) fn check_head(document: &Document, file: &SetFile) -> Result<(), SettingsError> {
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
        if limit.0.as_millis() == 0 {
            return Err(document.fault(
                &["clock", key],
                format!("{key} is less than a millisecond: every write would be void"),
                "raise it",
            ));
        }
    }
    Ok(())
}

pub(super) fn regions(
    document: &Document,
    set: &SetName,
    trust_domain: &str,
    files: BTreeMap<Name<RegionName>, RegionFile>,
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

pub(super) fn groups(
    document: &Document,
    regions: &BTreeMap<RegionName, RegionSettings>,
    files: BTreeMap<Name<GroupName>, GroupFile>,
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

/// The named buckets, and the settings of a bucket that is not named.
pub(super) type Buckets = (BTreeMap<BucketName, BucketSettings>, Option<BucketSettings>);

pub(super) fn buckets(
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

/// The error for `key` of bucket `name`, at the bucket itself or, if the bucket does not set the
/// key, at the defaults.
pub(super) fn bucket_fault(
    document: &Document,
    name: &str,
    key: &str,
    message: String,
    mend: &str,
) -> SettingsError {
    let own = ["buckets", name, key];
    let defaults = ["buckets", DEFAULTS, key];
    let inherited = !document.holds(&own) && document.holds(&defaults);
    document.fault(if inherited { &defaults } else { &own }, message, mend)
}

pub(super) fn joined(names: impl Iterator<Item: fmt::Display>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}
