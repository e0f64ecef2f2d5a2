//! Settings from the environment: `ISTHMUS_LINK__LISTEN=127.0.0.1:7121` overrides the key
//! `link.listen`. Variables that Kubernetes creates for Services whose names start with `isthmus`
//! are ignored.

use serde_json::{Map, Value};

use super::document::{SECRET_SECTIONS, masked};
use super::error::SettingsError;
use super::service_link;

const PREFIX: &str = "ISTHMUS_";

/// Variables with the prefix that are not settings: tests, development and the tools use them.
pub const RESERVED: [&str; 3] = [
    "ISTHMUS_NATS_SERVER",
    super::super::clock::OFFSET_FILE_VARIABLE,
    "ISTHMUS_BIN",
];
/// Variables with this prefix are reserved for tests.
pub const RESERVED_PREFIX: &str = "ISTHMUS_TEST_";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Override {
    pub variable: String,
    pub path: Vec<String>,
    pub value: Value,
}

/// The overrides of a process, sorted by variable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Environment {
    pub(super) overrides: Vec<Override>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        )
    }

    /// Without overrides.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Extracts the overrides from `variables` (name, value); others are ignored.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut overrides: Vec<_> = variables
            .into_iter()
            .filter_map(|(name, value)| parse(name.as_ref(), value.as_ref()))
            .collect();
        overrides.sort_by(|a, b| a.variable.cmp(&b.variable));
        Self { overrides }
    }
}

fn parse(variable: &str, text: &str) -> Option<Override> {
    let key = variable.strip_prefix(PREFIX)?;
    let is_reserved = RESERVED.contains(&variable) || variable.starts_with(RESERVED_PREFIX);
    if is_reserved || service_link::is_one(variable, text) {
        return None;
    }
    let path = key.split("__").map(str::to_ascii_lowercase).collect();
    let value = serde_saphyr::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    Some(Override {
        variable: variable.to_owned(),
        path,
        value,
    })
}

impl Override {
    /// Inserts the value into `tree` and creates missing levels above it.
    pub(super) fn apply(&self, tree: &mut Value) -> Result<(), SettingsError> {
        let (leaf, levels) = self
            .path
            .split_last()
            .ok_or_else(|| self.error("does not name a setting".to_owned()))?;
        let mut level = tree;
        for name in levels {
            level = self
                .map(level)?
                .entry(name.clone())
                .or_insert_with(|| Value::Object(Map::new()));
        }
        self.map(level)?.insert(leaf.clone(), self.value.clone());
        Ok(())
    }

    fn map<'a>(&self, level: &'a mut Value) -> Result<&'a mut Map<String, Value>, SettingsError> {
        if level.is_null() {
            *level = Value::Object(Map::new());
        }
        level
            .as_object_mut()
            .ok_or_else(|| self.error("goes deeper than the setting it names".to_owned()))
    }

    pub(super) fn error(&self, message: String) -> SettingsError {
        let section = self.path.first().map(String::as_str).unwrap_or_default();
        let message = match SECRET_SECTIONS.contains(&section) && message.contains("invalid type") {
            true => "the value is not of the type that this setting takes".to_owned(),
            false => masked(&message),
        };
        SettingsError::Override {
            variable: self.variable.clone(),
            message,
            mend:
                "unset the variable or correct it; after ISTHMUS_ the levels of a setting are separated by __"
                    .to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(mut tree: Value, variables: &[(&str, &str)]) -> Value {
        for change in Environment::new(variables.iter().copied()).overrides {
            change.apply(&mut tree).unwrap();
        }
        tree
    }

    #[test]
    fn levels_are_separated_and_values_are_yaml() {
        let variables = [
            ("ISTHMUS_NAME", "agent-2"),
            ("ISTHMUS_LINK__DIAL", r#"{us-east: ["127.0.0.1:9001"]}"#),
            ("ISTHMUS_LOG__CREATE", "true"),
            ("PATH", "ignored"),
        ];
        let expected = json!({
            "name": "agent-2",
            "link": { "listen": "127.0.0.1:1", "dial": { "us-east": ["127.0.0.1:9001"] } },
            "log": { "create": true },
        });
        assert_eq!(
            applied(
                json!({ "name": "agent-1", "link": { "listen": "127.0.0.1:1" } }),
                &variables
            ),
            expected
        );
    }

    #[test]
    fn text_that_is_not_yaml_is_taken_as_it_is() {
        assert_eq!(
            applied(json!({}), &[("ISTHMUS_LISTEN", "[::1]:7110")]),
            json!({ "listen": "[::1]:7110" })
        );
    }

    #[test]
    fn reserved_variables_are_no_settings() {
        let variables = [
            ("ISTHMUS_NATS_SERVER", "x"),
            ("ISTHMUS_CLOCK_OFFSET_FILE", "y"),
            ("ISTHMUS_TEST_ANY", "z"),
        ];
        assert_eq!(Environment::new(variables), Environment::empty());
    }

    #[test]
    fn links_to_services_are_no_settings() {
        let variables = [
            ("ISTHMUS_PORT_7110_TCP_ADDR", "10.96.0.17"),
            ("ISTHMUS_AGENT_SERVICE_HOST", "10.96.0.17"),
        ];
        assert_eq!(Environment::new(variables), Environment::empty());
        assert_eq!(Environment::new([("ISTHMUS_PORT", "7110")]).overrides.len(), 1);
    }

    #[test]
    fn a_level_below_a_scalar_is_refused_by_name() {
        let change = Environment::new([("ISTHMUS_NAME__DEEPER", "x")])
            .overrides
            .remove(0);
        let refusal = change.apply(&mut json!({ "name": "a" })).unwrap_err().to_string();
        assert!(refusal.contains("ISTHMUS_NAME__DEEPER"), "{refusal}");
    }
}
