//! The HTTP door, request by request.

use isthmus_log::testing::until;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::{BOUND, Region, header, send};

#[tokio::test]
async fn values_are_put_read_listed_and_deleted() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;

    let put = send(
        agent
            .client
            .put(agent.kv("carts/a%2Fb/é"))
            .header(CONTENT_TYPE, "text/plain")
            .body("one"),
    )
    .await;
    assert_eq!(put.status(), 200);
    let version = header(&put, "isthmus-version");
    assert_eq!(header(&put, "etag"), format!("\"{version}\""));
    let session = header(&put, "isthmus-session");
    let body: Value = put.json().await.unwrap();
    assert_eq!(
        body,
        json!({ "version": version, "session": session, "regions": ["eu-west"] })
    );

    let got = agent.get("carts/a/b/%C3%A9").await;
    assert_eq!(got.status(), 200);
    assert_eq!(header(&got, "content-type"), "text/plain");
    assert_eq!(header(&got, "isthmus-version"), version);
    assert_eq!(header(&got, "isthmus-origin"), "eu-west");
    assert!(header(&got, "isthmus-applied").starts_with("20"));
    assert_eq!(got.text().await.unwrap(), "one");

    let deleted = agent.delete("carts/a/b/é").await;
    assert_eq!(deleted.status(), 200);
    let tombstone = header(&deleted, "isthmus-version");
    assert!(tombstone > version);
    let absent = agent.get("carts/a/b/é").await;
    assert_eq!(
        (absent.status().as_u16(), header(&absent, "isthmus-version")),
        (404, tombstone.clone())
    );
    assert_eq!(header(&absent, "content-type"), "application/problem+json");
    let problem: Value = absent.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["version"]),
        (&json!("not_found"), &json!(tombstone))
    );
    let never = agent.get("carts/never").await;
    assert_eq!(
        (never.status().as_u16(), header(&never, "isthmus-version")),
        (404, String::new())
    );

    let why: Value = send(agent.client.get(agent.admin("/v1/why/carts/a/b/%C3%A9")))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&why["version"], &why["origin"]),
        (&json!(tombstone), &json!("eu-west"))
    );
}

#[tokio::test]
async fn pages_list_every_live_key_once_in_order() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    let lines: String = (0..50)
        .map(|n| format!("{{\"op\":\"put\",\"bucket\":\"carts\",\"key\":\"k{n:02}\",\"value\":{n}}}\n"))
        .collect();
    send(agent.client.post(agent.http("/v1/batch")).body(lines))
        .await
        .text()
        .await
        .unwrap();
    agent.delete("carts/k07").await;
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page: Value = agent
            .get(&format!("carts?limit=7&prefix=k{after}"))
            .await
            .json()
            .await
            .unwrap();
        listed.extend(
            page["keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["key"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..50).filter(|n| *n != 7).map(|n| format!("k{n:02}")).collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_batch_answers_each_line_in_order_and_reads_its_own_writes() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    let mut lines = String::new();
    for n in 0..2000 {
        lines += &format!(
            "{{\"op\":\"put\",\"bucket\":\"carts\",\"key\":\"k{}\",\"value\":{{\"n\":{n}}}}}\n",
            n % 10
        );
    }
    lines += "{\"op\":\"get\",\"bucket\":\"carts\",\"key\":\"k3\"}\n";
    lines += "not json\n\n";
    lines += "{\"op\":\"delete\",\"bucket\":\"carts\",\"key\":\"k3\"}\n";
    lines += "{\"op\":\"get\",\"bucket\":\"carts\",\"key\":\"k3\"}\n";
    lines += "{\"op\":\"put\",\"bucket\":\"nowhere\",\"key\":\"k3\",\"value_base64\":\"AA==\"}";
    let answers = send(agent.client.post(agent.http("/v1/batch")).body(lines))
        .await
        .text()
        .await
        .unwrap();
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 2005);
    assert!(
        answers[..2000]
            .iter()
            .all(|answer| answer["status"] == 200 && answer["version"].is_string())
    );
    let versions: Vec<&str> = answers[..2000]
        .iter()
        .step_by(10)
        .map(|answer| answer["version"].as_str().unwrap())
        .collect();
    assert!(
        versions.is_sorted(),
        "writes of one key are stamped in their order"
    );
    assert_eq!(
        (&answers[2000]["status"], &answers[2000]["value"]),
        (&json!(200), &json!({ "n": 1993 }))
    );
    assert_eq!(answers[2001]["code"], "invalid_operation");
    assert_eq!(answers[2002]["status"], 200);
    assert_eq!(
        (&answers[2003]["code"], &answers[2003]["version"]),
        (&json!("not_found"), &answers[2002]["version"])
    );
    assert_eq!(answers[2004]["code"], "unknown_bucket");
}

