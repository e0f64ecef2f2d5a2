use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt as _;
use isthmus_runtime::Process;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::metrics::Metrics;
use isthmus_runtime::settings::TokenHash;
use isthmus_runtime::telemetry::Tracer;
use tokio::time::timeout;
use tower::ServiceExt;

use super::*;
use crate::operators::for_operators;

/// A process, and the gates of its doors.
pub(crate) struct Doorway {
    process: Process<()>,
    refusals: Refusals,
}

impl Doorway {
    pub(crate) fn new() -> Self {
        let process = Process::new((), Clock::system(), Metrics::new("test", "0"), Tracer::off());
        let refusals = Refusals::new(&process);
        Self { process, refusals }
    }

    pub(crate) fn gate(&self, operators: &[(&str, &str, Role)]) -> Gate<Role> {
        self.gate_at("127.0.0.1:7111", operators)
    }

    fn gate_at(&self, listen: &str, operators: &[(&str, &str, Role)]) -> Gate<Role> {
        let settings = DoorSettings {
            listen: listen.parse().unwrap(),
            tls: None,
            callers: callers(operators),
        };
        Gate::new("admin", None, &settings, self.refusals.clone())
    }

    pub(crate) fn counted(&self, reason: &str) -> bool {
        let wanted = format!("isthmus_door_refused_total{{door=\"admin\",reason=\"{reason}\"}} 1");
        self.process.metrics.text().lines().any(|line| line == wanted)
    }

    pub(crate) fn events(&self, kind: &str) -> usize {
        let events = self.process.events.after(0);
        events.iter().filter(|event| event.kind == kind).count()
    }
}

fn callers(operators: &[(&str, &str, Role)]) -> BTreeMap<CallerName, CallerSettings<Role>> {
    let one = |(name, token, role): &(&str, &str, Role)| {
        let settings = CallerSettings {
            tokens: vec![TokenHash(*Fingerprint::of_bytes(token.as_bytes()).as_bytes())],
            certificates: Vec::new(),
            rights: *role,
        };
        (CallerName::parse(name).unwrap(), settings)
    };
    operators.iter().map(one).collect()
}

fn asks(authorization: Option<&str>) -> Request {
    let builder = Request::builder().uri("/").header("host", "127.0.0.1");
    let builder = match authorization {
        Some(value) => builder.header("authorization", value),
        None => builder,
    };
    builder.body(Body::empty()).unwrap()
}

fn name_of(gate: &Gate<Role>, authorization: Option<&str>) -> Result<Option<String>, ErrorCode> {
    match gate.identify(&Proof::of(&asks(authorization))) {
        Ok(caller) => Ok(caller.name.as_ref().map(ToString::to_string)),
        Err(problem) => Err(problem.code()),
    }
}

#[test]
fn where_nobody_is_named_everybody_may_do_everything() {
    let gate = Doorway::new().gate(&[]);
    let caller = gate.identify(&Proof::of(&asks(None))).unwrap();
    assert_eq!((&caller.name, caller.rights), (&None, Role::Destroy));
}

#[test]
fn a_token_names_its_caller_as_a_bearers_or_as_a_password() {
    let doorway = Doorway::new();
    let gate = doorway.gate(&[("alice", "secret", Role::Operate), ("bob", "other", Role::Read)]);
    let password = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    for (given, expected) in [
        (Some("Bearer secret".to_owned()), Some("alice")),
        (Some("bearer  other".to_owned()), Some("bob")),
        (Some(password("anybody:secret")), Some("alice")),
        (Some(password("secret")), None),
        (Some("Bearer Secret".to_owned()), None),
        (Some("Bearer ".to_owned()), None),
        (Some("Basic !".to_owned()), None),
        (Some("Digest secret".to_owned()), None),
        (None, None),
    ] {
        let expected = expected.map(|name| Some(name.to_owned()));
        let found = name_of(&gate, given.as_deref());
        assert_eq!(found, expected.ok_or(ErrorCode::Unauthenticated), "{given:?}");
    }
}

#[test]
fn callers_are_replaced_while_the_door_is_open() {
    let doorway = Doorway::new();
    let gate = doorway.gate(&[("alice", "old", Role::Operate)]);
    let shared = gate.clone();
    gate.replace(&callers(&[("alice", "new", Role::Operate)]));
    assert!(name_of(&shared, Some("Bearer old")).is_err());
    assert_eq!(name_of(&shared, Some("Bearer new")), Ok(Some("alice".to_owned())));
}

#[test]
fn a_door_that_other_machines_reach_is_never_open_to_everybody() {
    let doorway = Doorway::new();
    let gate = doorway.gate_at("0.0.0.0:7111", &[("alice", "secret", Role::Operate)]);
    assert!(name_of(&gate, Some("Bearer secret")).is_ok());
    // Settings without callers are valid for an address on loopback, but this door does not listen
    // there until its next start.
    gate.replace(&callers(&[]));
    assert!(name_of(&gate, None).is_err());
    assert!(name_of(&gate, Some("Bearer secret")).is_err());
}

