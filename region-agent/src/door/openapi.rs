//! The OpenAPI document of the door.

use axum::response::Json;
use isthmus_door::{ErrorCode, Problem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::answer::{ListedBody, ListedKey, WrittenBody};
use super::batch::OperationLine;
use super::{batch, kv};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Isthmus region agent",
        description = "One keyspace in several regions.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Proofs),
    security((), ("token" = []), ("certificate" = [])),
    paths(kv::put, kv::get, kv::delete, kv::list, batch::batch),
    components(schemas(WrittenBody, ListedBody, ListedKey, OperationLine, Problem, ErrorCode))
)]
struct Document;

/// How a caller authenticates, if the agent's settings name `clients`.
struct Proofs;

impl Modify for Proofs {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        components.add_security_scheme(
            "certificate",
            SecurityScheme::MutualTls {
                description: None,
                extensions: None,
                deprecated: None,
            },
        );
    }
}

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// `GET /openapi.json`.
pub(super) async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn the_document_names_every_path_and_the_problem() {
        let document = serde_json::to_value(super::document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations = |path: &str| -> Vec<String> {
            paths[path]
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
                .cloned()
                .collect()
        };
        assert_eq!(operations("/v1/kv/{bucket}/{key}"), ["delete", "get", "put"]);
        assert_eq!(operations("/v1/kv/{bucket}"), ["get"]);
        assert_eq!(operations("/v1/batch"), ["post"]);
        assert_eq!(
            document["components"]["securitySchemes"]["token"]["scheme"],
            "bearer"
        );
        assert!(document["components"]["schemas"]["Problem"].is_object());
        assert!(
            document["components"]["schemas"]["ErrorCode"]["enum"]
                .as_array()
                .unwrap()
                .len()
                > 20
        );
    }
}
