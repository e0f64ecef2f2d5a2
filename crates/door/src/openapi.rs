//! The OpenAPI document of an admin listener. The schemas of bodies are generated from the types
//! that the listener serialises, so they can't differ.

use isthmus_report::DoctorReport;
use isthmus_runtime::health::Report;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use crate::code::ErrorCode;
use crate::problem::Problem;

pub(crate) const PATH: &str = "/openapi.json";

const SCHEMAS: &str = "/components/schemas";

/// An OpenAPI 3.1 document to which paths are added one at a time.
#[derive(Debug, Clone)]
pub struct Document {
    title: String,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Document {
    /// The document of a process's admin listener, where `/v1/status` returns a `T`. `process` is
    /// the kind of the process.
    #[must_use]
    pub fn new<T: JsonSchema>(process: &str) -> Self {
        let empty = Self {
            title: format!("Isthmus {process}: admin listener"),
            paths: Map::new(),
            schemas: Map::new(),
        };
        empty
            .probe("/healthz", "Whether the process is alive")
            .probe("/readyz/read", "Whether the process can serve reads")
            .probe("/readyz/write", "Whether the process can accept writes")
            .get::<T>("/v1/status", "The status of the process")
            .get::<DoctorReport>("/v1/doctor", "Checks of what the process depends on")
    }

    /// Adds a route that returns a `T` as JSON. The caller needs the role `read`.
    #[must_use]
    pub fn get<T: JsonSchema>(mut self, path: &str, summary: &str) -> Self {
        let schema = self.schema_of::<T>();
        let content = json!({ "application/json": { "schema": schema } });
        self.add(path, summary, json!({ "200": response("The answer", &content) }))
    }

    /// Adds a route that returns server-sent events. `events` describes them, and `T` is the type
    /// of their data.
    #[must_use]
    pub fn events<T: JsonSchema>(mut self, path: &str, summary: &str, events: &str) -> Self {
        let _ = self.schema_of::<T>();
        let content = json!({ "text/event-stream": { "schema": { "type": "string" } } });
        self.add(path, summary, json!({ "200": response(events, &content) }))
    }

    /// The document as JSON.
    #[must_use]
    pub fn into_value(self) -> Value {
        let mut schemas = self.schemas;
        schemas.insert(Problem::name().into(), json!(Problem::schema()));
        schemas.insert(ErrorCode::name().into(), json!(ErrorCode::schema()));
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "version": env!("CARGO_PKG_VERSION"),
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "token": { "type": "http", "scheme": "bearer" },
                    "certificate": { "type": "mutualTLS" },
                },
            },
        })
    }

    /// Adds a probe, which needs no authentication.
    fn probe(mut self, path: &str, summary: &str) -> Self {
        let schema = self.schema_of::<Report>();
        let content = json!({ "application/json": { "schema": schema } });
        let responses = json!({
            "200": response("Yes", &content),
            "503": response("No, with the reasons", &content),
        });
        let operation = json!({ "summary": summary, "security": [], "responses": responses });
        self.paths.insert(path.to_owned(), json!({ "get": operation }));
        self
    }

    fn add(mut self, path: &str, summary: &str, mut responses: Value) -> Self {
        let problem = json!({ "$ref": format!("#{SCHEMAS}/{}", Problem::name()) });
        let content = json!({ "application/problem+json": { "schema": problem } });
        responses["default"] = response("A problem", &content);
        let operation = json!({
            "summary": summary,
            "parameters": parameters(path),
            "security": [{}, { "token": [] }, { "certificate": [] }],
            "responses": responses,
        });
        self.paths.insert(path.to_owned(), json!({ "get": operation }));
        self
    }

    /// A reference to the schema of `T`, which is added to the document.
    fn schema_of<T: JsonSchema>(&mut self) -> Value {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let settings = settings.with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        });
        let mut generator = settings.into_generator();
        let schema = generator.subschema_for::<T>();
        self.schemas.extend(generator.take_definitions(true));
        schema.to_value()
    }
}

/// The parameters in a path.
fn parameters(path: &str) -> Vec<Value> {
    let parts = path.split('/');
    let names = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

fn response(description: &str, content: &Value) -> Value {
    json!({ "description": description, "content": content })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_report::live::LagSample;
    use isthmus_report::{AgentStatus, GatewayStatus};

    use super::*;

    fn refs(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| refs(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| refs(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_schema_that_the_document_names_is_in_it() {
        let gateway = Document::new::<GatewayStatus>("gateway");
        let gateway = gateway.events::<LagSample>("/v1/live", "The page's stream", "samples");
        for document in [gateway, Document::new::<AgentStatus>("agent")] {
            let document = document.into_value();
            let mut found = Vec::new();
            refs(&document, &mut found);
            assert!(found.len() > 10, "{found:?}");
            for name in found {
                let pointer = name.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn the_schema_of_a_status_has_its_published_names() {
        let document = Document::new::<GatewayStatus>("gateway").into_value();
        let schemas = &document["components"]["schemas"];
        let lag = &schemas["LagRow"]["properties"];
        assert_eq!(lag["lag_ms"]["type"], json!(["number", "null"]));
        assert_eq!(lag["state"]["examples"], json!(["live", "stalled", "unknown"]));
        let answers = &document["paths"]["/v1/status"]["get"]["responses"];
        assert_eq!(
            answers["200"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/GatewayStatus"
        );
        assert!(schemas["Problem"].is_object() && schemas["ErrorCode"].is_object());
    }
}
