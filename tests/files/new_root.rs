//! A root that was not there is made, and told of: a slip of the pen in its path shows in the log.

use crate::support::{World, warnings};

#[test]
fn a_root_that_is_made_is_logged_once() {
    let world = World::start();
    let root = world.root.path().join("not/there");
    let told = || warnings::information_with(&root.display().to_string());
    for _ in 0..2 {
        let store = world.store_builder().root(&root).open().expect("opened");
        assert_eq!(told(), 1);
        drop(store);
    }
}
