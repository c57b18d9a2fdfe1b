//! docs/guide/transactions.md

use crate::{open, product};
use cachetx::{BoxError, Transaction};

pub fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let (_, store) = open(folder.path())?;
    let (tea, gin) = (product(&store, "tea")?, product(&store, "gin")?);

    let mut both = store.transaction((&tea, &gin))?; // locks both, reads both files
    let (t, g) = &mut *both;
    t.stock -= 1;
    g.stock += 1;
    both.commit(["sell"])?; // saves both or none, and releases both locks

    let mut both = store.transaction((&tea, &gin))?;
    both.0.stock = 0;
    let (t, _) = Transaction::unlock(both); // releases the locks and saves nothing
    assert_eq!((t.stock, tea.read()?.stock), (0, 9));
    Ok(())
}
