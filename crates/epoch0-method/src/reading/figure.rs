//! Figures as data: what is drawn, not how.

use serde::{Deserialize, Serialize};

use super::real;

/// How numbers are laid along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// In proportion.
    #[default]
    Linear,
    /// By their logarithm; numbers that are not positive have no place.
    Log,
}

/// An axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// What it measures.
    pub label: String,
    /// Unit; empty where there is none, `share` for fractions of a whole, which are shown in percent.
    pub unit: String,
    /// How numbers are laid along it.
    pub scale: Scale,
    /// What stands at 0, 1, 2…, where the axis counts things (layers, classes); empty where it measures.
    pub names: Vec<String>,
}

impl Axis {
    /// Linear, without a unit.
    pub fn new(label: &str) -> Self {
        Self { label: label.to_owned(), unit: String::new(), scale: Scale::Linear, names: Vec::new() }
    }

    /// Logarithmic.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.scale = Scale::Log;
        self
    }

    /// In that unit.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.unit);
        self
    }

    /// Counts these things.
    #[must_use]
    pub fn names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names = names.into_iter().collect();
        self
    }
}

/// One of a figure's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Left to right.
    X,
    /// Bottom to top.
    Y,
}

/// What a series looks like. Lists that belong together have one length; what is too much in one is not drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shape {
    /// Points joined in order; a gap where one is not finite.
    Line {
        /// Positions.
        #[serde(with = "real::list")]
        x: Vec<f64>,
        /// Values.
        #[serde(with = "real::list")]
        y: Vec<f64>,
    },
    /// Points by themselves.
    Points {
        /// Positions.
        #[serde(with = "real::list")]
        x: Vec<f64>,
        /// Values.
        #[serde(with = "real::list")]
        y: Vec<f64>,
    },
    /// The room between two curves.
    Band {
        /// Positions.
        #[serde(with = "real::list")]
        x: Vec<f64>,
        /// Lower curve.
        #[serde(with = "real::list")]
        low: Vec<f64>,
        /// Upper curve.
        #[serde(with = "real::list")]
        high: Vec<f64>,
    },
    /// An interval at each position.
    Intervals {
        /// Positions.
        #[serde(with = "real::list")]
        x: Vec<f64>,
        /// Lower ends.
        #[serde(with = "real::list")]
        low: Vec<f64>,
        /// Upper ends.
        #[serde(with = "real::list")]
        high: Vec<f64>,
    },
    /// A bar for each of the x axis's names.
    Bars {
        /// Heights.
        #[serde(with = "real::list")]
        y: Vec<f64>,
    },
    /// How many values lie between neighbouring edges.
    Histogram {
        /// Edges, rising, one more than there are counts.
        #[serde(with = "real::list")]
        edges: Vec<f64>,
        /// Counts, or densities.
        #[serde(with = "real::list")]
        counts: Vec<f64>,
    },
    /// A stem at each position, as spectra are drawn.
    Stems {
        /// Positions.
        #[serde(with = "real::list")]
        x: Vec<f64>,
        /// Heights.
        #[serde(with = "real::list")]
        y: Vec<f64>,
    },
    /// A matrix, as colours.
    Heatmap {
        /// Positions of the columns, evenly spaced on the axis; empty for 0, 1, 2…
        #[serde(with = "real::list")]
        x: Vec<f64>,
        /// Positions of the rows, evenly spaced, rising upwards; empty for 0, 1, 2… downwards, as matrices are written.
        #[serde(with = "real::list")]
        y: Vec<f64>,
        /// Rows of values.
        #[serde(with = "real::rows")]
        values: Vec<Vec<f64>>,
        /// What the colours measure.
        color: Axis,
        /// The value that colours part at, where values on both sides mean opposite things.
        #[serde(with = "real::maybe")]
        center: Option<f64>,
    },
    /// Small pictures side by side, on one scale of colours: the filters of a layer. Axes say nothing of them.
    Tiles {
        /// Columns of a tile.
        width: usize,
        /// Values of each tile, row by row.
        #[serde(with = "real::rows")]
        tiles: Vec<Vec<f64>>,
        /// What the colours measure.
        color: Axis,
        /// The value that colours part at, where values on both sides mean opposite things.
        #[serde(with = "real::maybe")]
        center: Option<f64>,
    },
    /// A straight line across the figure: a threshold, what theory predicts, the layer where it goes wrong.
    Rule {
        /// Axis that the value is on.
        axis: Direction,
        /// Value.
        #[serde(with = "real")]
        at: f64,
    },
    /// A strip across the figure: the range that is healthy.
    Span {
        /// Axis that the values are on.
        axis: Direction,
        /// Lower value.
        #[serde(with = "real")]
        low: f64,
        /// Upper value.
        #[serde(with = "real")]
        high: f64,
    },
}

/// Something drawn in a figure. Series of one label share a colour and an entry of the legend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What it is: `forward`, `he_normal`.
    pub label: String,
    /// What it looks like.
    #[serde(flatten)]
    pub shape: Shape,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Stable name, `snake_case`, unique in its reading.
    pub name: String,
    /// Title, for people.
    pub title: String,
    /// What is to be seen, in words, for who does not see it: `Forward variance falls from 1 to 1e-30.`
    pub alt: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// What is drawn, the first at the back.
    pub series: Vec<Series>,
    /// What has to be known to read it; may be empty.
    pub note: String,
}

impl Figure {
    /// Without series.
    pub fn new(name: &str, title: &str, alt: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            alt: alt.into(),
            x,
            y,
            series: Vec::new(),
            note: String::new(),
        }
    }

    /// Adds a series.
    #[must_use]
    pub fn with(mut self, label: impl Into<String>, shape: Shape) -> Self {
        self.series.push(Series { label: label.into(), shape });
        self
    }
}
