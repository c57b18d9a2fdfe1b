//! Puts the same Lua files together into one function library.

use super::source::{Dialect, Script, ScriptName, Scripts};

/// The server operations as one library of functions, for `FUNCTION LOAD`: Redis from 7.0 on, and Valkey. A cache with
/// [`Engine::Function`](crate::Engine::Function) loads it by itself; programs in other languages load it to save and invalidate by the
/// same steps: `docs/protocol.md` says how.
///
/// Its names carry a hash of its source, so that versions of this crate have their own, side by side on one server.
///
/// # Examples
///
/// ```
/// let library = cachetx::FunctionLibrary::new();
/// assert!(library.text().starts_with(&format!("#!lua name={}\n", library.name())));
/// let (_, commit) = library.functions().find(|(operation, _)| *operation == "commit").ok_or("no commit")?;
/// assert!(library.text().contains(&format!("function_name='{commit}'")));
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FunctionLibrary {
    name: String,
    text: String,
    /// In the order of the scripts.
    functions: Vec<(ScriptName, String)>,
}

impl Default for FunctionLibrary {
    fn default() -> Self {
        Self::new()
    }
}

impl FunctionLibrary {
    /// The library of this version of the crate, for locks in the database of the entries.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Scripts::of(Dialect::Flagged))
    }

    /// The name under which the server has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `FUNCTION LOAD` takes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Each operation, named as its file under `lua/`, and the function that `FCALL` takes.
    pub fn functions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let functions = self.functions.iter();
        functions.map(|(name, function)| (name.as_str(), function.as_str()))
    }

    pub(super) fn of(scripts: &Scripts) -> Self {
        let hash = hash(scripts);
        let function = |script: &Script| format!("cachetx_{}_{hash}", script.name.as_str());
        let name = format!("cachetx_{hash}");
        let mut text = format!("#!lua name={name}\n");
        for script in scripts.iter() {
            text.push_str(&register(&function(script), script));
        }
        Self {
            name,
            text,
            functions: scripts.iter().map(|s| (s.name, function(s))).collect(),
        }
    }

    /// The function that runs an operation.
    pub(super) fn function(&self, name: ScriptName) -> &str {
        &self.functions[name as usize].1
    }
}

/// A script's body is the function's: what it keeps in its locals starts anew with each call.
fn register(function: &str, script: &Script) -> String {
    let flags = if script.allow_oom { "'allow-oom'" } else { "" };
    let body = script.body();
    format!(
        "redis.register_function{{function_name='{function}', flags={{{flags}}}, callback=function(KEYS, ARGV)\n{body}end}}\n"
    )
}

/// The first 64 bits of SHA-1 over all that the library is made of, but for the names that it goes into.
fn hash(scripts: &Scripts) -> String {
    let mut sha = sha1_smol::Sha1::new();
    for script in scripts.iter() {
        sha.update(register("", script).as_bytes());
    }
    sha.digest().to_string()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_source_has_other_names() {
        let usual = Scripts::of(Dialect::Flagged);
        let edited = Scripts::assemble(Dialect::Flagged, |name, text| match name {
            ScriptName::Release => format!("{text} "),
            _ => text.to_owned(),
        });
        let (usual, edited) = (FunctionLibrary::of(usual), FunctionLibrary::of(&edited));
        assert_ne!(usual.name, edited.name);
        for (name, function) in &usual.functions {
            assert_eq!(usual.function(*name), function);
            assert!(usual.text.contains(&format!("'{function}'")));
            assert!(!edited.text.contains(function.as_str()));
        }
        assert_eq!(usual.name.len(), "cachetx_".len() + 16);
        assert_eq!(usual.text.matches("'allow-oom'").count(), 4);
    }
}
