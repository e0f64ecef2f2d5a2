//! The files of agents and gateways.

use super::*;

#[test]
fn a_minimal_agent_has_the_documented_defaults() {
    let folder = Folder::new();
    let agent = folder.agent(&[("ISTHMUS_NAME", "agent-1")]).unwrap();
    assert_eq!(agent.process.region, region("eu-west"));
    assert_eq!(agent.process.set.name.as_str(), "shop");
    assert_eq!(agent.door.listen.to_string(), "127.0.0.1:7110");
    assert_eq!(agent.process.admin.listen.to_string(), "127.0.0.1:7111");
    assert_eq!(agent.data, folder.path("eu-west/data/agent-1"));
    assert!(!agent.process.log.create);
    assert_eq!(agent.process.log.retention, ByteSize::mib(256));
    assert_eq!(agent.process.drain.as_secs(), 10);
    assert_eq!(agent.listeners().len(), 2);
    assert!(
        folder
            .agent(&[])
            .unwrap()
            .process
            .name
            .as_str()
            .starts_with("agent-")
    );
}

#[test]
fn a_minimal_gateway_dials_the_set_or_its_own_setting() {
    let folder = Folder::new();
    let gateway = folder.gateway(&[]).unwrap();
    assert_eq!(gateway.link.certificate, folder.path("eu-west/gateway.crt"));
    assert_eq!(
        gateway
            .link
            .dial
            .keys()
            .map(RegionName::as_str)
            .collect::<Vec<_>>(),
        ["us-east"]
    );
    assert_eq!(gateway.link.dial[&region("us-east")].len(), 2);
    assert!(gateway.process.name.as_str().starts_with("gateway-"));

    let dial = [("ISTHMUS_LINK__DIAL", r#"{us-east: ["127.0.0.1:9001"]}"#)];
    let gateway = folder.gateway(&dial).unwrap();
    assert_eq!(
        gateway.link.dial[&region("us-east")][0].to_string(),
        "127.0.0.1:9001"
    );
}

#[test]
fn the_environment_overrides_every_level_and_adds_missing_keys() {
    let folder = Folder::new();
    folder.write(
        "eu-west/region-agent.yaml",
        "set: ../set.yaml\nlog: { create: true, replicas: 3 }\n",
    );
    let agent = folder
        .agent(&[
            ("ISTHMUS_REGION", "us-east"),
            ("ISTHMUS_NATS__SERVERS", "[\"nats://127.0.0.1:4222\"]"),
            ("ISTHMUS_LISTEN", "127.0.0.1:0"),
            ("ISTHMUS_ADMIN__LISTEN", "127.0.0.1:0"),
            ("ISTHMUS_LOG__RETENTION", "8MiB"),
            ("ISTHMUS_DATA", "/elsewhere"),
            ("ISTHMUS_DRAIN", "3s"),
        ])
        .unwrap();
    assert_eq!(agent.process.region, region("us-east"));
    assert_eq!(agent.process.nats.servers[0].to_string(), "nats://127.0.0.1:4222");
    assert_eq!(agent.door.listen.port(), 0);
    assert_eq!((agent.process.log.create, agent.process.log.replicas), (true, 3));
    assert_eq!(agent.process.log.retention, ByteSize::mib(8));
    assert_eq!(agent.data, Path::new("/elsewhere"));
    assert_eq!(agent.process.drain.as_secs(), 3);
}

#[test]
fn an_error_names_the_bad_variable_that_it_is_about() {
    let folder = Folder::new();
    folder.write("eu-west/region-agent.yaml", "set: ../set.yaml\n");
    let good = [
        ("ISTHMUS_REGION", "us-east"),
        ("ISTHMUS_NATS__SERVERS", "[\"nats://127.0.0.1:4222\"]"),
        ("ISTHMUS_LISTEN", "127.0.0.1:0"),
        ("ISTHMUS_ADMIN__LISTEN", "127.0.0.1:0"),
        ("ISTHMUS_DATA", "/elsewhere"),
    ];
    let bad = [
        ("ISTHMUS_PORT", "7110"),
        ("ISTHMUS_AGENT", "10.96.0.17"),
        ("ISTHMUS_LOG__REPLICAS", "many"),
        ("ISTHMUS_DRAIN", "10"),
    ];
    for one in bad {
        for other in bad {
            let variables = [&good[..], &[one, other]].concat();
            let refused = folder.agent(&variables).unwrap_err().to_string();
            let (variable, rest) = refused
                .strip_prefix("environment variable ")
                .and_then(|text| text.split_once(": "))
                .unwrap();
            let about = match variable {
                "ISTHMUS_PORT" => "`port`",
                "ISTHMUS_AGENT" => "`agent`",
                "ISTHMUS_LOG__REPLICAS" => "\"many\"",
                "ISTHMUS_DRAIN" => "10s",
                other => panic!("{other} is not to blame: {refused}"),
            };
            assert!(rest.contains(about), "{refused}");
        }
    }
    let links = [
        ("ISTHMUS_SERVICE_HOST", "10.96.0.17"),
        ("ISTHMUS_PORT", "tcp://10.96.0.17:7110"),
    ];
    assert!(folder.agent(&[&good[..], &links].concat()).is_ok());
}

#[test]
fn a_bad_variable_is_named() {
    let folder = Folder::new();
    let cases: [(&str, &str, &[&str]); 7] = [
        ("ISTHMUS_LISTN", "127.0.0.1:1", &["ISTHMUS_LISTN", "listn"]),
        ("ISTHMUS_DRAIN", "10", &["ISTHMUS_DRAIN", "write 10s"]),
        (
            "ISTHMUS_LOG__RETENTION",
            "2GiB",
            &[
                "ISTHMUS_LOG__RETENTION",
                "not below max_bytes",
                "lower log.retention",
            ],
        ),
        (
            "ISTHMUS_REGION",
            "mars",
            &[
                "ISTHMUS_REGION",
                "mars is not in the set shop",
                "eu-west, us-east",
            ],
        ),
        (
            "ISTHMUS_LISTEN",
            "0.0.0.0:7110",
            &[
                "ISTHMUS_LISTEN",
                "neither TLS nor authentication",
                "127.0.0.1:7110",
            ],
        ),
        ("ISTHMUS_NAME__X", "a", &["ISTHMUS_NAME__X"]),
        (
            "ISTHMUS_NATS__SERVERS",
            "[\"nats://u:hunter2@h:1\"]",
            &["ISTHMUS_NATS__SERVERS", "nats.credentials"],
        ),
    ];
    for (variable, value, expected) in cases {
        refused(
            folder.agent(&[("ISTHMUS_NAME", "agent-1"), (variable, value)]),
            expected,
        );
    }
    refused(folder.agent(&[("ISTHMUS_LOG", "5")]), &["ISTHMUS_LOG"]);
}

#[test]
fn a_broken_file_is_distinct_from_a_bad_variable() {
    let folder = Folder::new();
    folder.write("eu-west/region-agent.yaml", &format!("{AGENT}drain: 10\n"));
    refused(
        folder.agent(&[("ISTHMUS_NAME", "agent-1")]),
        &["region-agent.yaml:4:8", "write 10s"],
    );
}

/// (text to add to [`AGENT`], what the error must contain)
const BAD_AGENTS: &[(&str, &[&str])] = &[
    ("liste: 127.0.0.1:1", &["region-agent.yaml:4:1", "listen"]),
    (
        "listen: 0.0.0.0:7110",
        &[
            "region-agent.yaml:4:1",
            "neither TLS nor authentication",
            "listen on 127.0.0.1:7110",
        ],
    ),
    (
        "listen: localhost:7110",
        &["region-agent.yaml:4:9", "such as 127.0.0.1:7110"],
    ),
    (
        "admin: { listen: \"[::]:7111\" }",
        &["region-agent.yaml:4:10", "neither TLS"],
    ),
    ("name: Agent_1", &["region-agent.yaml:4:7", "a-z, 0-9"]),
    (
        "log: { retention: 1GiB }",
        &[
            "region-agent.yaml:4:8",
            "retention 1GiB is not below max_bytes 1GiB",
        ],
    ),
    (
        "log: { max_bytes: 1000B, retention: 1B }",
        &["region-agent.yaml:4:8", "1MiB or more"],
    ),
    (
        "log: { replicas: 2 }",
        &["region-agent.yaml:4:8", "use 1, 3 or 5"],
    ),
    (
        "memory: { soft: 2GiB }",
        &["region-agent.yaml:4:11", "lower memory.soft"],
    ),
    (
        "memory: { soft: 2048 }",
        &["region-agent.yaml:4:17", "write 2048KiB"],
    ),
    (
        "telemetry: { ratio: 2 }",
        &["region-agent.yaml:4:14", "from 0 to 1"],
    ),
    (
        "telemetry: { log: \"a=b=c\" }",
        &["region-agent.yaml:4:14", "error, warn, info"],
    ),
    (
        "telemetry: { log_format: xml }",
        &["region-agent.yaml:4:", "text, json"],
    ),
    (
        "telemetry: { otlp: { endpoint: \"127.0.0.1:4317\" } }",
        &["region-agent.yaml:4:", "http://host:port"],
    ),
    (
        "link: { listen: 127.0.0.1:1 }",
        &["region-agent.yaml:4:1", "link"],
    ),
];

#[test]
fn bad_agents_are_refused_with_line_column_and_fix() {
    let folder = Folder::new();
    for (added, expected) in BAD_AGENTS {
        folder.write("eu-west/region-agent.yaml", &format!("{AGENT}{added}\n"));
        refused(folder.agent(&[]), expected);
    }
    let cases: [(&str, &str, &[&str]); 6] = [
        (
            "eu-west",
            "mars",
            &[
                "region-agent.yaml:2:1",
                "mars is not in the set shop",
                "add mars under regions",
            ],
        ),
        (
            "../set.yaml",
            "../sat.yaml",
            &["region-agent.yaml:1:1", "sat.yaml", "cannot be read"],
        ),
        (
            "[\"nats://127.0.0.1:7041\"]",
            "[]",
            &["region-agent.yaml:3:9", "no NATS server"],
        ),
        (
            "nats://127.0.0.1:7041",
            "http://127.0.0.1:7041",
            &["region-agent.yaml:3:", "nats://host:port"],
        ),
        (
            "7041\"]",
            "7041\"], domain: \"a.b\"",
            &["region-agent.yaml:3:", "JetStream domain"],
        ),
        (
            "7041\"]",
            "7041\"], credentials: no.creds",
            &["region-agent.yaml:3:", "no.creds cannot be read"],
        ),
    ];
    for (good, bad, expected) in cases {
        folder.write("eu-west/region-agent.yaml", &AGENT.replace(good, bad));
        refused(folder.agent(&[]), expected);
    }
}

#[test]
fn an_error_in_the_set_names_the_set() {
    let folder = Folder::new();
    folder.write("set.yaml", &SET.replace("ttl: 12h", "ttl: 12"));
    refused(folder.agent(&[]), &["set.yaml:12:20", "write 12s"]);
}

#[test]
fn settings_load_by_a_path_relative_to_the_working_directory() {
    let folder = Folder::new();
    let up: PathBuf = std::env::current_dir()
        .unwrap()
        .components()
        .skip(1)
        .map(|_| "..")
        .collect();
    let settings = folder.path("eu-west/gateway.yaml");
    let relative = up.join(settings.strip_prefix("/").unwrap());
    let gateway = GatewaySettings::load(&relative, &Environment::default()).unwrap();
    let trust = &gateway.process.set.regions[&region("us-east")].trust;
    assert_eq!(
        trust.canonicalize().unwrap(),
        folder.path("trust/us-east.pem").canonicalize().unwrap()
    );
}

#[test]
fn bad_gateways_are_refused_with_line_column_and_fix() {
    let folder = Folder::new();
    let cases: [(&str, &str, &[&str]); 7] = [
        (
            "certificate: gateway.crt",
            "certificate: no.crt",
            &[
                "gateway.yaml:4:",
                "no.crt cannot be read",
                "relative to this file",
            ],
        ),
        (
            "key: gateway.key",
            "key: .",
            &["gateway.yaml:4:", "is not a file"],
        ),
        (
            "key: gateway.key",
            "revoked: gateway.key",
            &["gateway.yaml:4:", "add the key key"],
        ),
        (
            "key: gateway.key",
            "key: gateway.key, revoked: no.txt",
            &["gateway.yaml:4:", "no.txt cannot be read"],
        ),
        (
            "key: gateway.key",
            "key: gateway.key, dial: { eu-west: [\"h:1\"] }",
            &["gateway.yaml:4:", "not another region", "us-east"],
        ),
        (
            "key: gateway.key",
            "key: gateway.key, dial: { us-east: [] }",
            &["gateway.yaml:4:", "no address for us-east"],
        ),
        (
            "listen: 127.0.0.1:7121",
            "listen: 7121",
            &["gateway.yaml:4:17", "such as 127.0.0.1:7110"],
        ),
    ];
    for (good, bad, expected) in cases {
        assert!(GATEWAY.contains(good));
        folder.write("eu-west/gateway.yaml", &GATEWAY.replace(good, bad));
        refused(folder.gateway(&[]), expected);
    }
    folder.write("eu-west/gateway.yaml", GATEWAY);
    std::fs::remove_file(folder.path("trust/us-east.pem")).unwrap();
    refused(
        folder.gateway(&[]),
        &["set.yaml:6:", "us-east.pem cannot be read"],
    );
}
