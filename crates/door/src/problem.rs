//! Errors as RFC 9457 problem details.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::code::ErrorCode;

const CONTENT_TYPE: &str = "application/problem+json";

/// The error of a request, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// The code as a URI.
    #[serde(rename = "type")]
    #[schema(rename = "type", example = "urn:isthmus:problem:log_full")]
    kind: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong in this case, and the fix.
    detail: String,
    /// The stable code.
    code: ErrorCode,
    /// Whether the same request, which has changed nothing, may succeed later.
    retryable: bool,
    /// Details for programs, depending on the code, such as `regions`.
    #[serde(flatten)]
    #[schema(additional_properties)]
    members: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of `code`; `detail` is for people and names the fix.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:isthmus:problem:{}", code.as_str()),
            title: code.as_str().replace('_', " "),
            status: code.status().as_u16(),
            detail: detail.into(),
            code,
            retryable: code.is_retryable(),
            members: Map::new(),
            headers: Vec::new(),
        }
    }

    /// Adds a member for programs.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The problem as a JSON object, as in the lines of a batch.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_value().to_string()));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if self.code.status() == StatusCode::SERVICE_UNAVAILABLE && self.retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        headers.extend(self.headers);
        response
    }
}

/// Makes `router` answer unknown paths and methods with problems.
pub fn with_problems<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(async || Problem::new(ErrorCode::UnknownPath, "there is no such path; see /openapi.json"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                ErrorCode::MethodNotAllowed,
                "the path does not support this method; see /openapi.json",
            )
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_ours() {
        let problem = Problem::new(ErrorCode::RegionsUnreachable, "us-east can't be reached")
            .with("regions", vec!["eu-west"]);
        let expected = serde_json::json!({
            "type": "urn:isthmus:problem:regions_unreachable",
            "title": "regions unreachable",
            "status": 503,
            "detail": "us-east can't be reached",
            "code": "regions_unreachable",
            "retryable": true,
            "regions": ["eu-west"],
        });
        assert_eq!(problem.to_value(), expected);
    }

    #[test]
    fn it_travels_with_its_status_type_and_headers() {
        let version = HeaderName::from_static("isthmus-version");
        let problem = Problem::new(ErrorCode::NotFound, "deleted")
            .with_header(version.clone(), HeaderValue::from_static("7"));
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        assert_eq!(response.headers()[version], "7");
        let response = Problem::new(ErrorCode::LogNotWritable, "").into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
