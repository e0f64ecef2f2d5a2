//! Which crate may depend on which: our own by `OURS`, and outside crates that only some places may
//! name by `CONFINED`.

use crate::manifest::{self, Manifest};
use crate::{File, Tree, Violation};

/// Each crate of ours with our crates that it may depend on.
const OURS: &[(&str, &[&str])] = &[
    ("isthmus-replication", &[]),
    ("isthmus-report", &["isthmus-replication"]),
    ("isthmus-link", &["isthmus-replication"]),
    ("isthmus-log", &["isthmus-replication"]),
    ("isthmus-runtime", &["isthmus-replication", "isthmus-report"]),
    (
        "isthmus-door",
        &[
            "isthmus-replication",
            "isthmus-report",
            "isthmus-link",
            "isthmus-log",
            "isthmus-runtime",
        ],
    ),
    ("isthmus-wan", &[]),
    ("isthmus-gateway", BINARY),
    ("isthmus-region-agent", BINARY),
    (
        "isthmus",
        &[
            "isthmus-replication",
            "isthmus-report",
            "isthmus-log",
            "isthmus-runtime",
            "isthmus-door",
            "isthmus-wan",
        ],
    ),
    (
        "isthmus-sim",
        &[
            "isthmus-replication",
            "isthmus-link",
            "isthmus-log",
            "isthmus-runtime",
            "isthmus-door",
            "isthmus-gateway",
            "isthmus-region-agent",
        ],
    ),
    (
        "isthmus-e2e",
        &["isthmus-replication", "isthmus-log", "isthmus-wan"],
    ),
    ("isthmus-bench", &["isthmus-e2e", "isthmus-wan"]),
    (
        "isthmus-fuzzing",
        &[
            "isthmus-replication",
            "isthmus-link",
            "isthmus-log",
            "isthmus-runtime",
            "isthmus-region-agent",
            "isthmus",
        ],
    ),
    ("isthmus-fuzz", &["isthmus-fuzzing"]),
    ("isthmus-tidy", &[]),
];

const BINARY: &[&str] = &[
    "isthmus-replication",
    "isthmus-report",
    "isthmus-link",
    "isthmus-log",
    "isthmus-runtime",
    "isthmus-door",
];

/// The userspace network, which the tests of every crate may depend on.
const NETWORK_OF_TESTS: &str = "isthmus-wan";

/// Outside crates that only some of our crates may name.
struct Confined {
    packages: &'static [&'static str],
    to: &'static [&'static str],
    /// Crates whose tests may name them too.
    to_tests_of: &'static [&'static str],
    /// Path prefixes of the only sources that may name them; empty: all sources of those crates.
    sources: &'static [&'static str],
}

const CONFINED: &[Confined] = &[
    Confined {
        packages: &["rustls", "tokio-rustls", "rustls-webpki", "x509-parser"],
        to: &["isthmus-link"],
        to_tests_of: &[],
        sources: &[],
    },
    Confined {
        packages: &["rustls-pki-types"],
        to: &["isthmus-link"],
        to_tests_of: &["isthmus-gateway"],
        sources: &[],
    },
    Confined {
        packages: &["async-nats"],
        to: &["isthmus-log"],
        to_tests_of: &[],
        sources: &[],
    },
    Confined {
        packages: &["axum", "axum-core", "utoipa"],
        to: &["isthmus-door", "isthmus-gateway", "isthmus-region-agent"],
        to_tests_of: &["isthmus-e2e"],
        sources: &[],
    },
    // Cells contain text from others: output::Table escapes it.
    Confined {
        packages: &["comfy-table"],
        to: &["isthmus"],
        to_tests_of: &[],
        sources: &["cli/src/output/table.rs"],
    },
    Confined {
        packages: &[
            "opentelemetry",
            "opentelemetry_sdk",
            "opentelemetry-otlp",
            "tracing-opentelemetry",
        ],
        to: &["isthmus-runtime"],
        to_tests_of: &[],
        sources: &["crates/runtime/src/telemetry.rs", "crates/runtime/src/telemetry/"],
    },
];

/// Dependencies between our crates that are not in `OURS`.
pub fn own_crates(tree: &Tree) -> Vec<Violation> {
    let (manifests, mut violations) = manifest::manifests(tree);
    for manifest in &manifests {
        let Some((_, allowed)) = OURS.iter().find(|(name, _)| *name == manifest.name) else {
            violations.push(Violation::of_file(
                manifest.path(),
                format!(
                    "{} is unknown: list in tests/tidy/src/arrows.rs which crates it may depend on",
                    manifest.name
                ),
            ));
            continue;
        };
        let ours = manifest.dependencies.iter().filter(|dependency| {
            let for_tests = dependency.name == manifest.name || dependency.name == NETWORK_OF_TESTS;
            is_ours(&dependency.name) && !(dependency.for_tests && for_tests)
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
            violations.extend(in_manifest(manifest, confined));
            violations.extend(in_sources(tree, manifest, confined));
        }
    }
    violations
}

impl Confined {
    /// Whether a crate may depend on these packages: for its tests if `for_tests`, else at all.
    fn allows(&self, manifest: &Manifest, for_tests: bool) -> bool {
        let name = manifest.name.as_str();
        self.to.contains(&name) || for_tests && self.to_tests_of.contains(&name)
    }

    /// Whether a source of a crate may name these packages.
    fn allows_source(&self, manifest: &Manifest, file: &File) -> bool {
        let within =
            self.sources.is_empty() || self.sources.iter().any(|prefix| file.path.starts_with(prefix));
        self.allows(manifest, file.is_test()) && within
    }

    /// The places where they may be named.
    fn place(&self) -> String {
        if self.sources.is_empty() {
            self.to.join(", ")
        } else {
            self.sources.join(", ")
        }
    }
}

fn in_manifest(manifest: &Manifest, confined: &Confined) -> Vec<Violation> {
    let named = manifest.dependencies.iter().filter(|dependency| {
        let name = dependency.name.as_str();
        confined.packages.contains(&name) && !confined.allows(manifest, dependency.for_tests)
    });
    let only = confined.to.join(", ");
    named
        .map(|dependency| {
            let what = format!("only {only} may depend on {}", dependency.name);
            Violation::of_file(manifest.path(), what)
        })
        .collect()
}

fn in_sources(tree: &Tree, manifest: &Manifest, confined: &Confined) -> Vec<Violation> {
    let mut violations = Vec::new();
    let sources = tree.under(&manifest.folder).filter(|file| file.is_rust());
    for file in sources.filter(|file| !confined.allows_source(manifest, file)) {
        for mention in file.mentions().unwrap_or_default() {
            let mut packages = confined.packages.iter();
            let named = packages.find(|package| mention.has(&[package.replace('-', "_").as_str()]));
            if let Some(package) = named {
                let what = format!("only {} may name {package}", confined.place());
                violations.push(Violation::at(&file.path, mention.line, what));
            }
        }
    }
    violations
}
