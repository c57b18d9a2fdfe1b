//! docs/guide/saves.md

use crate::{Product, open, product};
use cachetx::{
    BoxError, CacheOutcome, Document, Durability, Guarantee, Locked, NO_TASKS, Outcome, Params,
    Save, SaveError, Store,
};
use std::{thread, time::Duration};

pub fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let (_, store) = open(folder.path())?;
    let tea = product(&store, "tea")?;
    update(&tea)?;
    lock(&tea)?;
    let held = tea.lock()?;
    keep_what_was_not_saved(held)?;
    crash_safe(&store, &tea)?;
    list(&store)?;
    after_an_edit(&tea)?;
    restock(tea.lock()?)?;
    tea.delete(NO_TASKS)?;
    further_params(&product(&store, "gin")?)
}

fn further_params(tea: &Document<Product>) -> Result<(), BoxError> {
    let fragments = Params::new().with("fragment", ["top", "news"]);
    let tea = tea.clone().with_params(fragments)?;
    tea.update(NO_TASKS, |tea| {
        tea.cents = 500;
        Ok(())
    })?;
    Ok(())
}

fn update(tea: &Document<Product>) -> Result<(), BoxError> {
    let (left, outcome) = tea.update(["sell"], |tea| {
        tea.stock = tea.stock.checked_sub(1).ok_or("sold out")?;
        Ok(tea.stock)
    })?;
    println!("{left} left");
    report(&outcome);
    Ok(())
}

fn lock(tea: &Document<Product>) -> Result<(), BoxError> {
    let mut held = tea.lock_timeout(Duration::from_secs(2))?; // a guard; derefs to the Product
    held.cents = ask_the_supplier(held.cents);
    held.dump_and_unlock_with_transaction(["reprice"])?;
    Ok(())
}

fn ask_the_supplier(cents: u32) -> u32 {
    cents + 50
}

fn keep_what_was_not_saved(mut held: Locked<Product>) -> Result<(), BoxError> {
    held.stock += 100;
    for _ in 0..3 {
        match held.dump_and_unlock() {
            Ok(_) => return Ok(()),
            Err(failed) if failed.error().is_retryable() => held = failed.into_locked(),
            Err(failed) => return Err(failed.into()),
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err("not saved: another process keeps the document's files busy".into())
}

fn report(outcome: &Outcome) {
    match &outcome.cache {
        CacheOutcome::Committed { removed } => println!("set, and {removed} dependents deleted"),
        CacheOutcome::Invalidated { removed } => println!("{removed} entries deleted"),
        CacheOutcome::Deferred { cause } => println!("recorded, and done later: {cause}"),
        CacheOutcome::Unrecorded { cause, outbox } => println!("stale: {cause}; {outbox}"),
        _ => {}
    }
    if outcome.durability != Durability::Synced {
        println!("a power loss might undo it");
    }
}

fn crash_safe(store: &Store, tea: &Document<Product>) -> Result<(), BoxError> {
    let save = Save::new()
        .tasks(["reprice"])
        .guarantee(Guarantee::CrashSafe);
    tea.update_with(save, |tea| {
        tea.cents += 1;
        Ok(())
    })?;
    let held = store.locks("main-street")?;
    assert!(held.is_empty());
    Ok(())
}

fn list(store: &Store) -> Result<(), BoxError> {
    for document in store.documents("main-street")? {
        println!("{document}"); // product[sku=tea]
    }
    let gin = Params::new().with("sku", "gin");
    let gin: Document<Product> = store.document_with("main-street", "product", gin)?;
    let missing = gin.lock().expect_err("it was not created");
    assert!(missing.is_not_found());
    Ok(())
}

fn after_an_edit(tea: &Document<Product>) -> Result<(), BoxError> {
    tea.update(NO_TASKS, |_| Ok(()))?; // or with the tasks that the edit stands for
    Ok(())
}

fn restock(mut held: Locked<Product>) -> Result<Outcome, SaveError<Product>> {
    held.stock += 10;
    held.dump_and_unlock_with_transaction(["sell"])
}
