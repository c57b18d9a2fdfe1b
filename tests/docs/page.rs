//! What a page of Markdown has.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Default)]
pub struct Page {
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    pub links: Vec<String>,
    /// As links name them.
    pub headings: Vec<String>,
    /// Inline code.
    pub code: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Block {
    pub language: String,
    pub text: String,
}

impl Page {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a page");
        let mut page = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let (mut in_block, mut heading) = (false, None);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => "indented".to_owned(),
                    };
                    in_block = true;
                    page.blocks.push(Block {
                        language,
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.headings
                        .extend(heading.take().map(|text| anchor(&text)));
                }
                Event::Code(code) => {
                    heading
                        .iter_mut()
                        .for_each(|heading| heading.push_str(&code));
                    page.code.push(code.into_string());
                }
                Event::Text(text) if in_block => {
                    let block = page.blocks.last_mut().expect("a block");
                    block.text.push_str(&text);
                }
                Event::Text(text) => {
                    heading
                        .iter_mut()
                        .for_each(|heading| heading.push_str(&text));
                }
                _ => {}
            }
        }
        page
    }

    pub fn name(&self) -> String {
        let path = self.path.strip_prefix(super::repository());
        path.expect("in the repository").display().to_string()
    }
}

/// The anchor that a heading gets where pages are shown.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