#[test]
fn each_refusal_is_counted_and_reported_once_a_minute() {
    let doorway = Doorway::new();
    let gate = doorway.gate(&[("alice", "secret", Role::Read)]);
    assert!(name_of(&gate, Some("Bearer guessed")).is_err());
    assert!(doorway.counted("unknown_token"));
    for _ in 0..100 {
        assert!(name_of(&gate, Some("Bearer guessed")).is_err());
    }
    assert_eq!(doorway.events("access_refused"), 1);
    assert!(name_of(&gate, None).is_err());
    assert_eq!(doorway.events("access_refused"), 2);
    let events = format!("{:?}", doorway.process.events.after(0));
    assert!(!events.contains("guessed"), "{events}");
}

#[tokio::test]
async fn each_operator_request_needs_its_role_and_acts_are_recorded() {
    let doorway = Doorway::new();
    let gate = doorway.gate(&[
        ("reader", "r", Role::Read),
        ("operator", "o", Role::Operate),
        ("root", "d", Role::Destroy),
    ]);
    let any = || get(async || "done").post(async || "done").delete(async || "done");
    let mut routes = Router::new();
    for path in [
        "/healthz",
        "/readyz/read",
        "/v1/status",
        "/openapi.json",
        "/v1/why/{*rest}",
        "/v1/aside/{id}",
        "/v1/links/{peer}/pause",
    ] {
        routes = routes.route(path, any());
    }
    let routes = for_operators(routes, gate, doorway.process.events.clone());
    let cases = [
        (Method::GET, "/healthz", [200, 200, 200, 200]),
        (Method::GET, "/readyz/read", [200, 200, 200, 200]),
        (Method::GET, "/v1/status", [401, 200, 200, 200]),
        (Method::GET, "/openapi.json", [401, 200, 200, 200]),
        (Method::GET, "/v1/why/carts/alice", [401, 403, 200, 200]),
        (Method::GET, "/v1/aside/1", [401, 403, 200, 200]),
        (Method::POST, "/v1/links/us-east/pause", [401, 403, 200, 200]),
        (Method::POST, "/v1/why/carts/alice", [401, 403, 200, 200]),
        (Method::DELETE, "/v1/aside/1", [401, 403, 403, 200]),
    ];
    for (method, path, expected) in cases {
        let tokens = [None, Some("r"), Some("o"), Some("d")];
        for (token, status) in tokens.into_iter().zip(expected) {
            let mut request = asks(token.map(|token| format!("Bearer {token}")).as_deref());
            *request.method_mut() = method.clone();
            *request.uri_mut() = path.parse().unwrap();
            let answer = routes.clone().oneshot(request).await.unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(answer.status(), status, "{method} {path} {token:?}");
        }
    }
    let events = doorway.process.events.after(0);
    let acts = events.iter().filter(|event| event.kind == "operator_act");
    let acts = acts.map(|event| (event.fields["operator"].clone(), event.fields["act"].clone()));
    let expected = [
        ("operator", "POST /v1/links/us-east/pause"),
        ("root", "POST /v1/links/us-east/pause"),
        ("operator", "POST /v1/why/{*rest}"),
        ("root", "POST /v1/why/{*rest}"),
        ("root", "DELETE /v1/aside/1"),
    ];
    let expected = expected.map(|(operator, act)| (operator.into(), act.into()));
    assert_eq!(acts.collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_act_is_recorded_if_its_operator_hangs_up() {
    let doorway = Doorway::new();
    let gate = doorway.gate(&[("root", "d", Role::Destroy)]);
    let slow = axum::routing::any(async || {
        tokio::time::sleep(Duration::from_secs(10)).await;
        "done"
    });
    let routes = Router::new().route("/v1/aside/1", slow);
    let routes = for_operators(routes, gate, doorway.process.events.clone());
    let mut request = asks(Some("Bearer d"));
    *request.method_mut() = Method::DELETE;
    *request.uri_mut() = "/v1/aside/1".parse().unwrap();
    let answer = timeout(Duration::from_secs(1), routes.oneshot(request)).await;
    assert!(answer.is_err(), "the operator is gone before the answer");
    let events = doorway.process.events.after(0);
    let acts: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "operator_act")
        .collect();
    assert_eq!(acts.len(), 1);
    assert_eq!(acts[0].fields["act"], "DELETE /v1/aside/1");
    assert!(acts[0].fields["status"].is_null());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_ends_with_the_role_of_who_listens() {
    let doorway = Doorway::new();
    let gate = doorway.gate(&[("alice", "secret", Role::Read)]);
    let live = get(async || Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()));
    let routes = Router::new().route("/", live);
    let routes = for_operators(routes, gate.clone(), doorway.process.events.clone());
    let answer = routes.oneshot(asks(Some("Bearer secret"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut listens = answer.into_body().into_data_stream();
    let news = timeout(Duration::from_secs(60), listens.next()).await;
    assert!(
        news.is_err(),
        "the answer ended before its listener's role: {news:?}"
    );
    gate.replace(&callers(&[("alice", "another", Role::Read)]));
    let end = timeout(Duration::from_secs(2), listens.next()).await;
    assert!(matches!(end, Ok(None)), "{end:?}");
    assert!(doorway.counted("unknown_token"));
}
