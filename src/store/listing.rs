//! Lists a run's documents and the holders of their locks.

use super::{Document, HeldLock, ListedDocument, Store, names::Names};
use crate::{
    model::Result,
    op::{ClearLocks, ClearLocksReply},
    rules::Params,
};
use std::sync::Arc;

impl Store {
    /// The run's documents, ordered by the rules and then by their files. Its folder is listed
    /// once, however many documents it has. Files that no layout names are left out.
    ///
    /// # Errors
    ///
    /// A run id that is not allowed as a folder's name, or a folder that cannot be read.
    pub fn documents(&self, run: &str) -> Result<Vec<ListedDocument>> {
        let mut found = Vec::new();
        for names in self.candidates(run)? {
            let listed = names.listed.clone();
            let document: Document<()> = Document::new(self.clone(), Arc::new(names));
            match document.exists() {
                Ok(true) => found.push(listed),
                Ok(false) => {}
                // A folder or a link of such a name.
                Err(e) if e.is_document() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    /// For operators: clears the locks of all the run's documents, whoever holds them, and returns
    /// how many there were. A holder that is still working is not harmed and does no harm: the
    /// second of two holders to save is refused.
    ///
    /// Documents are found as by [`locks`](Self::locks).
    ///
    /// # Errors
    ///
    /// A run id that is not allowed as a folder's name, a folder that cannot be read, or an
    /// unreachable server.
    pub fn clear_locks(&self, run: &str) -> Result<u64> {
        let candidates = self.candidates(run)?.into_iter();
        self.clear(candidates.map(|names| names.lock_key).collect())
    }

    /// The held locks of the run's documents, in the order of the rules (in a Cluster those of one
    /// hash slot together): for an operator who wants to look before [`Store::clear_locks`]. It may
    /// be out of date when it returns.
    ///
    /// Documents whose key has only the run are always asked for. Others are asked for if their
    /// file is in the run's folder, or the sidecar that locking or creating one leaves there. The
    /// folder is listed once.
    ///
    /// # Errors
    ///
    /// A run id that is not allowed as a folder's name, a folder that cannot be read, or a server
    /// that is unreachable, or that takes no writes: only one that does knows.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Document, RawObject, Rules, Store};
    ///
    /// let root = tempfile::tempdir()?;
    /// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// let store = Store::builder(&cache).root(root.path()).open()?;
    /// let climate: Document<RawObject> = store.document("copacetic-sled", "climate")?;
    /// climate.create(&RawObject::from_json("{}")?)?;
    /// let held = climate.lock()?;
    /// let locks = store.locks("copacetic-sled")?;
    /// assert_eq!(locks[0].document.controller, "climate");
    /// assert!(locks[0].holder.owner.ends_with(&format!(":{}", std::process::id())));
    /// drop(held);
    /// assert!(store.locks("copacetic-sled")?.is_empty());
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    pub fn locks(&self, run: &str) -> Result<Vec<HeldLock>> {
        let candidates = self.candidates(run)?.into_iter();
        let locks = candidates.map(|names| (names.listed, names.lock_key));
        self.holders(locks.collect())
    }

    pub(super) fn clear(&self, locks: Vec<String>) -> Result<u64> {
        let mut all = 0;
        for locks in self.cache().space().divide(locks, String::as_str) {
            match self.cache().ask(ClearLocks { locks }) {
                Ok(ClearLocksReply::Cleared(cleared)) => all += cleared,
                Err(fault) => return Err(fault.into_error()),
            }
        }
        Ok(all)
    }

    /// The names of all documents that may be locked.
    fn candidates(&self, run: &str) -> Result<Vec<Names>> {
        let (rules, layout) = (&self.cache().rules(), &self.0.layout);
        layout.check_run(run)?;
        let mut files = None;
        let mut found = Vec::new();
        for controller in rules.controllers().filter(|c| layout.is_document(rules, c)) {
            let all = match layout.needs_only_the_run(rules, controller) {
                true => vec![Params::new()],
                false => {
                    let files = match &files {
                        Some(files) => files,
                        None => files.insert(self.0.root.documents(run)?),
                    };
                    let params = |file: &String| layout.params_of(run, controller, file);
                    files.iter().filter_map(params).collect()
                }
            };
            // A file whose name no document can have is not the store's.
            let names = |params| self.names(run, controller, params).ok();
            found.extend(all.into_iter().filter_map(names));
        }
        Ok(found)
    }
}
