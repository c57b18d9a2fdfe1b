//! Several documents saved as one.

use super::on_both_runtimes;
use crate::support::{Climate, RUN, World, committed};
use cachetx::{NO_TASKS, aio};
use std::time::Duration;

/// Two documents whose sum many tasks keep, while they take from one and give to the other.
#[test]
fn sums_are_kept_by_many_tasks() {
    let world = World::start();
    on_both_runtimes(|| async {
        let store = aio::Store::from(world.store());
        let [ash, soils] = ["ash", "soils"].map(|controller| {
            store
                .document::<Climate>(RUN, controller)
                .expect("a document")
        });
        for document in [&ash, &soils] {
            committed(&document.create(&Climate::of(100)).await.expect("made"));
        }
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let (store, ash, soils) = (store.clone(), ash.clone(), soils.clone());
                tokio::spawn(async move {
                    let wait = Duration::from_secs(300);
                    // In different orders: nobody waits for each other.
                    let (from, to) = if n % 2 == 0 {
                        (&ash, &soils)
                    } else {
                        (&soils, &ash)
                    };
                    let mut both = store.transaction_timeout((from, to), wait).await?;
                    both.0.years -= 1;
                    both.1.years += 1;
                    both.commit(NO_TASKS).await?;
                    Ok::<_, cachetx::Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic").expect("saved");
        }
        let years = |document: aio::Document<Climate>| async move {
            document.read().await.expect("read").years
        };
        assert_eq!(years(ash.clone()).await + years(soils.clone()).await, 200);
        for document in [&ash, &soils] {
            document.delete(NO_TASKS).await.expect("deleted");
        }
    });
}
