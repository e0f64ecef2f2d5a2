//! The stream behind the page: what a gateway sends at `/v1/live`, and that the stream ends with
//! the gateway. The page itself is tested in Chromium (tests/page).

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{Stream, StreamExt};
use isthmus_e2e::Running;
use serde_json::Value;

const REGION: &str = "eu-west";
const SOON: Duration = Duration::from_secs(30);

/// The server-sent events of a response, by name.
fn events(response: reqwest::Response) -> impl Stream<Item = anyhow::Result<(String, Value)>> + Unpin {
    let state = (Box::pin(response.bytes_stream()), String::new());
    Box::pin(futures::stream::try_unfold(
        state,
        async |(mut bytes, mut text)| {
            loop {
                if let Some((message, rest)) = text.split_once("\n\n") {
                    let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
                    let name = field("event: ").context("a name")?.to_owned();
                    let data = serde_json::from_str(field("data: ").context("data")?)?;
                    let rest = rest.to_owned();
                    return Ok(Some(((name, data), (bytes, rest))));
                }
                match bytes.next().await {
                    Some(more) => text.push_str(std::str::from_utf8(&more?)?),
                    None => return Ok(None),
                }
            }
        },
    ))
}

/// Whether these times are a second apart. The first status is sent at once, and the next one after
/// any part of a second. The page treats a longer silence as trouble.
fn come_each_second(at_ms: &[u64]) -> bool {
    let second = 900..2_500;
    let mut pairs = at_ms[1..].windows(2);
    pairs.all(|pair| second.contains(&pair[1].saturating_sub(pair[0])))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_streams_each_second_until_its_gateway_ends() -> anyhow::Result<()> {
    let running = Running::start(&[REGION, "us-east"], &[]).await?;
    let gateway = &running.run_file()["regions"][REGION]["gateways"][0];
    let (admin, name) = (gateway["admin"].as_str(), gateway["name"].as_str());
    let (admin, name) = (admin.context("an address")?, name.context("a name")?);
    let page = reqwest::get(format!("{admin}/")).await?;
    let policy = page.headers().get("content-security-policy");
    ensure!(policy.is_some() && page.text().await?.contains("/page/page.js"));

    let mut stream = events(reqwest::get(format!("{admin}/v1/live")).await?);
    let mut samples = 0;
    let (mut kinds, mut at_ms) = (Vec::<Value>::new(), Vec::<u64>::new());
    let all = async {
        while at_ms.len() < 4 || !kinds.iter().any(|kind| kind == "node_up") {
            let (what, data) = stream.next().await.context("the stream ended")??;
            match what.as_str() {
                "history" => samples = data.as_array().context("samples")?.len(),
                "status" => {
                    ensure!(data["status"]["region"] == REGION, "{data}");
                    at_ms.push(data["at_ms"].as_u64().context("a time")?);
                }
                "events" => {
                    let events = data["events"].as_array().context("events")?.iter();
                    kinds.extend(events.map(|event| event["kind"].clone()));
                }
                other => anyhow::bail!("{other} is sent"),
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(SOON, all)
        .await
        .with_context(|| format!("the status is sent at {at_ms:?}, and the events {kinds:?}"))??;
    ensure!(samples > 0, "no history");
    ensure!(come_each_second(&at_ms), "the status is sent at {at_ms:?}");

    running.lab(&["restart", &format!("{name}@{REGION}")])?;
    // A stream that is cut off is an error, one that ends is not.
    let rest = async {
        while let Some(events) = stream.next().await {
            events?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(SOON, rest)
        .await
        .context("the stream goes on")?
}
