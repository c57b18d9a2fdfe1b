//! A save changes no number that the program did not touch.

use crate::support::{RUN, World};
use cachetx::{Document, Durability, RawObject};
use serde_json::Value;
use std::fs;

#[test]
fn a_save_of_a_value_leaves_its_other_numbers_as_they_are() {
    let world = World::start();
    let store = world.store();
    let document: Document<Value> = store.document(RUN, "climate").expect("a document");
    // A `Value` sorts names.
    let text = r#"{"id":18446744073709551615,"n":0,"x":9007199254740991.0,"y":[5e-324,-0.0]}"#;
    fs::create_dir_all(world.run_folder()).expect("a folder");
    fs::write(world.file(), text).expect("written");
    let mut locked = document.lock().expect("locked");
    locked["n"] = 1.into();
    let outcome = locked.dump_and_unlock().expect("saved");
    assert_eq!(outcome.durability, Durability::Synced);
    let saved = fs::read_to_string(world.file()).expect("there");
    assert_eq!(saved, text.replace("\"n\":0", "\"n\":1"));
}

/// A `Value` cannot hold such an integer: lock and read refuse it, and the file stays. A
/// `RawObject` can.
#[test]
fn an_integer_beyond_64_bits_is_refused_or_kept_as_text() {
    let world = World::start();
    let store = world.store();
    let text = r#"{"n": 0, "id": 340282366920938463463374607431768211457}"#;
    fs::create_dir_all(world.run_folder()).expect("a folder");
    fs::write(world.file(), text).expect("written");
    let value: Document<Value> = store.document(RUN, "climate").expect("a document");
    for e in [
        value.lock().map(drop).expect_err("refused"),
        value.read().map(drop).expect_err("refused"),
    ] {
        assert!(e.is_document(), "{e}");
        assert!(e.to_string().contains("`id`: the integer 340"), "{e}");
    }
    assert_eq!(fs::read_to_string(world.file()).expect("there"), text);

    let raw: Document<RawObject> = store.document(RUN, "climate").expect("a document");
    let mut locked = raw.lock().expect("locked");
    locked.set("n", &1).expect("set");
    locked.dump_and_unlock().expect("saved");
    let saved = fs::read_to_string(world.file()).expect("there");
    assert_eq!(saved, text.replace("\"n\": 0", "\"n\": 1"));
}
