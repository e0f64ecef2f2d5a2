//! Every example under configs/ loads, and the production examples contain every key.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use isthmus_runtime::settings::{
    AgentSettings, Environment, GatewaySettings, SetSettings, Settings, SettingsFile, schema,
};
use serde_json::Value;
use tempfile::TempDir;

/// Files that the examples name and that an operator provides.
const NAMED_FILES: [&str; 19] = [
    "trust/eu-west.pem",
    "trust/eu-central.pem",
    "trust/us-east.pem",
    "gateway.crt",
    "gateway.key",
    "tls/gateway.crt",
    "tls/gateway.key",
    "tls/revoked.txt",
    "nats/agent.nk",
    "nats/ca.pem",
    "nats/gateway.nk",
    "tls/agent.crt",
    "tls/agent.key",
    "tls/clients.pem",
    "tls/gateway-admin.crt",
    "tls/gateway-admin.key",
    "tls/operators.pem",
    "tls/revoked-clients.txt",
    "tls/revoked-operators.txt",
];
/// Well-formed public keys for the variables of the NATS examples.
const NKEYS: [(&str, &str); 4] = [
    (
        "OPERATOR_NKEY",
        "UBFKPNVTP6K7Y7PGJXEOXMN2A6DWGQZNRPS2MM4KPX5XFYZY3HE3L43W",
    ),
    (
        "AGENT_NKEY",
        "UC3BON65A2MVD3KCX3STZRZHPEUH3LAR445N7HIMEFJVUAM6XRIXILGI",
    ),
    (
        "GATEWAY_NKEY",
        "UDEAJGLLUMPM7ZT2TOQAU5QP7DC2E57TQIAN7C4EISDJL7DVLVJ2LKU5",
    ),
    (
        "SYSTEM_NKEY",
        "UA4W6PI6TLNPFUC2L5NKDXJEDBRLXSETUNF7SFADBOFCMMHG5R4VPRHF",
    ),
];

fn workspace() -> PathBuf {
    // Read when the test runs, because several checkouts may share a build folder.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    Path::new(&package).ancestors().nth(2).unwrap().to_owned()
}

/// A copy of `configs/<kind>` with the files that it names.
fn folder(kind: &str) -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in std::fs::read_dir(workspace().join("configs").join(kind)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    for named in NAMED_FILES {
        let path = copy.path().join(named);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    copy
}

#[test]
fn every_settings_file_loads() {
    for kind in ["minimal", "production"] {
        let folder = folder(kind);
        let set = SetSettings::load(&folder.path().join("set.yaml")).unwrap();
        let agent =
            AgentSettings::load(&folder.path().join("region-agent.yaml"), &Environment::empty()).unwrap();
        let gateway =
            GatewaySettings::load(&folder.path().join("gateway.yaml"), &Environment::empty()).unwrap();
        assert_eq!(agent.process.set.digest, set.digest);
        assert_eq!(gateway.process.region.as_str(), "eu-west");
        set.check_max_payload(1024 * 1024).unwrap();
    }
}

#[test]
fn the_folders_hold_these_files_and_no_others() {
    for kind in ["minimal", "production"] {
        let files = std::fs::read_dir(workspace().join("configs").join(kind)).unwrap();
        let files: BTreeSet<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(
            files.iter().collect::<Vec<_>>(),
            ["gateway.yaml", "nats.conf", "region-agent.yaml", "set.yaml"]
        );
    }
}

#[test]
fn the_production_files_show_every_key() {
    let folder = folder("production");
    for (file, kind) in [
        ("set.yaml", SettingsFile::Set),
        ("region-agent.yaml", SettingsFile::Agent),
        ("gateway.yaml", SettingsFile::Gateway),
    ] {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        for key in keys(&schema(kind)) {
            assert!(text.contains(&format!("{key}:")), "{file} does not show {key}");
        }
    }
}

fn keys(schema: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            members
                .values()
                .for_each(|member| keys.extend(self::keys(member)));
        }
        Value::Array(items) => items.iter().for_each(|item| keys.extend(self::keys(item))),
        _ => {}
    }
    keys
}

#[test]
fn the_nats_server_takes_its_files() {
    for kind in ["minimal", "production"] {
        let folder = folder(kind);
        certify(&folder.path().join("nats"));
        let check = Command::new(nats_server())
            .args(["-t", "-c", "nats.conf"])
            .current_dir(folder.path())
            .envs(NKEYS)
            .output();
        let output = check.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {said}");
    }
}

/// A server certificate for NATS, which is also its own CA.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["nats-1.example.org".to_owned()]).unwrap();
    let files = [
        ("server.crt", made.cert.pem()),
        ("server.key", made.signing_key.serialize_pem()),
        ("ca.pem", made.cert.pem()),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

/// The server in ISTHMUS_NATS_SERVER, else the one that `make test` downloads, else the one on
/// PATH.
fn nats_server() -> PathBuf {
    let named = std::env::var_os("ISTHMUS_NATS_SERVER").map(PathBuf::from);
    let fetched = workspace().join(".tools/nats-server");
    named
        .or_else(|| fetched.exists().then_some(fetched))
        .unwrap_or_else(|| "nats-server".into())
}
