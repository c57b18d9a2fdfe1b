//! Graphs as SVG: laid out in layers from left to right, and drawn with curves that pass between the boxes.

use crate::drawing::{Drawing, Edge, Meaning, Node, Shape};
use dagre::{
    EdgeLabel, LayoutOptions, NodeLabel,
    graph::{Graph, GraphOptions},
    layout::types::{Point, RankDir},
};

/// Of a monospaced font of 12 px.
const CHARACTER_WIDTH: f64 = 7.3;
const BOX_HEIGHT: f64 = 22.0;
const MARGIN: f64 = 12.0;
/// Height of the line at the top that says what the arrows mean.
const LEGEND_HEIGHT: f64 = 30.0;
/// Neighbouring edges are told apart by the colour of their task.
const COLOURS: [&str; 8] = [
    "#2563eb", "#b45309", "#7c3aed", "#0f766e", "#be185d", "#4d7c0f", "#475569", "#0891b2",
];

const NEUTRAL: &str = "#475569";
const EXCEPTS: &str = "#dc2626";
const DERIVES: &str = "#166534";

/// A box with its place.
struct Placed<'d> {
    node: &'d Node,
    x: f64,
    y: f64,
    width: f64,
}

/// A column of boxes: its middle and half of its width.
struct Column {
    x: f64,
    half: f64,
}

pub(crate) fn svg(drawing: &Drawing) -> String {
    let graph = laid_out(drawing);
    let placed: Vec<Placed<'_>> = drawing
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| place(&graph, index, node))
        .collect();
    let columns = columns(&placed);
    let (legend, legend_end) = legend(drawing);
    let extent = |edge: &dyn Fn(&Placed<'_>) -> f64| placed.iter().map(edge).fold(0.0, f64::max);
    let width = extent(&|it| it.x + it.width / 2.0).max(legend_end) + MARGIN;
    let height = extent(&|it| it.y + BOX_HEIGHT / 2.0) + MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text += &legend;
    for edge in &drawing.edges {
        let bends = bends(&graph, edge);
        text += &curve(&placed[edge.from], &placed[edge.to], &bends, &columns, edge);
    }
    text.extend(placed.iter().map(boxed));
    text + "</svg>\n"
}

fn laid_out(drawing: &Drawing) -> Graph<NodeLabel, EdgeLabel> {
    let mut graph = Graph::with_options(GraphOptions {
        directed: true,
        multigraph: false,
        compound: false,
    });
    for (index, node) in drawing.nodes.iter().enumerate() {
        let label = NodeLabel {
            width: node.label.chars().count() as f64 * CHARACTER_WIDTH + 16.0,
            height: BOX_HEIGHT,
            ..NodeLabel::default()
        };
        graph.set_node(index.to_string(), Some(label));
    }
    for edge in &drawing.edges {
        let (from, to) = (edge.from.to_string(), edge.to.to_string());
        graph.set_edge(from, to, Some(EdgeLabel::default()), None);
    }
    let options = LayoutOptions {
        rankdir: RankDir::LR,
        nodesep: 12.0,
        edgesep: 8.0,
        ranksep: 110.0,
        marginx: MARGIN,
        marginy: MARGIN,
        ..LayoutOptions::default()
    };
    dagre::layout(&mut graph, Some(options));
    graph
}

fn place<'d>(graph: &Graph<NodeLabel, EdgeLabel>, index: usize, node: &'d Node) -> Placed<'d> {
    let label = graph.node(&index.to_string());
    let at = |place: fn(&NodeLabel) -> Option<f64>| label.and_then(place).unwrap_or_default();
    Placed {
        node,
        x: at(|label| label.x),
        y: at(|label| label.y) + LEGEND_HEIGHT,
        width: at(|label| Some(label.width)),
    }
}

fn columns(placed: &[Placed<'_>]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for it in placed {
        let half = it.width / 2.0;
        match columns
            .iter_mut()
            .find(|column| (column.x - it.x).abs() < 1.0)
        {
            Some(column) => column.half = column.half.max(half),
            None => columns.push(Column { x: it.x, half }),
        }
    }
    columns
}

