//! The plots of docs/performance.md.

use cachetx::BoxError;
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color as _, IntoDrawingArea as _, IntoFont as _, LineSeries,
    PathElement, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};
use std::path::Path;

const SIZE: (u32, u32) = (760, 400);
/// Above the highest value, for the legend.
const HEADROOM: f64 = 1.4;
/// Distinguishable with any kind of colour vision (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(140, 110, 70),
];

/// Lines over named places at equal distances.
pub struct Plot {
    /// Its file's name, without `.svg`.
    pub file: &'static str,
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    pub places: Vec<String>,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub name: String,
    /// One for each place.
    pub values: Vec<f64>,
}

impl Plot {
    pub fn draw(&self, folder: &Path) -> Result<(), BoxError> {
        let path = folder.join(self.file).with_extension("svg");
        let values = self.lines.iter().flat_map(|line| &line.values);
        let top = values.fold(0.0, |top: f64, &value| top.max(value)) * HEADROOM;
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let last = self.places.len() - 1;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 16).into_font())
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.2..last as f64 + 0.2, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .y_label_formatter(&|y| {
                if top < 100.0 {
                    format!("{y:.1}")
                } else {
                    format!("{y:.0}")
                }
            })
            .x_labels(self.places.len())
            .x_label_formatter(&|x| self.place(*x))
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let points = || line.values.iter().enumerate().map(|(n, &y)| (n as f64, y));
            let style = colour.stroke_width(2);
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style);
            chart
                .draw_series(LineSeries::new(points(), style))?
                .label(&line.name)
                .legend(legend);
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        Ok(area.present()?)
    }

    /// The name of the place at `x`; empty between two places.
    fn place(&self, x: f64) -> String {
        let nearest = x.round();
        let near = (x - nearest).abs() < 1e-6 && nearest >= 0.0;
        let name = near.then(|| self.places.get(nearest as usize)).flatten();
        name.cloned().unwrap_or_default()
    }
}
