//! Assembles the same Lua files into one function library.

use super::source::{Dialect, Script, ScriptName, Scripts};

/// The server operations as one library of functions, for `FUNCTION LOAD`: Redis from 7.0 on, and
/// Valkey. A cache with [`Engine::Function`](crate::Engine::Function) loads it by itself. Programs
/// in other languages load it to save and invalidate by the same steps, which `docs/protocol.md`
/// describes.
///
/// Its names contain a hash of its source, so each version of this crate has its own, and they can
/// be on one server side by side.
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
    /// The library of this version of the crate, for locks in the entries' database.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Scripts::of(Dialect::Flagged))
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text for `FUNCTION LOAD`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Each operation, by the name of its file under `lua/`, and the function for `FCALL`.
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

/// A script's body becomes the function's: its locals start fresh with each call.
fn register(function: &str, script: &Script) -> String {
    let flags = if script.allow_oom { "'allow-oom'" } else { "" };
    let body = script.body();
    format!(
        "redis.register_function{{function_name='{function}', flags={{{flags}}}, callback=function(KEYS, ARGV)\n{body}end}}\n"
    )
}

/// The first 64 bits of SHA-1 over the whole library, except the names that contain it.
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
