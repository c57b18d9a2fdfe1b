//! Follows a rules file while the program runs.

use super::Cache;
use crate::model::{Error, Result, error::Kind, limits};
use notify_debouncer_mini::{
    DebounceEventResult, Debouncer, new_debouncer,
    notify::{RecommendedWatcher, RecursiveMode},
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Follows a rules file until it is dropped: see [`Cache::watch_rules`].
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, Rules};
///
/// let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// let watch = cache.watch_rules("rules/shop.json")?; // follows the file until it is dropped
/// # drop(watch);
/// # Ok::<(), cachetx::Error>(())
/// ```
#[must_use = "it follows the file until it is dropped"]
pub struct RulesWatch {
    path: PathBuf,
    _watcher: Debouncer<RecommendedWatcher>,
}

impl fmt::Debug for RulesWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RulesWatch").field(&self.path).finish()
    }
}

impl Cache {
    /// Follows a rules file: its rules come into force now, and about 100 ms after each change, by
    /// [`replace_rules`](Self::replace_rules). Its folder is watched, so programs may write another
    /// file and rename it.
    ///
    /// A file with errors, or with other controllers or keys, changes nothing: its error is logged,
    /// and counted in [`Stats::rules_refused`](crate::Stats::rules_refused). Rules that come into
    /// force are logged too ([`Stats::rules_replaced`](crate::Stats::rules_replaced)).
    ///
    /// # Errors
    ///
    /// The file cannot be used as it is now, or its folder cannot be watched.
    /// The file cannot be used as it is now, or its folder not be watched.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::{Cache, Rules};
    /// let path = "rules/shop.json";
    /// let cache = Cache::builder(Rules::from_path(path)?).in_memory().open()?;
    /// let _watch = cache.watch_rules(path)?; // as long as it lives
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "watch")))]
    pub fn watch_rules(&self, path: impl AsRef<Path>) -> Result<RulesWatch> {
        let path = path.as_ref().to_owned();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let cache = Arc::downgrade(&self.0);
        let mut seen = fs::read(&path).ok();
        let changed = path.clone();
        let look = move |events: DebounceEventResult| {
            let Some(inner) = cache.upgrade() else { return };
            if let Err(e) = events {
                log::warn!("{}: cannot be followed: {e}", changed.display());
            }
            let content = fs::read(&changed).ok();
            // The file may be missing for a moment while it is replaced.
            if content.is_some() && content != seen {
                seen = content;
                Self(inner).follow(&changed);
            }
        };
        let unwatched = |e: notify_debouncer_mini::notify::Error| {
            let message = format!("cannot watch {}: {e}", folder.display());
            Error::new(Kind::Config(message))
        };
        let mut watcher = new_debouncer(limits::RULES_SETTLE, look).map_err(unwatched)?;
        let watched = watcher.watcher().watch(folder, RecursiveMode::NonRecursive);
        watched.map_err(unwatched)?;
        // Catches changes made before the watch began.
        self.replace_rules(self.rules().options().from_path(&path)?)?;
        Ok(RulesWatch {
            path,
            _watcher: watcher,
        })
    }

    fn follow(&self, path: &Path) {
        let compiled = self.rules().options().from_path(path);
        let compiled = compiled.inspect_err(|e| self.rules_changed(Err(e)));
        match compiled.and_then(|rules| self.replace_rules(rules)) {
            Ok(true) => log::info!("{}: its rules are in force", path.display()),
            Ok(false) => {}
            Err(e) => log::error!("{}: the rules in force stay: {e}", path.display()),
        }
    }
}
