//! Graphs as text for other programs: Graphviz and Mermaid.

use crate::drawing::{Drawing, Relation, TileShape};

const DOT_HEAD: &str = r#"digraph rules {
  rankdir=LR;
  node [shape=box, style=filled, fontname="monospace"];
"#;

/// The graph in Graphviz's language.
pub(crate) fn dot(drawing: &Drawing) -> String {
    let mut text = DOT_HEAD.to_owned();
    for (index, tile) in drawing.tiles.iter().enumerate() {
        let label = tile.label.replace('\\', "\\\\").replace('"', "\\\"");
        let look = match (tile.stands_out, tile.shape) {
            (false, _) => "fillcolor=\"white\", color=\"gray80\", fontcolor=\"gray60\"",
            (true, TileShape::Task) => "fillcolor=\"#dbeafe\"",
            (true, TileShape::Controller) => "fillcolor=\"#ecfccb\"",
        };
        text += &format!("  n{index} [label=\"{label}\", {look}];\n");
    }
    for arrow in &drawing.arrows {
        let style = match (arrow.stands_out, arrow.relation) {
            (false, Relation::Includes) => " [style=dashed, color=gray80]",
            (false, Relation::Excepts) => " [style=dotted, color=gray80]",
            (false, _) => " [color=gray80]",
            (true, Relation::Includes) => " [style=dashed, label=\"includes\"]",
            (true, Relation::Invalidates) => "",
            (true, Relation::Excepts) => " [style=dotted, color=red, label=\"except\"]",
            (true, Relation::Derives) => " [color=darkgreen, penwidth=2]",
        };
        text += &format!("  n{} -> n{}{style};\n", arrow.from, arrow.to);
    }
    text + "}\n"
}

/// The graph in Mermaid's language.
pub(crate) fn mermaid(drawing: &Drawing) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (index, tile) in drawing.tiles.iter().enumerate() {
        let label = mermaid_label(&tile.label);
        text += &match tile.shape {
            TileShape::Task => format!("  n{index}([\"{label}\"])\n"),
            TileShape::Controller => format!("  n{index}[\"{label}\"]\n"),
        };
    }
    for arrow in &drawing.arrows {
        let line = match arrow.relation {
            Relation::Includes => "-. includes .->",
            Relation::Invalidates => "-->",
            Relation::Excepts => "-. except .-x",
            Relation::Derives => "==>",
        };
        text += &format!("  n{} {line} n{}\n", arrow.from, arrow.to);
    }
    let behind = drawing.tiles.iter().enumerate();
    let behind = behind.filter(|(_, tile)| !tile.stands_out);
    let behind: Vec<String> = behind.map(|(index, _)| format!("n{index}")).collect();
    if !behind.is_empty() {
        text += "  classDef behind fill:#fff,stroke:#cbd5e1,color:#94a3b8\n";
        text += &format!("  class {} behind\n", behind.join(","));
    }
    text
}

/// Encodes everything but letters, digits and `_-. ` as character numbers, since Mermaid gives many
/// other characters a meaning.
fn mermaid_label(label: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "_-. ".contains(character);
    let mut text = String::new();
    for character in label.chars() {
        if plain(character) {
            text.push(character);
        } else {
            text += &format!("#{};", u32::from(character));
        }
    }
    text
}
