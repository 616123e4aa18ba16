//! Medians, and how figures are written.

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// In nanoseconds.
    Time,
    Count,
    Kilobytes,
}

impl Unit {
    /// The figure in the unit of a size that suits it.
    pub fn write(self, figure: f64) -> String {
        let (size, unit) = match self {
            Unit::Time if figure < 1e6 => (1e3, " µs"),
            Unit::Time if figure < 1e9 => (1e6, " ms"),
            Unit::Time => (1e9, " s"),
            Unit::Count => (1.0, ""),
            Unit::Kilobytes if figure < 1e5 => (1.0, " kB"),
            Unit::Kilobytes => (1024.0, " MiB"),
        };
        let figure = figure / size;
        let digits = if figure < 10.0 {
            2
        } else if figure < 100.0 {
            1
        } else {
            0
        };
        format!("{figure:.digits$}{unit}")
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

pub fn lowest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
