//! All names of a document: its file, its entry, its lock.

use super::ListedDocument;
use crate::{
    disk::READ_ONLY_MARKER,
    model::{Entry, Error, Place, Result, error::Kind, limits},
    op::{Space, keys},
    rules::{self, Params, Rules, Template},
};
use std::collections::BTreeMap;

/// The placeholder that the controller's name fills in layouts and lock keys.
const CONTROLLER: &str = "controller";
/// The most bytes that sidecars and temporary files add to a document's name.
const ADDED_BYTES: usize = 22;

/// How names are made. Checked once, when the store is opened.
#[derive(Debug)]
pub(super) struct Layout {
    run_param: String,
    folder: Template,
    file: Template,
    /// File names of controllers with their own layout.
    files: BTreeMap<String, Template>,
    lock: Option<Template>,
}

/// The layout options of the builder.
pub(super) struct LayoutOptions {
    pub(super) run_param: String,
    pub(super) layout: Option<String>,
    pub(super) layouts: Vec<(String, String)>,
    pub(super) lock_key: Option<String>,
}

/// One document's names.
#[derive(Debug)]
pub(super) struct Names {
    /// `run/controller[sku=tea]`, for messages.
    pub(super) document: String,
    pub(super) listed: ListedDocument,
    /// The params that tasks are expanded with: the run and all further params.
    pub(super) params: Params,
    pub(super) place: Place,
    pub(super) entry: Entry,
    pub(super) lock_key: String,
    pub(super) fence_key: String,
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::new(Kind::Config(message)))
}

fn parse(what: &str, text: &str) -> Result<Template> {
    Template::parse(text)
        .map_err(|why| Error::new(Kind::Config(format!("the {what} `{text}`: {why}"))))
}

/// The file name of a layout.
fn file_of(layout: &str, run_param: &str) -> Result<Template> {
    let Some((folder, file)) = layout.split_once('/').filter(|(_, f)| !f.contains('/')) else {
        return refuse(format!(
            "the layout `{layout}` is not of the form folder/file, such as {{{run_param}}}/{{controller}}.nodb"
        ));
    };
    if folder != format!("{{{run_param}}}") {
        return refuse(format!(
            "the layout's folder `{folder}` is not {{{run_param}}}, the run param alone"
        ));
    }
    parse("layout's file name", file)
}

impl Layout {
    pub(super) fn new(options: LayoutOptions, rules: &Rules) -> Result<Self> {
        let LayoutOptions {
            run_param,
            layout,
            layouts,
            lock_key,
        } = options;
        let is_in_keys = |controller| {
            let key = rules.placeholders(controller);
            key.is_ok_and(|key| key.contains(&&*run_param))
        };
        if rules.controllers().len() > 0 && !rules.controllers().any(is_in_keys) {
            return refuse(format!(
                "no key of the rules has {{{run_param}}}: give StoreBuilder::run_param the placeholder that a run id fills"
            ));
        }
        let layout = layout.unwrap_or_else(|| format!("{{{run_param}}}/{{controller}}.nodb"));
        let file = file_of(&layout, &run_param)?;
        if !has(&file, CONTROLLER) {
            return refuse(format!(
                "the layout `{layout}` has no {{controller}} in its file name, so all documents would share a file: StoreBuilder::layout_of is for one controller"
            ));
        }
        let lock = lock_key.map(|text| parse("lock key", &text)).transpose()?;
        if let Some(lock) = &lock
            && !(has(lock, CONTROLLER) && has(lock, &run_param))
        {
            return refuse(format!(
                "the lock key has to contain {{{run_param}}} and {{controller}}, so that every document has a lock of its own"
            ));
        }
        let mut files = BTreeMap::new();
        for (controller, layout) in layouts {
            let file = file_of(&layout, &run_param)?;
            if files.insert(controller.clone(), file).is_some() {
                return refuse(format!(
                    "StoreBuilder::layout_of is called twice for `{controller}`"
                ));
            }
        }
        let layout = Self {
            folder: parse("layout's folder", &format!("{{{run_param}}}"))?,
            run_param,
            file,
            files,
            lock,
        };
        for controller in layout.files.keys() {
            layout.fits_file(controller, &rules.placeholders(controller)?)?;
        }
        layout.check_files(rules)?;
        Ok(layout)
    }

