//! What an expansion should give, worked out the slow way from the format's description and the file as data: by sets of
//! names, a search for each pair of controllers, and templates read character by character for every key.

use cachetx::{Params, testing::RulesFile};
use std::collections::BTreeSet;

/// The keys, or `None` where the params may not be used.
pub type Keys = Option<Vec<String>>;

/// What the tasks invalidate.
pub fn expand(file: &RulesFile, tasks: &[&str], params: &Params) -> Keys {
    keys(file, &invalidated(file, tasks), params)
}

/// What a save of `own` deletes with these tasks.
pub fn expand_for(file: &RulesFile, own: &str, tasks: &[&str], params: &Params) -> Keys {
    let mut controllers = invalidated(file, tasks);
    controllers.extend(names(file).filter(|other| depends(file, other, own)));
    controllers.remove(own);
    let single = |name: &String| values(params, name).is_some_and(|values| values.len() == 1);
    placeholders(template(file, own))
        .iter()
        .all(single)
        .then_some(())?;
    keys(file, &controllers, params)
}

/// The controllers that the tasks invalidate.
pub fn invalidated<'f>(file: &'f RulesFile, tasks: &[&str]) -> BTreeSet<&'f str> {
    tasks.iter().flat_map(|task| of_task(file, task)).collect()
}

/// Whether `derived` is derived from `source`, over any number of steps.
pub fn depends(file: &RulesFile, derived: &str, source: &str) -> bool {
    file.depends_on
        .iter()
        .filter(|(name, _)| name == derived)
        .flat_map(|(_, from)| from)
        .any(|from| from == source || depends(file, from, source))
}

fn of_task<'f>(file: &'f RulesFile, task: &str) -> BTreeSet<&'f str> {
    let task = file
        .tasks
        .iter()
        .find(|it| it.name == task)
        .expect("a task");
    let listed = |name: &str| task.invalidates.iter().any(|it| it == name || it == "*");
    let mut set: BTreeSet<&str> = names(file)
        .filter(|name| {
            let follows = || names(file).any(|it| listed(it) && depends(file, name, it));
            listed(name) || (task.cascade != Some(false) && follows())
        })
        .collect();
    for name in &task.except {
        set.remove(&**name);
    }
    for included in &task.includes {
        set.extend(of_task(file, included));
    }
    set
}

fn names(file: &RulesFile) -> impl Iterator<Item = &str> {
    file.controllers.iter().map(|controller| &*controller.name)
}

fn template<'f>(file: &'f RulesFile, name: &str) -> &'f str {
    let mut controllers = file.controllers.iter();
    &controllers
        .find(|it| it.name == name)
        .expect("a controller")
        .key
}

fn keys(file: &RulesFile, controllers: &BTreeSet<&str>, params: &Params) -> Keys {
    let mut keys = Vec::new();
    for name in names(file).filter(|name| controllers.contains(name)) {
        let template = template(file, name);
        combine(
            template,
            &placeholders(template),
            params,
            &mut Vec::new(),
            &mut keys,
        )?;
    }
    Some(keys)
}

/// A key for each combination of values; the last placeholder varies fastest.
fn combine(
    template: &str,
    left: &[String],
    params: &Params,
    chosen: &mut Vec<(String, String)>,
    keys: &mut Vec<String>,
) -> Option<()> {
    let Some((name, left)) = left.split_first() else {
        keys.push(fill(template, chosen)?);
        return Some(());
    };
    for value in values(params, name)? {
        chosen.push((name.clone(), value));
        combine(template, left, params, chosen, keys)?;
        chosen.pop();
    }
    Some(())
}

/// A param's values, each once; `None` where there is none, or too many.
fn values(params: &Params, name: &str) -> Option<Vec<String>> {
    let given = params.get(name)?.values();
    let mut values: Vec<String> = Vec::new();
    for value in given {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    (!given.is_empty() && given.len() <= 1_000).then_some(values)
}

/// What a template is made of.
#[derive(Debug, PartialEq)]
enum Token {
    Character(char),
    Placeholder(String),
}

fn tokens(template: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = template.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, rest.peek()) {
            ('{', Some('{')) | ('}', Some('}')) => {
                rest.next();
                tokens.push(Token::Character(character));
            }
            ('{', _) => tokens.push(Token::Placeholder(
                rest.by_ref().take_while(|c| *c != '}').collect(),
            )),
            _ => tokens.push(Token::Character(character)),
        }
    }
    tokens
}

/// The distinct placeholders in order.
fn placeholders(template: &str) -> Vec<String> {
    let mut names = Vec::new();
    for token in tokens(template) {
        match token {
            Token::Placeholder(name) if !names.contains(&name) => names.push(name),
            _ => {}
        }
    }
    names
}

fn fill(template: &str, chosen: &[(String, String)]) -> Option<String> {
    let tokens = tokens(template);
    let mut key = String::new();
    for (n, token) in tokens.iter().enumerate() {
        match token {
            Token::Character(character) => key.push(*character),
            Token::Placeholder(name) => {
                let (_, value) = chosen.iter().find(|(chosen, _)| chosen == name)?;
                let bad = |c: char| {
                    c == '{'
                        || c == '}'
                        || c.is_control()
                        || tokens.get(n + 1) == Some(&Token::Character(c))
                };
                if value.is_empty() || value.len() > 256 || value.chars().any(bad) {
                    return None;
                }
                key.push_str(value);
            }
        }
    }
    Some(key)
}
