//! Rows of an NDJSON file.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{At, Collected, Fault, Rows};

type Fields = Map<String, Value>;

/// Reads a whole file, up to its first bad row. The first row determines the key field.
pub(super) fn read(bytes: &[u8], key: Option<&str>) -> At<Rows> {
    let mut collected = Collected::default();
    let mut key_field: Option<String> = None;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index as u64 + 1;
        let at = |fault| (number, fault);
        let text = std::str::from_utf8(line).map_err(|_| at(Fault::NotUtf8))?.trim();
        if text.is_empty() {
            continue;
        }
        let fields: Fields = serde_json::from_str(text).map_err(|error| at(Fault::Json(error)))?;
        let name = match key_field.take() {
            Some(name) => name,
            None => choose_key_field(text, &fields, key).map_err(at)?,
        };
        let key = key_of(&fields, &name).map_err(at)?;
        collected.add(number, &key, text.to_owned()).map_err(at)?;
        key_field = Some(name);
    }
    Ok(collected.rows)
}

fn choose_key_field(text: &str, fields: &Fields, key: Option<&str>) -> Result<String, Fault> {
    match key {
        Some(wanted) if !fields.contains_key(wanted) => Err(Fault::NoColumn {
            wanted: wanted.to_owned(),
            columns: fields.keys().cloned().collect::<Vec<_>>().join(", "),
        }),
        Some(wanted) => Ok(wanted.to_owned()),
        None => first_field(text).map_err(Fault::Json)?.ok_or(Fault::Empty),
    }
}

fn key_of(fields: &Fields, name: &str) -> Result<String, Fault> {
    match fields.get(name) {
        Some(Value::String(key)) => Ok(key.clone()),
        Some(key @ (Value::Number(_) | Value::Bool(_))) => Ok(key.to_string()),
        Some(_) => Err(Fault::NotAKey(name.to_owned())),
        None => Err(Fault::NoField(name.to_owned())),
    }
}

/// The name of the first field in a JSON object.
fn first_field(text: &str) -> Result<Option<String>, serde_json::Error> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
            let first = map.next_entry::<String, IgnoredAny>()?.map(|(name, _)| name);
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }

    serde_json::Deserializer::from_str(text).deserialize_map(First)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows::pairs;

    #[test]
    fn ndjson_keeps_its_lines_and_takes_the_first_field_as_key() {
        let text = "{\"z\": 7, \"a\": \"x\"}\n\n{\"z\":\"k\",\"a\":1.50}\r\n{\"z\":7}\n";
        let rows = read(text.as_bytes(), None).unwrap();
        assert_eq!(
            pairs(&rows),
            [("7", "{\"z\":7}"), ("k", "{\"z\":\"k\",\"a\":1.50}")]
        );
        assert_eq!(rows.repeated, 1);
        let by_name = read(b"{\"z\":7,\"a\":\"x\"}", Some("a")).unwrap();
        assert_eq!(by_name.rows[0].key.as_str(), "x");
    }

    #[test]
    fn a_bad_ndjson_row_is_named_by_its_line() {
        let line = |text: &[u8], key| read(text, key).unwrap_err();
        assert!(matches!(line(b"{\"a\":1}\n[1]\n", None), (2, Fault::Json(_))));
        assert!(matches!(
            line(b"{\"a\":1}\n{\"b\":1}\n", Some("a")),
            (2, Fault::NoField(_))
        ));
        assert!(matches!(line(b"{}\n", None), (1, Fault::Empty)));
        assert!(matches!(line(b"{\"a\":null}\n", None), (1, Fault::NotAKey(_))));
        assert!(matches!(line(b"{\"a\":\"\xff\"}\n", None), (1, Fault::NotUtf8)));
    }

    #[test]
    fn the_first_field_of_the_first_row_is_the_key_of_every_row() {
        let rows = read(b"\n{\"id\":1,\"n\":\"a\"}\n{\"n\":\"b\",\"id\":2}\n", None).unwrap();
        let keys: Vec<_> = rows.rows.iter().map(|row| (row.key.as_str(), row.line)).collect();
        assert_eq!(keys, [("1", 2), ("2", 3)]);
        let fault = read(b"{\"id\":1}\n{\"n\":\"b\"}\n", None).unwrap_err();
        assert!(
            matches!(&fault, (2, Fault::NoField(name)) if name == "id"),
            "{fault:?}"
        );
    }

    #[test]
    fn a_key_that_the_first_row_does_not_have_is_a_wrong_column() {
        let fault = read(b"{\"id\":1,\"n\":2}\n", Some("nosuch")).unwrap_err();
        assert!(
            matches!(&fault, (1, Fault::NoColumn { columns, .. }) if columns == "id, n"),
            "{fault:?}"
        );
    }
}