#[tokio::test]
async fn a_value_expires_after_its_own_ttl_or_its_buckets() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    assert_eq!(agent.put("carts/short?ttl=300ms", "x").await.status(), 200);
    assert_eq!(agent.put("flags/of-bucket", "x").await.status(), 200);
    assert_eq!(agent.value("flags/of-bucket").await.as_deref(), Some("x"));
    assert_eq!(agent.put("flags/longer?ttl=1h", "x").await.status(), 200);
    for key in ["carts/short", "flags/of-bucket"] {
        until("the value expires", BOUND, || async {
            agent.value(key).await.is_none().then_some(())
        })
        .await;
        let answer = agent.get(key).await;
        assert!(!header(&answer, "isthmus-version").is_empty());
    }
    assert_eq!(agent.value("flags/longer").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn bad_input_gets_its_code() {
    let region = Region::one_of_two();
    let agent = region.agent("agent-1").await;
    let long = format!("carts/{}", "k".repeat(1025));
    for (path, status, code) in [
        ("carts/", 400, "invalid_key"),
        ("carts", 400, "invalid_key"),
        (long.as_str(), 400, "invalid_key"),
        ("carts/%FF", 400, "invalid_key"),
        ("Carts/a", 400, "invalid_bucket"),
        ("nowhere/a", 404, "unknown_bucket"),
        ("abroad/a", 404, "unknown_bucket"),
        ("carts/a?ttl=5", 400, "invalid_ttl"),
        ("carts/a?ttl=0s", 400, "invalid_ttl"),
        ("carts/a?timeout=2h", 400, "invalid_timeout"),
        ("carts/a?consistency=most", 400, "invalid_consistency"),
        ("carts/a?colour=red", 400, "invalid_request"),
        ("small/a", 413, "value_too_large"),
        ("carts/a?consistency=all", 503, "regions_unreachable"),
    ] {
        let answer = agent.put(path, "seventeen bytes !").await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(
            header(&answer, "content-type"),
            "application/problem+json",
            "{path}"
        );
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code, "{path}");
        assert_eq!(problem["status"], status, "{path}");
        assert!(problem["retryable"].is_boolean(), "{path}");
    }
    assert_eq!(agent.value("carts/a").await, None, "nothing was written");
    assert_eq!(agent.put("small/a", "sixteen bytes ok").await.status(), 200);
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(
        (0..100).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1024])),
    ));
    assert_eq!(agent.put("carts/chunked", chunked).await.status(), 413);
    for (method, path, code) in [
        ("POST", "/v1/kv/carts/a", "method_not_allowed"),
        ("GET", "/v2/kv", "unknown_path"),
        ("PUT", "/v1/batch", "method_not_allowed"),
    ] {
        let request = agent.client.request(method.parse().unwrap(), agent.http(path));
        let problem: Value = send(request).await.json().await.unwrap();
        assert_eq!(problem["code"], code);
    }
    let document: Value = send(agent.client.get(agent.http("/openapi.json")))
        .await
        .json()
        .await
        .unwrap();
    assert!(document["paths"]["/v1/kv/{bucket}/{key}"]["put"].is_object());
}

#[tokio::test]
async fn another_agent_honours_a_session_or_refuses_with_the_distance() {
    let region = Region::alone();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    for n in 0..20 {
        let put = one.put("carts/a", n.to_string()).await;
        let session = header(&put, "isthmus-session");
        let got = send(
            two.client
                .get(two.kv("carts/a"))
                .header("isthmus-session", session),
        )
        .await;
        assert_eq!(got.text().await.unwrap(), n.to_string());
    }
    let session = header(&one.get("carts/a").await, "isthmus-session");
    let (shown, sequence) = session.rsplit_once('.').unwrap();
    let ahead = format!(
        "{shown}.{:x}",
        u64::from_str_radix(sequence, 16).unwrap() + 1_000_000
    );
    let stale = send(
        two.client
            .get(two.kv("carts/a?timeout=200ms"))
            .header("isthmus-session", &ahead),
    )
    .await;
    assert_eq!(stale.status(), 409);
    let problem: Value = stale.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["origin"]),
        (&json!("stale"), &json!("eu-west"))
    );
    assert!(problem["distance"].as_u64().unwrap() > 900_000);
    let of_another_set = [
        "1;zz:default,0.1.0.5",
        "1;eu-west:nogroup,0.1.0.5",
        "1;eu-west:default,77.1.0.5",
    ];
    for garbage in ["x", "1;eu-west:default,zz", "1;;"]
        .into_iter()
        .chain(of_another_set)
    {
        let refused = send(
            two.client
                .get(two.kv("carts/a"))
                .header("isthmus-session", garbage),
        )
        .await;
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["code"], "invalid_session");
    }
}
