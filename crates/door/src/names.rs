//! Name lookups.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use tokio::sync::OnceCell;

/// Why a lookup failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// The answer is empty.
    #[error("the name has no address")]
    Empty,
    /// No answer arrived within this time.
    #[error("the name servers did not answer within {0:?}")]
    Slow(Duration),
    /// The name servers refused the lookup, or there are none.
    #[error("looking up failed: {0}")]
    Failed(String),
}

/// Answers lookups.
pub trait Names: Send + Sync {
    /// The A and AAAA records of `name`.
    fn hosts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>>;

    /// The targets and ports of the SRV records of `name`.
    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, LookupError>>;
}

/// The machine's name servers and hosts file, read at the first lookup.
#[derive(Default)]
pub struct SystemNames(OnceCell<TokioResolver>);

impl SystemNames {
    async fn resolver(&self) -> Result<&TokioResolver, LookupError> {
        let build = async || {
            let builder = TokioResolver::builder_tokio().map_err(failed)?;
            builder.build().map_err(failed)
        };
        self.0.get_or_try_init(build).await
    }
}

fn failed(error: impl std::fmt::Display) -> LookupError {
    LookupError::Failed(error.to_string())
}

impl Names for SystemNames {
    fn hosts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>> {
        Box::pin(async move {
            let answer = self.resolver().await?.lookup_ip(name).await.map_err(failed)?;
            Ok(answer.iter().collect())
        })
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, LookupError>> {
        Box::pin(async move {
            let answer = self.resolver().await?.srv_lookup(name).await.map_err(failed)?;
            let records = answer.answers().iter().filter_map(|record| match &record.data {
                RData::SRV(srv) => Some((srv.target.to_utf8(), srv.port)),
                _ => None,
            });
            Ok(records.collect())
        })
    }
}
