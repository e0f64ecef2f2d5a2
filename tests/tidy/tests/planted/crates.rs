use isthmus_tidy::{Tree, arrows, code, purity};

use crate::tree::{CORE, CORE_SOURCE, LOG, LOG_SOURCE, finds, passes, sound, write};

#[test]
fn an_arrow_that_points_up() {
    finds(
        arrows::own_crates,
        LOG,
        "[package]\nname = \"isthmus-log\"\n[dependencies]\nisthmus-link.workspace = true\n",
        0,
    );
    finds(
        arrows::own_crates,
        LOG,
        "[package]\nname = \"isthmus-log\"\n[dev-dependencies]\nisthmus-runtime.workspace = true\n",
        0,
    );
    finds(
        arrows::own_crates,
        CORE,
        "[package]\nname = \"isthmus-replication\"\n[dependencies]\nlog = { package = \"isthmus-log\", path = \"../log\" }\n",
        0,
    );
    finds(
        arrows::own_crates,
        LOG,
        "[package]\nname = \"isthmus-log\"\n[target.'cfg(unix)'.dependencies]\nisthmus-door.workspace = true\n",
        0,
    );
}

#[test]
fn the_tests_of_a_crate_may_see_the_crate_itself() {
    let manifest = |section: &str| {
        format!("[package]\nname = \"isthmus-log\"\n[{section}]\nisthmus-log = {{ path = \".\" }}\n")
    };
    passes(arrows::own_crates, LOG, &manifest("dev-dependencies"));
    finds(arrows::own_crates, LOG, &manifest("dependencies"), 0);
}

#[test]
fn a_crate_that_nobody_placed() {
    finds(
        arrows::own_crates,
        "crates/new/Cargo.toml",
        "[package]\nname = \"isthmus-new\"\n",
        0,
    );
}

#[test]
fn a_confined_crate_in_another_manifest() {
    for package in ["rustls", "tokio-rustls", "axum", "opentelemetry_sdk"] {
        let manifest = format!("[package]\nname = \"isthmus-log\"\n[dependencies]\n{package} = \"1\"\n");
        finds(arrows::confined_crates, LOG, &manifest, 0);
    }
    finds(
        arrows::confined_crates,
        "Cargo.toml",
        "[workspace.dependencies]\ntls = { package = \"rustls\", version = \"0.23\" }\n",
        0,
    );
}

#[test]
fn a_confined_crate_in_another_source() {
    finds(
        arrows::confined_crates,
        LOG_SOURCE,
        "\nuse isthmus_link::rustls::ClientConfig;\n",
        2,
    );
    finds(
        arrows::confined_crates,
        CORE_SOURCE,
        "fn of(message: &async_nats::Message) {}\n",
        1,
    );
    passes(
        arrows::confined_crates,
        LOG_SOURCE,
        "//! Unlike rustls, this names no `axum::Router`.\nconst NAME: &str = \"axum\";\n",
    );
}

#[test]
fn what_only_tests_may_see() {
    let manifest = |section: &str, package: &str| {
        format!("[package]\nname = \"isthmus-gateway\"\n[{section}]\n{package}.workspace = true\n")
    };
    let gateway = "gateway/Cargo.toml";
    passes(
        arrows::own_crates,
        gateway,
        &manifest("dev-dependencies", "isthmus-wan"),
    );
    finds(
        arrows::own_crates,
        gateway,
        &manifest("dependencies", "isthmus-wan"),
        0,
    );
    passes(
        arrows::confined_crates,
        gateway,
        &manifest("dev-dependencies", "rustls-pki-types"),
    );
    finds(
        arrows::confined_crates,
        gateway,
        &manifest("dependencies", "rustls-pki-types"),
        0,
    );
    let folder = sound();
    write(
        folder.path(),
        gateway,
        &manifest("dev-dependencies", "rustls-pki-types"),
    );
    write(
        folder.path(),
        "gateway/tests/links.rs",
        "use rustls_pki_types::CertificateDer;\n",
    );
    write(
        folder.path(),
        "gateway/src/line.rs",
        "use rustls_pki_types::CertificateDer;\n",
    );
    let found = arrows::confined_crates(&Tree::read(folder.path()).expect("the tree is readable"));
    assert_eq!(
        found
            .iter()
            .map(|violation| violation.path.as_str())
            .collect::<Vec<_>>(),
        ["gateway/src/line.rs"]
    );
}

#[test]
fn opentelemetry_outside_the_telemetry_module() {
    let folder = sound();
    write(
        folder.path(),
        "crates/runtime/Cargo.toml",
        "[package]\nname = \"isthmus-runtime\"\n[dependencies]\nopentelemetry.workspace = true\n",
    );
    write(
        folder.path(),
        "crates/runtime/src/telemetry/otlp.rs",
        "use opentelemetry::trace;\n",
    );
    write(
        folder.path(),
        "crates/runtime/src/metrics.rs",
        "use opentelemetry::metrics;\n",
    );
    let found = arrows::confined_crates(&Tree::read(folder.path()).expect("the tree is readable"));
    assert_eq!(
        found
            .iter()
            .map(|violation| violation.path.as_str())
            .collect::<Vec<_>>(),
        ["crates/runtime/src/metrics.rs"]
    );
}

#[test]
fn an_impure_dependency_of_the_core() {
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        finds(
            purity::pure_core,
            CORE,
            &format!("[package]\nname = \"isthmus-replication\"\n[{section}]\ntokio = \"1\"\n"),
            0,
        );
    }
    finds(
        purity::pure_core,
        CORE,
        "[package]\nname = \"isthmus-replication\"\n[dependencies]\nproptest = \"1\"\n",
        0,
    );
    finds(
        purity::pure_core,
        "crates/replication/build.rs",
        "fn main() {}\n",
        0,
    );
}

#[test]
fn an_impure_source_of_the_core() {
    let impure = [
        "let now = std::time::Instant::now();",
        "let now = Instant::now();",
        "use std::time::{Duration, SystemTime};",
        "use std::{collections::BTreeMap, net::TcpStream};",
        "let text = std::fs::read(path);",
        "std::thread::sleep(pause);",
        "use std::collections::{BTreeMap, HashMap as Map};",
        "let seen: HashSet<u64> = Default::default();",
        "tokio::task::yield_now().await;",
        "let id: u64 = rand::random();",
        "getrandom::fill(&mut bytes);",
    ];
    for line in impure {
        finds(
            purity::pure_core,
            CORE_SOURCE,
            &format!("fn planted() {{\n    {line}\n}}\n"),
            2,
        );
    }
    passes(
        purity::pure_core,
        CORE_SOURCE,
        "// Instant::now\n/* std::net */\nuse std::time::Duration;\nconst A: &str = \"HashMap\";\n",
    );
}

#[test]
fn a_source_that_is_not_rust() {
    finds(purity::pure_core, CORE_SOURCE, "fn planted( {\n", 0);
    finds(code::unfinished, LOG_SOURCE, "fn planted( {\n", 0);
}