    /// Refuses layouts by which documents of two controllers could share a file.
    fn check_files(&self, rules: &Rules) -> Result<()> {
        for own in self.files.keys() {
            for other in rules.controllers().filter(|other| other != own) {
                // Two controllers with their own layouts are compared twice.
                if !self.is_document(rules, other) {
                    continue;
                }
                match rules::common_text(&self.named(own), &self.named(other)) {
                    Ok(None) => {}
                    Ok(Some(file)) => {
                        return refuse(format!(
                            "documents of `{own}` and of `{other}` could share the file `{file}`: give their layouts names that differ in more than their values"
                        ));
                    }
                    Err(why) => {
                        return refuse(format!("the layouts of `{own}` and `{other}`: {why}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The file name of a controller's documents.
    fn file(&self, controller: &str) -> &Template {
        self.files.get(controller).unwrap_or(&self.file)
    }

    /// The same with the controller's name filled in.
    fn named(&self, controller: &str) -> Template {
        self.file(controller).with_text(CONTROLLER, controller)
    }

    pub(super) fn check_run(&self, run: &str) -> Result<()> {
        component("the run id", run)
    }

    /// Whether the layout gives each of the controller's keys its own file.
    pub(super) fn is_document(&self, rules: &Rules, controller: &str) -> bool {
        let key = rules.placeholders(controller);
        key.is_ok_and(|key| self.fits_file(controller, &key).is_ok())
    }

    /// Whether the file name has exactly the placeholders of the key.
    fn fits_file(&self, controller: &str, key: &[&str]) -> Result<()> {
        let (file, run) = (self.file(controller), &self.run_param);
        if !key.contains(&&**run) {
            return refuse(format!(
                "the key of `{controller}` has no {{{run}}}, so the documents of all runs would share one entry: put {{{run}}} into it, or name another placeholder by StoreBuilder::run_param"
            ));
        }
        if key.contains(&CONTROLLER) {
            return refuse(format!(
                "the key of `{controller}` has the placeholder {{{CONTROLLER}}}, which layouts and lock keys fill with the controller's name, so several documents would share one file: call it something else in the rules"
            ));
        }
        if let Some(alien) = self.alien(file, key) {
            return refuse(format!(
                "the layout's file name has the placeholder {{{alien}}} and the key of `{controller}` has not, so several documents would share one entry: give it a layout of its own (StoreBuilder::layout_of)"
            ));
        }
        let missing = |name: &&&str| **name != *run && !has(file, name);
        if let Some(missing) = key.iter().find(missing) {
            return refuse(format!(
                "the key of `{controller}` has the placeholder {{{missing}}} and the layout's file name has not, so several documents would share one file: give it a layout with {{{missing}}} (StoreBuilder::layout_of)"
            ));
        }
        Ok(())
    }

    /// Whether the lock key has exactly the placeholders of the key.
    fn fits_lock(&self, controller: &str, key: &[&str]) -> Result<()> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        if let Some(alien) = self.alien(lock, key) {
            return refuse(format!(
                "the lock key has the placeholder {{{alien}}} and the key of `{controller}` has not, so a document would have several locks: take it out of StoreBuilder::lock_key"
            ));
        }
        if let Some(missing) = key.iter().find(|name| !has(lock, name)) {
            return refuse(format!(
                "the key of `{controller}` has the placeholder {{{missing}}} and the lock key has not, so several documents would share one lock: add it to StoreBuilder::lock_key"
            ));
        }
        Ok(())
    }

    /// A placeholder of the template for which a document of that key has no value.
    fn alien<'t>(&self, template: &'t Template, key: &[&str]) -> Option<&'t str> {
        let known =
            |name: &&str| *name == self.run_param || *name == CONTROLLER || key.contains(name);
        template.placeholders().find(|name| !known(name))
    }

    pub(super) fn needs_only_the_run(&self, rules: &Rules, controller: &str) -> bool {
        let key = rules.placeholders(controller);
        key.is_ok_and(|names| names.iter().all(|name| *name == self.run_param))
    }

    /// The params besides the run with which a document of the controller has this file; `None` if
    /// the file is not one of its documents.
    pub(super) fn params_of(&self, run: &str, controller: &str, file: &str) -> Option<Params> {
        let template = self.file(controller);
        let mut params = Params::new();
        for (name, value) in template.values(file)? {
            if name != self.run_param && name != CONTROLLER {
                params.set(name, value);
            }
        }
        // Another run's or controller's, or a repeated placeholder with two values.
        let all = params.clone().with(self.run_param.clone(), run);
        let all = all.with(CONTROLLER, controller);
        (template.fill(&all).ok()? == file).then_some(params)
    }
}

fn has(template: &Template, name: &str) -> bool {
    template
        .placeholders()
        .any(|placeholder| placeholder == name)
}

impl Names {
    pub(super) fn new(
        rules: &Rules,
        layout: &Layout,
        space: Space,
        run: &str,
        controller: &str,
        params: Params,
    ) -> Result<Self> {
        layout.check_run(run)?;
        let params = params.with(layout.run_param.clone(), run);
        let placeholders = rules.placeholders(controller)?;
        layout.fits_file(controller, &placeholders)?;
        layout.fits_lock(controller, &placeholders)?;
        let key = rules.key(controller, &params)?;
        let first = placeholders.first().and_then(|name| params.get(name));
        let first_param = first.and_then(|value| value.values().first());

        let named = params.clone().with(CONTROLLER, controller);
        let file = layout.file(controller).fill(&named)?;
        component("the file name", &file)?;
        if file == READ_ONLY_MARKER {
            return Err(Error::new(Kind::Name {
                what: "the file name",
                name: file,
                why: "is the marker that forbids locks and writes in its folder".to_owned(),
            }));
        }
        let mut listed = ListedDocument {
            controller: controller.to_owned(),
            params: Params::new(),
        };
        for name in placeholders
            .iter()
            .filter(|name| **name != layout.run_param)
        {
            if let Some(value) = params.get(name) {
                listed.params.set(*name, value.clone());
            }
        }
        let lock_key = match &layout.lock {
            Some(template) => template.fill(&named)?,
            None => keys::sibling(&key, "lock"),
        };
        if lock_key == key {
            return Err(Error::new(Kind::Config(format!(
                "the lock key of `{controller}` is its value's key `{key}` too, so releasing the lock would delete the value: give StoreBuilder::lock_key another template"
            ))));
        }
        // Not even a split commit may run without checking its lock.
        space.meet(&key, &lock_key)?;
        let entry = Entry {
            leases: keys::leases(&key, first_param.map(String::as_str)).into(),
            value: key.into(),
        };
        Ok(Self {
            document: format!("{run}/{listed}"),
            listed,
            place: Place {
                folder: layout.folder.fill(&params)?.into(),
                file: file.into(),
            },
            entry: space.place_one(entry),
            fence_key: keys::sibling(&lock_key, "fence"),
            lock_key,
            params,
        })
    }
}

/// Checks that a name is a single path component, is not hidden, and leaves room for its sidecar's
/// name.
fn component(what: &'static str, name: &str) -> Result<()> {
    let why = if name.is_empty() {
        "is empty".to_owned()
    } else if name.contains('/') {
        "contains `/`: it names one folder or file below the root, never a path".to_owned()
    } else if name.starts_with('.') {
        "starts with a dot: `.` and `..` lead elsewhere, and hidden names are the library's own"
            .to_owned()
    } else if name.chars().any(char::is_control) {
        "contains a control character".to_owned()
    } else if name.len() > limits::MAX_NAME_BYTES - ADDED_BYTES {
        format!(
            "has {} bytes; at most {} leave room for its sidecar's name",
            name.len(),
            limits::MAX_NAME_BYTES - ADDED_BYTES
        )
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Name {
        what,
        name: name.escape_debug().to_string(),
        why,
    }))
}
