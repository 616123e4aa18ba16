//! The chart of the guide: how long start and restart take, over the number of workers.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::peers::{self, Action, PeerRow, Series};

const SIZE: (u32, u32) = (900, 420);

const WORKERS: [f64; 5] = [2.0, 16.0, 128.0, 1024.0, 4096.0];

/// Apart also for most people who see colours otherwise.
const COLOURS: [RGBColor; peers::COUNT] = [
    RGBColor(0, 0, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

const FONT: &str = "sans-serif";

type Area<'svg> = DrawingArea<SVGBackend<'svg>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// As SVG, as wide as the page lets it be.
pub fn draw(rows: &[PeerRow]) -> String {
    let mut svg = String::new();
    draw_both(&mut svg, rows).expect("a chart in memory");
    let (width, height) = SIZE;
    let fixed = format!("<svg width=\"{width}\" height=\"{height}\" ");
    assert!(svg.starts_with(&fixed), "plotters begins so");
    svg.replacen(&fixed, &format!("<svg style=\"width: 100%; max-width: {width}px\" "), 1)
}

fn draw_both(svg: &mut String, rows: &[PeerRow]) -> Outcome {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (legend, charts) = area.split_vertically(30);
    let (left, right) = charts.split_horizontally(SIZE.0 / 2);
    let start = PeerRow::series(rows, Action::Start);
    draw_legend(&legend, &start)?;
    draw_one(&left, "Start of N workers, ms", &start)?;
    draw_one(&right, "Restart of one of N workers, ms", &PeerRow::series(rows, Action::Restart))?;
    area.present()?;
    Ok(())
}

/// What was measured, in a line above both charts.
fn draw_legend(area: &Area, series: &[Series]) -> Outcome {
    let measured = series.iter().zip(COLOURS).filter(|((_, points), _)| !points.is_empty());
    for (place, ((name, _), colour)) in (0..).zip(measured) {
        let x = 70 + 130 * place;
        area.draw(&PathElement::new([(x, 17), (x + 20, 17)], colour.stroke_width(2)))?;
        area.draw(&Text::new(*name, (x + 26, 9), (FONT, 16)))?;
    }
    Ok(())
}

fn draw_one(area: &Area, title: &str, series: &[Series]) -> Outcome {
    let times = || series.iter().flat_map(|(_, points)| points).map(|&(_, nanoseconds)| nanoseconds / 1e6);
    let (lowest, highest) = times().fold((f64::INFINITY, 0.0), |(low, high), time| (time.min(low), time.max(high)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(10)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (1.5..5500.0).log_scale().with_key_points(WORKERS.to_vec()),
            (lowest * 0.8..highest * 1.25).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 16))
        .x_desc("N")
        .x_label_formatter(&|workers| format!("{workers:.0}"))
        .y_label_formatter(&|time| time.to_string())
        .draw()?;
    for ((_, points), colour) in series.iter().zip(COLOURS) {
        let points = points.iter().map(|&(workers, nanoseconds)| (workers, nanoseconds / 1e6));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?;
    }
    Ok(())
}
