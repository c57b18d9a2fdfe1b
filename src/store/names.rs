//! Everything that has a name: where a document lives, its entry, its lock.

use crate::{
    disk::READ_ONLY_MARKER,
    model::{Entry, Error, Place, Result, error::Kind, limits},
    op::{Space, keys},
    rules::{Params, Rules, Template},
};
use std::time::Duration;

/// The placeholder that the controller's name fills in layouts and lock keys.
const CONTROLLER: &str = "controller";
/// What sidecars and temporary files add to a document's name at most.
const ADDED_BYTES: usize = 22;

/// How names are made, checked once when the store is opened.
#[derive(Debug)]
pub(super) struct Layout {
    run_param: String,
    folder: Template,
    file: Template,
    lock: Option<Template>,
}

/// One document's names.
#[derive(Debug)]
pub(super) struct Names {
    /// `run/controller`, for messages.
    pub(super) document: String,
    pub(super) controller: String,
    /// What tasks are expanded with: the run and all further params.
    pub(super) params: Params,
    pub(super) place: Place,
    pub(super) entry: Entry,
    pub(super) ttl: Duration,
    pub(super) lock_key: String,
    pub(super) fence_key: String,
}

impl Layout {
    pub(super) fn new(run_param: String, layout: &str, lock: Option<&str>) -> Result<Self> {
        let refuse = |message: String| Err(Error::new(Kind::Config(message)));
        let parse = |what: &str, text: &str| {
            Template::parse(text)
                .map_err(|why| Error::new(Kind::Config(format!("the {what} `{text}`: {why}"))))
        };
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
        let (folder, file) = (
            parse("layout's folder", folder)?,
            parse("layout's file name", file)?,
        );
        if !has(&file, CONTROLLER) {
            return refuse(format!(
                "the layout `{layout}` has no {{controller}} in its file name, so all documents would share a file"
            ));
        }
        let lock = lock.map(|text| parse("lock key", text)).transpose()?;
        if let Some(lock) = &lock
            && !(has(lock, CONTROLLER) && has(lock, &run_param))
        {
            return refuse(format!(
                "the lock key has to contain {{{run_param}}} and {{controller}}, so that every document has a lock of its own"
            ));
        }
        Ok(Self {
            run_param,
            folder,
            file,
            lock,
        })
    }

    pub(super) fn check_run(&self, run: &str) -> Result<()> {
        component("the run id", run)
    }

    pub(super) fn needs_only_the_run(&self, rules: &Rules, controller: &str) -> bool {
        let known = |name: &str| name == self.run_param || name == CONTROLLER;
        let key = rules.placeholders(controller);
        key.is_ok_and(|names| names.iter().all(|name| *name == self.run_param))
            && self.file.placeholders().all(known)
            && self.lock.iter().all(|lock| lock.placeholders().all(known))
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
        let key = rules.key(controller, &params)?;
        let placeholders = rules.placeholders(controller)?;
        let first = placeholders.first().and_then(|name| params.get(name));
        let first_param = first.and_then(|value| value.values().first());

        let in_key = |name: &str| name == layout.run_param || placeholders.contains(&name);
        let alien = layout
            .file
            .placeholders()
            .find(|name| *name != CONTROLLER && !in_key(name));
        if let Some(alien) = alien {
            return Err(Error::new(Kind::Config(format!(
                "the layout's file name has the placeholder {{{alien}}} and the key of `{controller}` has not, so several documents would share one entry: open a store with another layout (StoreBuilder::layout) for it"
            ))));
        }
        let named = params.clone().with(CONTROLLER, controller);
        let file = layout.file.fill(&named)?;
        component("the file name", &file)?;
        if file == READ_ONLY_MARKER {
            return Err(Error::new(Kind::Name {
                what: "the file name",
                name: file,
                why: "is the marker that forbids locks and writes in its folder".to_owned(),
            }));
        }
        for placeholder in placeholders {
            if placeholder == CONTROLLER {
                return Err(Error::new(Kind::Config(format!(
                    "the key of `{controller}` has the placeholder {{{CONTROLLER}}}, which layouts and lock keys fill with the controller's name, so several documents would share one file: call it something else in the rules"
                ))));
            }
            if placeholder != layout.run_param && !has(&layout.file, placeholder) {
                return Err(Error::new(Kind::Config(format!(
                    "the key of `{controller}` has the placeholder {{{placeholder}}} and the layout's file name has not, so several documents would share one file: add it to StoreBuilder::layout"
                ))));
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
        // Not even split can a commit be one that does not check its lock.
        space.meet(&key, &lock_key)?;
        let entry = Entry {
            leases: keys::leases(&key, first_param.map(String::as_str)).into(),
            value: key.into(),
        };
        Ok(Self {
            document: format!("{run}/{controller}"),
            controller: controller.to_owned(),
            ttl: rules.ttl(controller)?,
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

/// Checks that a name is one component of a path, visible, and leaves room for its sidecar's.
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