/// Where an edge passes columns that lie between its ends. The layout gives an edge a point in each of them, and one before
/// and after.
fn bends(graph: &Graph<NodeLabel, EdgeLabel>, edge: &Edge) -> Vec<Point> {
    let (from, to) = (edge.from.to_string(), edge.to.to_string());
    let points = graph.edge(&from, &to, None).map(|label| &*label.points);
    let Some([_, inner @ .., _]) = points else {
        return Vec::new();
    };
    let passing = inner.iter().skip(1).step_by(2);
    passing
        .map(|point| Point::new(point.x, point.y + LEGEND_HEIGHT))
        .collect()
}

/// An edge: flat where it passes a column, curved between columns.
fn curve(
    from: &Placed<'_>,
    to: &Placed<'_>,
    bends: &[Point],
    columns: &[Column],
    edge: &Edge,
) -> String {
    let mut at = (from.x + from.width / 2.0, from.y);
    let mut path = format!("M{:.1} {:.1}", at.0, at.1);
    let mut reach = |path: &mut String, x: f64, y: f64| {
        let middle = (at.0 + x) / 2.0;
        *path += &format!(" C{middle:.1} {:.1} {middle:.1} {y:.1} {x:.1} {y:.1}", at.1);
        at = (x, y);
    };
    for bend in bends {
        let half = columns
            .iter()
            .find(|column| (column.x - bend.x).abs() < 1.0);
        let half = half.map_or(0.0, |column| column.half);
        reach(&mut path, bend.x - half, bend.y);
        reach(&mut path, bend.x + half, bend.y);
    }
    // The arrow's head begins 6 px before the box.
    let left = to.x - to.width / 2.0;
    reach(&mut path, left - 6.0, to.y);
    let (colour, style) = (colour(edge), style(edge.meaning));
    let head = format!("M{left:.1} {:.1}l-7 -3.5v7z", to.y);
    format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"{style}/><path d=\"{head}\" fill=\"{colour}\"/>\n"
    )
}

fn colour(edge: &Edge) -> &'static str {
    match edge.meaning {
        Meaning::Includes | Meaning::Invalidates => COLOURS[edge.from % COLOURS.len()],
        Meaning::Excepts => EXCEPTS,
        Meaning::Derives => DERIVES,
    }
}

fn style(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Includes => " stroke-width=\"1.6\" stroke-dasharray=\"6 4\"",
        Meaning::Invalidates => " stroke-width=\"1.1\"",
        Meaning::Excepts => " stroke-width=\"1.4\" stroke-dasharray=\"2 3\"",
        Meaning::Derives => " stroke-width=\"2.2\"",
    }
}

fn boxed(it: &Placed<'_>) -> String {
    let (left, top) = (it.x - it.width / 2.0, it.y - BOX_HEIGHT / 2.0);
    let (fill, stroke, round) = match it.node.shape {
        Shape::Task => ("#dbeafe", "#1d4ed8", 11),
        Shape::Controller => ("#ecfccb", "#3f6212", 2),
    };
    let label = escaped(&it.node.label);
    format!(
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BOX_HEIGHT}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"{stroke}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
        it.width,
        it.x,
        it.y + 4.0
    )
}

/// A line of what the drawing's boxes and arrows mean, and where it ends.
fn legend(drawing: &Drawing) -> (String, f64) {
    let words = "round: task, square: controller";
    let mut x = MARGIN;
    let mut text = legend_words(x, words);
    x += legend_width(words);
    for (meaning, colour, words) in [
        (Meaning::Invalidates, NEUTRAL, "invalidates"),
        (Meaning::Includes, NEUTRAL, "includes"),
        (Meaning::Derives, DERIVES, "derived"),
        (Meaning::Excepts, EXCEPTS, "except"),
    ] {
        if !drawing.edges.iter().any(|edge| edge.meaning == meaning) {
            continue;
        }
        let style = style(meaning);
        text += &format!("<path d=\"M{x:.1} 18h24\" stroke=\"{colour}\"{style}/>");
        x += 30.0;
        text += &legend_words(x, words);
        x += legend_width(words);
    }
    (text, x)
}

fn legend_words(x: f64, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"22\" fill=\"{NEUTRAL}\" font-size=\"11\">{words}</text>\n")
}

fn legend_width(words: &str) -> f64 {
    words.len() as f64 * 6.7 + 20.0
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}
