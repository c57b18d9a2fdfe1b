//! Graphs as SVG: laid out in layers from left to right, and drawn with curves that pass between
//! the boxes.

use crate::drawing::{Arrow, Drawing, Relation, Tile, TileShape};
use dagre::{
    EdgeLabel, LayoutOptions, NodeLabel,
    graph::{Graph, GraphOptions},
    layout::types::{Point, RankDir},
};

const FONTS: &str = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
/// The width of a monospaced font of 12 px.
const CHARACTER_WIDTH: f64 = 7.3;
const BOX_HEIGHT: f64 = 22.0;
const MARGIN: f64 = 12.0;
/// Height of the line at the top that says what the arrows mean.
const LEGEND_HEIGHT: f64 = 30.0;
/// Arrows of neighbouring tasks have different colours.
const COLOURS: [&str; 8] = [
    "#2563eb", "#b45309", "#7c3aed", "#0f766e", "#be185d", "#4d7c0f", "#475569", "#0891b2",
];

const NEUTRAL: &str = "#475569";
const EXCEPTS: &str = "#dc2626";
const DERIVES: &str = "#166534";
/// Arrows in the background.
const PALE: &str = "#dbe2ea";

/// A box with its position.
struct Placed<'d> {
    tile: &'d Tile,
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
        .tiles
        .iter()
        .enumerate()
        .map(|(index, tile)| place(&graph, index, tile))
        .collect();
    let columns = columns(&placed);
    let (legend, legend_end) = legend(drawing);
    let extent = |arrow: &dyn Fn(&Placed<'_>) -> f64| placed.iter().map(arrow).fold(0.0, f64::max);
    let width = extent(&|it| it.x + it.width / 2.0).max(legend_end) + MARGIN;
    let height = extent(&|it| it.y + BOX_HEIGHT / 2.0) + MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"{FONTS}\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text += &legend;
    // Highlighted parts are drawn over the others.
    let (front, behind): (Vec<&Arrow>, Vec<&Arrow>) =
        drawing.arrows.iter().partition(|arrow| arrow.stands_out);
    for arrow in behind.into_iter().chain(front) {
        let bends = bends(&graph, arrow);
        text += &curve(
            &placed[arrow.from],
            &placed[arrow.to],
            &bends,
            &columns,
            arrow,
        );
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
    for (index, tile) in drawing.tiles.iter().enumerate() {
        let label = NodeLabel {
            width: tile.label.chars().count() as f64 * CHARACTER_WIDTH + 16.0,
            height: BOX_HEIGHT,
            ..NodeLabel::default()
        };
        graph.set_node(index.to_string(), Some(label));
    }
    for arrow in &drawing.arrows {
        let (from, to) = (arrow.from.to_string(), arrow.to.to_string());
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

fn place<'d>(graph: &Graph<NodeLabel, EdgeLabel>, index: usize, tile: &'d Tile) -> Placed<'d> {
    let label = graph.node(&index.to_string());
    let at = |place: fn(&NodeLabel) -> Option<f64>| label.and_then(place).unwrap_or_default();
    Placed {
        tile,
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

/// Where an arrow passes columns that lie between its ends. The layout gives an arrow a point in
/// each of them, and one before and after.
fn bends(graph: &Graph<NodeLabel, EdgeLabel>, arrow: &Arrow) -> Vec<Point> {
    let (from, to) = (arrow.from.to_string(), arrow.to.to_string());
    let points = graph.edge(&from, &to, None).map(|label| &*label.points);
    let Some([_, inner @ .., _]) = points else {
        return Vec::new();
    };
    let passing = inner.iter().skip(1).step_by(2);
    passing
        .map(|point| Point::new(point.x, point.y + LEGEND_HEIGHT))
        .collect()
}

/// An arrow: flat while it passes a column, curved between columns.
fn curve(
    from: &Placed<'_>,
    to: &Placed<'_>,
    bends: &[Point],
    columns: &[Column],
    arrow: &Arrow,
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
    let (colour, style) = (colour(arrow), style(arrow.relation));
    let head = format!("M{left:.1} {:.1}l-7 -3.5v7z", to.y);
    format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"{style}/><path d=\"{head}\" fill=\"{colour}\"/>\n"
    )
}

fn colour(arrow: &Arrow) -> &'static str {
    if !arrow.stands_out {
        return PALE;
    }
    match arrow.relation {
        Relation::Includes | Relation::Invalidates => COLOURS[arrow.from % COLOURS.len()],
        Relation::Excepts => EXCEPTS,
        Relation::Derives => DERIVES,
    }
}

fn style(relation: Relation) -> &'static str {
    match relation {
        Relation::Includes => " stroke-width=\"1.6\" stroke-dasharray=\"6 4\"",
        Relation::Invalidates => " stroke-width=\"1.1\"",
        Relation::Excepts => " stroke-width=\"1.4\" stroke-dasharray=\"2 3\"",
        Relation::Derives => " stroke-width=\"2.2\"",
    }
}

fn boxed(it: &Placed<'_>) -> String {
    let (left, top) = (it.x - it.width / 2.0, it.y - BOX_HEIGHT / 2.0);
    let (fill, stroke, round) = match it.tile.shape {
        TileShape::Task => ("#dbeafe", "#1d4ed8", 11),
        TileShape::Controller => ("#ecfccb", "#3f6212", 2),
    };
    let (fill, stroke, text) = match it.tile.stands_out {
        true => (fill, stroke, ""),
        false => ("#ffffff", "#cbd5e1", " fill=\"#64748b\""),
    };
    let label = escaped(&it.tile.label);
    let (width, x, baseline) = (it.width, it.x, it.y + 4.0);
    format!(
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" \
         rx=\"{round}\" fill=\"{fill}\" stroke=\"{stroke}\"/>\
         <text x=\"{x:.1}\" y=\"{baseline:.1}\" text-anchor=\"middle\"{text}>{label}</text>\n"
    )
}

/// The legend for boxes and arrows, and where it ends.
fn legend(drawing: &Drawing) -> (String, f64) {
    let words = match drawing.tiles.iter().all(|tile| tile.stands_out) {
        true => "round: task, square: controller",
        false => "round: task, square: controller, pale: not reached",
    };
    let mut x = MARGIN;
    let mut text = legend_words(x, words);
    x += legend_width(words);
    for (relation, colour, words) in [
        (Relation::Invalidates, NEUTRAL, "invalidates"),
        (Relation::Includes, NEUTRAL, "includes"),
        (Relation::Derives, DERIVES, "derived"),
        (Relation::Excepts, EXCEPTS, "except"),
    ] {
        if !drawing
            .arrows
            .iter()
            .any(|arrow| arrow.relation == relation)
        {
            continue;
        }
        let style = style(relation);
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
