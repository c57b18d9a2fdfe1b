//! The JSON Schema takes every file that compiles.

use cachetx::{Rules, testing::strategies};
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_schema_takes_what_compiles(file in strategies::rules()) {
        let schema = serde_json::from_str(Rules::json_schema()).expect("JSON");
        let file = serde_json::from_str(&file.to_json()).expect("JSON");
        let errors: Vec<String> = jsonschema::validator_for(&schema).expect("a schema").iter_errors(&file).map(|it| it.to_string()).collect();
        prop_assert!(errors.is_empty(), "{errors:?}");
    }
}
