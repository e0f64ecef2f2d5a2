//! Where the region's NATS servers are: as the settings name them, or through DNS (design.md section 7).

use anyhow::{Context as _, bail};
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use isthmus_runtime::settings::NatsServer;

/// The URLs of `servers`. A name with A or AAAA records is looked up at each connection; SRV records are looked up here.
///
/// # Errors
/// A name without SRV records.
pub async fn urls(servers: &[NatsServer]) -> anyhow::Result<Vec<String>> {
    let mut urls = Vec::new();
    for server in servers {
        match server.url() {
            Ok(url) => urls.push(url),
            Err(name) => urls.extend(services(name).await?),
        }
    }
    Ok(urls)
}

async fn services(name: &str) -> anyhow::Result<Vec<String>> {
    let what =
        || format!("nats.servers: srv:{name} can't be looked up; correct the name or the machine's resolver");
    let resolver = TokioResolver::builder_tokio()
        .with_context(what)?
        .build()
        .with_context(what)?;
    let answer = resolver.srv_lookup(name).await.with_context(what)?;
    let records = answer.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(format!(
            "nats://{}:{}",
            srv.target.to_utf8().trim_end_matches('.'),
            srv.port
        )),
        _ => None,
    });
    let urls: Vec<String> = records.collect();
    if urls.is_empty() {
        bail!("nats.servers: srv:{name} has no SRV records; add them, or name the servers");
    }
    Ok(urls)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_and_names_become_urls() {
        let servers =
            ["nats://127.0.0.1:4222", "dns:nats.example.org:4222"].map(|text| text.parse().unwrap());
        let expected = ["nats://127.0.0.1:4222", "nats://nats.example.org:4222"];
        assert_eq!(urls(&servers).await.unwrap(), expected);
    }
}
