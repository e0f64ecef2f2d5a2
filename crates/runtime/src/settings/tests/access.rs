//! Callers of listeners.

use super::*;

const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const TLS: &str = "tls: { certificate: gateway.crt, key: gateway.key, clients: ../trust/eu-west.pem }\n";

fn with(folder: &Folder, more: &str) -> Result<AgentSettings, SettingsError> {
    folder.write("eu-west/region-agent.yaml", &format!("{AGENT}{more}"));
    folder.agent(&[("ISTHMUS_NAME", "agent-1")])
}

#[test]
fn a_door_with_tls_and_clients_may_listen_to_other_machines() {
    let folder = Folder::new();
    let text = format!(
        "listen: 0.0.0.0:7110\n{TLS}clients:\n  checkout: {{ tokens: [\"{HASH}\"], read: [\"*\"], write: [sessions] }}\n  \
        reports: {{ certificates: [\"spiffe://example.org/reports\"], read: [sessions] }}\n"
    );
    let door = with(&folder, &text).unwrap().door;
    assert_eq!(door.tls.unwrap().certificate, folder.path("eu-west/gateway.crt"));
    let sessions = BucketName::parse("sessions").unwrap();
    let accounts = BucketName::parse("accounts").unwrap();
    let rights = |name: &str| {
        let caller = door.callers.iter().find(|(held, _)| held.as_str() == name);
        let rights = &caller.unwrap().1.rights;
        [&rights.read, &rights.write].map(|held| [&sessions, &accounts].map(|bucket| held.contains(bucket)))
    };
    assert_eq!(rights("checkout"), [[true, true], [true, false]]);
    assert_eq!(rights("reports"), [[true, false], [false, false]]);
}

#[test]
fn an_admin_listener_takes_operators_by_role() {
    let folder = Folder::new();
    let text = format!(
        "admin: {{ listen: 127.0.0.1:7111, operators: {{ alice: {{ tokens: [\"{HASH}\"], role: operate }} }} }}\n"
    );
    let admin = with(&folder, &text).unwrap().process.admin;
    let alice = admin.callers.values().next().unwrap();
    assert_eq!((admin.tls, alice.rights), (None, Role::Operate));
    assert!(Role::Read < Role::Operate && Role::Operate < Role::Destroy);
}

/// (text to add to [`AGENT`], what the error must contain)
const BAD: &[(&str, &[&str])] = &[
    (
        "listen: 0.0.0.0:7110\nclients: { a: { tokens: [HASH] } }\n",
        &["region-agent.yaml:4:1", "no TLS", "give tls and clients"],
    ),
    (
        "listen: 0.0.0.0:7110\nTLS",
        &["region-agent.yaml:4:1", "no clients: everybody could use it"],
    ),
    (
        "admin: { listen: 0.0.0.0:7111 }\n",
        &["region-agent.yaml:4:10", "admin.tls and admin.operators"],
    ),
    (
        "clients: { a: { read: [sessions] } }\n",
        &[
            "region-agent.yaml:4:12",
            "a has neither tokens nor certificates",
            "isthmus token",
        ],
    ),
    (
        "clients: { a: { certificates: [a.example.org] } }\n",
        &["region-agent.yaml:4:12", "no CA of callers", "tls.clients"],
    ),
    (
        "clients: { a: { tokens: [HASH] }, b: { tokens: [HASH] } }\n",
        &["b and a have the same token"],
    ),
    (
        "TLSclients: { a: { certificates: [x] }, b: { certificates: [x] } }\n",
        &["b and a have the same certificate \"x\""],
    ),
    (
        "clients: { a: { tokens: [HASH], read: [session] } }\n",
        &["region-agent.yaml:4:", "does not know the bucket session"],
    ),
    (
        "clients: { a: { tokens: [isthmus_secret] } }\n",
        &["not the hash of a token", "isthmus token"],
    ),
    (
        "clients: { A: { tokens: [HASH] } }\n",
        &["caller \"A\" is not a name"],
    ),
    (
        "tls: { certificate: gateway.crt, key: none.key }\n",
        &["region-agent.yaml:4:34", "none.key cannot be read"],
    ),
    (
        "tls: { certificate: gateway.crt, key: gateway.key, revoked: gateway.crt }\n",
        &[
            "region-agent.yaml:4:52",
            "no caller here has a certificate",
            "tls.clients",
        ],
    ),
    (
        "admin: { listen: 127.0.0.1:1, operators: { a: { tokens: [HASH], role: admin } } }\n",
        &["read, operate, destroy"],
    ),
];

#[test]
fn what_leaves_a_door_open_or_makes_no_sense_is_refused() {
    let folder = Folder::new();
    for (more, expected) in BAD {
        let more = more.replace("TLS", TLS).replace("HASH", &format!("\"{HASH}\""));
        let error = with(&folder, &more).map(|_| ()).unwrap_err().to_string();
        for part in *expected {
            assert!(error.contains(part), "{more}: {error:?} does not say {part:?}");
        }
    }
}

#[test]
fn an_error_repeats_no_secret() {
    let folder = Folder::new();
    let agents = [
        "clients: { a: { tokens: [isthmus_secret] } }\n",
        "clients:\n  a:\n    tokens:\n      - isthmus_secret\n",
        "clients: { a: { tokens: isthmus_secret, read: [sessions] } }\n",
        "clients:\n  a:\n    tokens: isthmus_secret\n",
        "clients: { a: { reed: [sessions], tokens: [isthmus_secret] } }\n",
        "clients: { a: { tokens: [isthmus_secret } }\n",
        "clients: isthmus_secret\n",
        "admin: { listen: 127.0.0.1:1, operators: { a: { tokens: isthmus_secret } } }\n",
        "isthmus_secret: 1\n",
    ];
    for more in agents {
        let error = with(&folder, more).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("isthmus_secret"), "{more}: {error}");
    }
    folder.write("eu-west/region-agent.yaml", AGENT);
    for (variable, value) in [
        ("ISTHMUS_CLIENTS__A__TOKENS", "isthmus_secret"),
        ("ISTHMUS_CLIENTS__A__TOKENS", "another-secret"),
        ("ISTHMUS_CLIENTS", "isthmus_secret"),
        ("ISTHMUS_ADMIN__OPERATORS", "another-secret"),
        ("ISTHMUS_NATS__SERVERS", "another-secret"),
    ] {
        let error = folder.agent(&[("ISTHMUS_NAME", "a"), (variable, value)]);
        let error = error.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("ISTHMUS_") && !error.contains("secret"), "{error}");
    }
    folder.write(
        "eu-west/region-agent.yaml",
        &AGENT.replace("127.0.0.1", "user:isthmus_secret@127.0.0.1"),
    );
    let error = folder.agent(&[]).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("nats.credentials") && !error.contains("isthmus_secret"),
        "{error}"
    );
}
