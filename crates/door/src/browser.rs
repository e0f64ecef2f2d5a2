//! Protection against other sites' pages in browsers: a door serves its own pages, and refuses
//! requests that another site's page makes.
//!
//! Any page in a browser on this machine can reach a listener on loopback. A page of another site
//! can't read responses, but it can send requests that change something. A page whose name is made
//! to resolve to 127.0.0.1 (DNS rebinding) could read as well.

use std::net::IpAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderName, Method};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;

use crate::access::{Gate, Rights};

/// Headers in which a browser describes a request (Fetch Metadata, W3C).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Maximum length of a name (RFC 1035); a longer text is truncated to it.
const LONGEST_NAME: usize = 255;

/// `router` for operators: refuses pages of other sites, and any host other than an IP address or
/// `localhost`.
pub fn only_own_pages<R: Rights + Clone>(router: Router, gate: Gate<R>) -> Router {
    guarded(router, gate, |request| {
        other_host(request).or_else(|| foreign_page(request))
    })
}

/// `router` for applications: refuses pages of other sites.
pub fn no_foreign_pages<R: Rights + Clone>(router: Router, gate: Gate<R>) -> Router {
    guarded(router, gate, foreign_page)
}

/// `router`, where `gate` refuses the requests for which `why` returns a reason.
fn guarded<R: Rights + Clone>(router: Router, gate: Gate<R>, why: fn(&Request) -> Option<String>) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let refused = why(&request).map(|why| gate.forbid_page(&request, &why));
        async move {
            match refused {
                Some(problem) => problem.into_response(),
                None => next.run(request).await,
            }
        }
    }))
}

/// The requested host: the `Host` header, or the authority of HTTP/2.
fn host(request: &Request) -> Option<&str> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    text(request, &HOST).or(authority)
}

fn text<'a>(request: &'a Request, name: &HeaderName) -> Option<&'a str> {
    let value = request.headers().get(name)?;
    Some(value.to_str().unwrap_or_default())
}

fn other_host(request: &Request) -> Option<String> {
    let host = host(request).filter(|host| !is_local(host))?;
    let host: String = host.chars().take(LONGEST_NAME).collect();
    Some(format!(
        "{host} is not a name of this listener: use 127.0.0.1 or localhost; a proxy in front must set Host to that"
    ))
}

fn foreign_page(request: &Request) -> Option<String> {
    let own = |origin: &str| {
        let schemes = ["http://", "https://"];
        let mut named = schemes.iter().filter_map(|scheme| origin.strip_prefix(scheme));
        named.next() == host(request)
    };
    let foreign = text(request, &ORIGIN).is_some_and(|origin| !own(origin));
    let crosses = text(request, &FETCH_SITE).is_some_and(|site| !["same-origin", "none"].contains(&site));
    // Following a link shows this listener's own response to the user, and no other page can read
    // it.
    let follows = request.method() == Method::GET && text(request, &FETCH_MODE) == Some("navigate");
    let refused = foreign || (crosses && !follows);
    refused.then(|| "a page of another site sent the request; only this listener's own pages may".to_owned())
}

/// Whether a `Host` is an address, or the name that every machine has for itself.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || address.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::access::tests::Doorway;

    fn door() -> Router {
        Router::new().route("/", get(|| async { "here" }).post(|| async { "done" }))
    }

    async fn asked(router: Router, method: &str, headers: &[(&str, &str)]) -> StatusCode {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn programs_and_own_pages_are_answered() {
        let own = [
            ("host", "localhost:7055"),
            ("origin", "http://localhost:7055"),
            ("sec-fetch-site", "same-origin"),
        ];
        for headers in [
            &[][..],
            &[("host", "127.0.0.1:7055")],
            &[("host", "[::1]:7055")],
            &[("host", "LOCALHOST")],
            &own,
            &[("host", "localhost:7055"), ("sec-fetch-site", "none")],
        ] {
            let status = asked(only_own_pages(door(), Doorway::new().gate(&[])), "GET", headers).await;
            assert_eq!(status, StatusCode::OK, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn pages_of_other_sites_are_not() {
        let here = ("host", "127.0.0.1:7055");
        for headers in [
            &[("host", "evil.example:7055")][..],
            &[("host", "localhost.evil.example")],
            &[
                ("host", "evil.example:7055"),
                ("origin", "http://evil.example:7055"),
            ],
            &[here, ("origin", "https://evil.example")],
            &[here, ("origin", "http://127.0.0.1:8080")],
            &[here, ("origin", "null")],
            &[here, ("sec-fetch-site", "cross-site")],
        ] {
            let status = asked(only_own_pages(door(), Doorway::new().gate(&[])), "GET", headers).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn requests_of_a_foreign_page_are_counted_and_reported() {
        let doorway = Doorway::new();
        let router = no_foreign_pages(door(), doorway.gate(&[]));
        let foreign = [("host", "127.0.0.1:7055"), ("origin", "https://evil.example")];
        assert_eq!(asked(router, "POST", &foreign).await, StatusCode::FORBIDDEN);
        assert!(doorway.counted("foreign_page"));
        assert_eq!(doorway.events("access_refused"), 1);
    }

    #[tokio::test]
    async fn a_link_to_a_page_is_followed_and_nothing_is_posted_by_one() {
        let followed = [
            ("host", "127.0.0.1:7055"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        let answers = [
            asked(only_own_pages(door(), Doorway::new().gate(&[])), "GET", &followed).await,
            asked(
                only_own_pages(door(), Doorway::new().gate(&[])),
                "POST",
                &followed,
            )
            .await,
        ];
        assert_eq!(answers, [StatusCode::OK, StatusCode::FORBIDDEN]);
    }

    #[tokio::test]
    async fn applications_may_ask_by_any_name_and_pages_may_not() {
        let named = ("host", "kv.internal:7050");
        let foreign = [named, ("origin", "https://evil.example")];
        let answers = [
            asked(
                no_foreign_pages(door(), Doorway::new().gate(&[])),
                "POST",
                &[named],
            )
            .await,
            asked(
                no_foreign_pages(door(), Doorway::new().gate(&[])),
                "POST",
                &foreign,
            )
            .await,
        ];
        assert_eq!(answers, [StatusCode::OK, StatusCode::FORBIDDEN]);
    }
}
