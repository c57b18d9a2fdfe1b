//! A foreign `SET` of a value key, with older or newer content, in any order with saves: no reader
//! of the library takes it for current.

use crate::support::{Climate, World, get, key, set};
use cachetx::Save;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Save,
    /// A foreign program sets what the document held this many saves ago.
    SetOlder(usize),
    /// ... or what it will hold after the next save.
    SetNewer,
    /// ... or something that was never its content.
    SetOther,
    /// ... or puts an old value back together with the stamp that was once valid for it.
    SetOlderWithStamp(usize),
    DeleteValue,
    DeleteStamp,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Save),
        2 => (0..4_usize).prop_map(Step::SetOlder),
        2 => Just(Step::SetNewer),
        1 => Just(Step::SetOther),
        2 => (0..4_usize).prop_map(Step::SetOlderWithStamp),
        1 => Just(Step::DeleteValue),
        1 => Just(Step::DeleteStamp),
    ];
    prop::collection::vec(step, 1..16)
}

#[test]
fn no_reader_takes_a_foreign_value_for_current() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(0)).expect("created");
    let (value, stamp) = (key("climate"), key("climate") + ":stamp");
    let mut years = 0_u64;
    let mut fooled = 0_u64;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let years = std::cell::RefCell::new(&mut years);
    let fooled = std::cell::RefCell::new(&mut fooled);
    runner
        .run(&steps(), |steps| {
            let mut redis = world.redis();
            let mut vouchers = vec![];
            for step in &steps {
                let now = **years.borrow();
                let older = |back: &usize| now.saturating_sub(*back as u64);
                match step {
                    Step::Save => {
                        **years.borrow_mut() += 1;
                        let save = |climate: &mut Climate| {
                            climate.years += 1;
                            Ok(())
                        };
                        document.locked_with(Save::new(), save).expect("saved");
                        vouchers.push((now + 1, get(&mut redis, &stamp).expect("a stamp")));
                    }
                    Step::SetOlder(back) => {
                        set(&mut redis, &value, &Climate::of(older(back)).bytes())
                    }
                    Step::SetNewer => set(&mut redis, &value, &Climate::of(now + 1).bytes()),
                    Step::SetOther => set(&mut redis, &value, b"{}"),
                    Step::SetOlderWithStamp(back) => {
                        if let Some((years, voucher)) = vouchers.iter().rev().nth(*back) {
                            set(&mut redis, &value, &Climate::of(*years).bytes());
                            set(&mut redis, &stamp, voucher);
                        }
                    }
                    Step::DeleteValue => {
                        redis::cmd("DEL").arg(&value).exec(&mut redis).expect("DEL")
                    }
                    Step::DeleteStamp => {
                        redis::cmd("DEL").arg(&stamp).exec(&mut redis).expect("DEL")
                    }
                }
                let now = **years.borrow();
                prop_assert_eq!(
                    document.read().expect("read").years,
                    now,
                    "after {:?} of {:?}",
                    step,
                    &steps
                );
                // Negative control: the naive reader takes any value that is there.
                let naive = get(&mut redis, &value);
                **fooled.borrow_mut() +=
                    u64::from(naive.is_some_and(|bytes| bytes != Climate::of(now).bytes()));
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(
        fooled.into_inner() > &mut 0,
        "a naive reader would have been fooled"
    );
}
