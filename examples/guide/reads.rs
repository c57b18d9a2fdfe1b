//! docs/guide/reads.md

use crate::{open, product};
use cachetx::{BoxError, Document, Params, RawObject};
use std::sync::Arc;

pub fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let (_, store) = open(folder.path())?;
    let tea = product(&store, "tea")?;

    let first = tea.read()?; // an Arc<Product>
    let again = tea.read()?;
    assert!(Arc::ptr_eq(&first, &again)); // unchanged: the same one, after one system call

    let sku = Params::new().with("sku", "tea");
    let raw: Document<RawObject> = store.document_with("main-street", "product", sku)?;
    raw.update(["sell"], |tea| {
        let stock: u32 = tea.get("stock")?.ok_or("no stock")?;
        tea.set("stock", &(stock - 1))?;
        Ok(())
    })?;
    assert_eq!(tea.read()?.stock, 9);
    Ok(())
}
