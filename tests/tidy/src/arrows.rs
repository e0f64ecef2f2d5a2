//! Which crate may see which: our own by [`OURS`], and outside crates that only one place may name by [`CONFINED`].

use crate::manifest::{self, Manifest};
use crate::source::mentions;
use crate::{Tree, Violation};

/// Each crate of ours with the crates of ours that it may depend on.
const OURS: &[(&str, &[&str])] = &[
    ("isthmus-replication", &[]),
    ("isthmus-link", &["isthmus-replication"]),
    ("isthmus-log", &["isthmus-replication"]),
    ("isthmus-runtime", &["isthmus-replication"]),
    ("isthmus-door", &["isthmus-replication", "isthmus-runtime"]),
    ("isthmus-wan", &[]),
    ("isthmus-gateway", BINARY),
    ("isthmus-region-agent", BINARY),
    (
        "isthmus",
        &["isthmus-replication", "isthmus-runtime", "isthmus-wan"],
    ),
    ("isthmus-sim", &["isthmus-replication", "isthmus-log"]),
    ("isthmus-e2e", &["isthmus-wan"]),
    ("isthmus-bench", &["isthmus-e2e", "isthmus-wan"]),
    ("isthmus-tidy", &[]),
];

const BINARY: &[&str] = &[
    "isthmus-replication",
    "isthmus-link",
    "isthmus-log",
    "isthmus-runtime",
    "isthmus-door",
];

/// Outside crates that only some of ours may name.
struct Confined {
    packages: &'static [&'static str],
    to: &'static [&'static str],
    /// Within that crate, the only path prefixes whose sources may name it; empty: all.
    sources: &'static [&'static str],
}

const CONFINED: &[Confined] = &[
    Confined {
        packages: &[
            "rustls",
            "tokio-rustls",
            "rustls-pki-types",
            "rustls-webpki",
            "x509-parser",
        ],
        to: &["isthmus-link"],
        sources: &[],
    },
    Confined {
        packages: &["async-nats"],
        to: &["isthmus-log"],
        sources: &[],
    },
    Confined {
        packages: &["axum", "axum-core", "utoipa"],
        to: &["isthmus-door", "isthmus-gateway", "isthmus-region-agent"],
        sources: &[],
    },
    Confined {
        packages: &[
            "opentelemetry",
            "opentelemetry_sdk",
            "opentelemetry-otlp",
            "tracing-opentelemetry",
        ],
        to: &["isthmus-runtime"],
        sources: &["crates/runtime/src/telemetry.rs", "crates/runtime/src/telemetry/"],
    },
];

/// Arrows between crates of ours that are not in [`OURS`].
pub fn own_crates(tree: &Tree) -> Vec<Violation> {
    let (manifests, mut violations) = manifest::manifests(tree);
    for manifest in &manifests {
        let Some((_, allowed)) = OURS.iter().find(|(name, _)| *name == manifest.name) else {
            violations.push(Violation::of_file(
                manifest.path(),
                format!(
                    "{} is unknown: say in tests/tidy/src/arrows.rs which crates it may depend on",
                    manifest.name
                ),
            ));
            continue;
        };
        let ours = manifest.dependencies.iter().filter(|dependency| {
            let itself = dependency.for_tests && dependency.name == manifest.name;
            is_ours(&dependency.name) && !itself
        });
        for dependency in ours.filter(|dependency| !allowed.contains(&dependency.name.as_str())) {
            violations.push(Violation::of_file(
                manifest.path(),
                format!("{} may not depend on {}", manifest.name, dependency.name),
            ));
        }
    }
    violations
}

fn is_ours(name: &str) -> bool {
    name == "isthmus" || name.starts_with("isthmus-")
}

/// Confined crates that are named where they may not be, in a manifest or in a source.
pub fn confined_crates(tree: &Tree) -> Vec<Violation> {
    let (manifests, mut violations) = manifest::manifests(tree);
    violations.extend(manifest::renamed_in_workspace(tree));
    for manifest in &manifests {
        for confined in CONFINED {
            let allowed = confined.to.contains(&manifest.name.as_str());
            if !allowed {
                violations.extend(in_manifest(manifest, confined));
            }
            let sources = if allowed { confined.sources } else { &[] };
            if !allowed || !sources.is_empty() {
                violations.extend(in_sources(tree, manifest, confined, sources));
            }
        }
    }
    violations
}

fn in_manifest(manifest: &Manifest, confined: &Confined) -> Vec<Violation> {
    let named = manifest
        .dependencies
        .iter()
        .filter(|dependency| confined.packages.contains(&dependency.name.as_str()));
    named
        .map(|dependency| {
            let only = confined.to.join(", ");
            Violation::of_file(
                manifest.path(),
                format!("only {only} may depend on {}", dependency.name),
            )
        })
        .collect()
}

fn in_sources(tree: &Tree, manifest: &Manifest, confined: &Confined, allowed: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let sources = tree.under(&manifest.folder).filter(|file| file.is_rust());
    for file in sources.filter(|file| !allowed.iter().any(|prefix| file.path.starts_with(prefix))) {
        for mention in mentions(&file.text).unwrap_or_default() {
            let named = confined
                .packages
                .iter()
                .find(|package| mention.has(&[package.replace('-', "_").as_str()]));
            if let Some(package) = named {
                let place = if allowed.is_empty() {
                    confined.to.join(", ")
                } else {
                    allowed.join(", ")
                };
                violations.push(Violation::at(
                    &file.path,
                    mention.line,
                    format!("only {place} may name {package}"),
                ));
            }
        }
    }
    violations
}
