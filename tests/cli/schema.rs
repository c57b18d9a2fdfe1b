//! The JSON Schema of rules files, held against the shipped files and the fixtures of `rules
//! check`.

use cachetx::Rules;
use jsonschema::Validator;
use serde_json::Value;
use std::{fs, path::Path};

/// The fixtures that are refused for their shape. What is wrong with the others a schema cannot
/// say: names, cycles, templates, keys that could be equal, names that stand twice.
const WRONG_SHAPES: [&str; 13] = [
    "broken",
    "empty_names",
    "many_at_once",
    "missing",
    "missing_all",
    "needs_1_1",
    "no_object",
    "template_too_long",
    "templates",
    "unknown_fields",
    "unknown_version",
    "version_is_no_text",
    "wrong_kinds",
];

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(Rules::json_schema()).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

/// Each file of a folder that is JSON, by name.
fn files(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read(&path).expect("it is read");
        if let (Some("json"), Ok(file)) = (
            path.extension().and_then(|it| it.to_str()),
            serde_json::from_slice(&text),
        ) {
            files.push((name, file));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

#[test]
fn the_schema_takes_the_shipped_files() {
    let validator = validator();
    let shipped = files("rules");
    assert!(shipped.len() >= 2, "{shipped:?}");
    for (name, file) in shipped {
        let errors: Vec<String> = validator
            .iter_errors(&file)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn the_schema_refuses_exactly_the_fixtures_of_a_wrong_shape() {
    let validator = validator();
    let refused: Vec<String> = files("tests/cli/diagnostics")
        .into_iter()
        .filter(|(_, file)| !validator.is_valid(file))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(refused, WRONG_SHAPES);
}
