//! Graphs as text for other programs: Graphviz and Mermaid.

use crate::drawing::{Drawing, Meaning, Shape};

/// The graph in Graphviz's language.
pub(crate) fn dot(drawing: &Drawing) -> String {
    let mut text = "digraph rules {\n  rankdir=LR;\n  node [shape=box, style=filled, fontname=\"monospace\"];\n".to_owned();
    for (index, node) in drawing.nodes.iter().enumerate() {
        let label = node.label.replace('\\', "\\\\").replace('"', "\\\"");
        let fill = match node.shape {
            Shape::Task => "#dbeafe",
            Shape::Controller => "#ecfccb",
        };
        text += &format!("  n{index} [label=\"{label}\", fillcolor=\"{fill}\"];\n");
    }
    for edge in &drawing.edges {
        let style = match edge.meaning {
            Meaning::Includes => " [style=dashed, label=\"includes\"]",
            Meaning::Invalidates => "",
            Meaning::Excepts => " [style=dotted, color=red, label=\"except\"]",
            Meaning::Derives => " [color=darkgreen, penwidth=2]",
        };
        text += &format!("  n{} -> n{}{style};\n", edge.from, edge.to);
    }
    text + "}\n"
}

/// The graph in Mermaid's language.
pub(crate) fn mermaid(drawing: &Drawing) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (index, node) in drawing.nodes.iter().enumerate() {
        let label = mermaid_label(&node.label);
        text += &match node.shape {
            Shape::Task => format!("  n{index}([\"{label}\"])\n"),
            Shape::Controller => format!("  n{index}[\"{label}\"]\n"),
        };
    }
    for edge in &drawing.edges {
        let arrow = match edge.meaning {
            Meaning::Includes => "-. includes .->",
            Meaning::Invalidates => "-->",
            Meaning::Excepts => "-. except .-x",
            Meaning::Derives => "==>",
        };
        text += &format!("  n{} {arrow} n{}\n", edge.from, edge.to);
    }
    text
}

/// Everything but letters, digits and `_-. ` as the number of its character: Mermaid gives much else a meaning.
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
