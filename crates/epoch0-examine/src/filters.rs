//! Filters: how diverse, noisy and alike the filters of convolutions are, and what the first look like.
//!
//! # Idea
//! A convolution is as good as its filters are different from each other and from noise. Copies do the work of one, filters
//! of zeros none, and what is spread over all frequencies is noise that training has to smooth. A look at the first layer,
//! before and after training, tells more than its loss.
//!
//! # Method
//! For each convolution, with a filter's weights as a row `w` of the matrix W:
//! - diversity: the entropy of `p = σ² / Σ σ²` over W's singular values, over the largest that it could be, `ln min(n, d)`
//! - near-duplicates: filters that have another one with `|cos| > 0.95`
//! - noise: the share of the energy of the kernels' Fourier transforms at frequencies above half of Nyquist's, a quarter of a
//!   cycle per tap; of white noise it is the share of such frequencies, which is shown beside it
//! - dead: filters shorter than a thousandth of the median
//!
//! The picture shows filters of the first convolution with more than one tap, each scaled to its largest weight; those of
//! two or three channels side by side, of more the first three.
//!
//! # Shapes
//! Weights of convolutions that are not transposed, in one to three dimensions; the picture and the noise of two.
//!
//! # Cost
//! O(n² d) for n filters of d weights, and the singular values where the shorter side is at most 1,200.
//!
//! # Departures
//! The survey speaks of noisy and redundant filters and gives no numbers for them; these are choices.
//!
//! # Traps
//! - Random filters of few weights are near-duplicates now and then: of 64 filters of 3 × 3 on one channel, some.
//! - Where a batch normalization follows, a filter's length does not matter, and it is not dead for being short.
//!
//! # Example
//! ```
//! assert!(epoch0_examine::find("filters").is_ok());
//! ```
//!
//! # References
//! - [hirani2024filter] the survey

use epoch0_engine::kernel::Gram;
use epoch0_method::reading::{
    Axis, Cell, Column, Figure, Finding, Health, Kind, Place, Quantity, Severity, Shape, Table,
};
use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values};
use epoch0_net::{Op, Site};
use epoch0_num::special::ln;
use epoch0_num::waves;
use rayon::prelude::*;

use crate::shared::show::{not_finite, percent};
use crate::{Error, Examiner, Reading, Subject, Watch};

/// Shorter side of a matrix whose singular values are taken at most.
const SIDE: usize = 1200;
/// Cosine beyond which filters are near-duplicates.
const ALIKE: f64 = 0.95;
/// Cells of the picture at most.
const CELLS: usize = 12_000;
/// Slices of a filter that are shown.
const SLICES: usize = 3;

/// Parameters of the examination: none.
#[derive(Clone, Debug, Params)]
pub struct Filters {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "filters",
    aliases: &["kernels"],
    family: Family::Examine,
    papers: &["hirani2024filter"],
    source: include_str!("filters.rs"),
    params: Filters::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, MethodError> {
    Ok(Box::new(Filters::from_values(INFO.id, values)?))
}

/// The filters of a layer.
struct Layer<'a> {
    site: &'a Site,
    /// Filters of all groups, rows of `d`.
    values: Vec<f64>,
    d: usize,
    kernel: Vec<usize>,
}

/// What is read of a layer.
struct Found {
    diversity: Option<f64>,
    duplicates: f64,
    /// Whether all filters are the same.
    is_symmetric: bool,
    noise: Option<f64>,
    white: f64,
    dead: f64,
}

impl<'a> Layer<'a> {
    fn new(site: &'a Site, stored: &[f64]) -> Self {
        let view = &site.view;
        let mut values = vec![0.0; view.len()];
        view.runs(|canonical, start, length, stride| {
            (0..length).for_each(|step| values[canonical + step] = stored[start + step * stride]);
        });
        let kernel = view.receptive_shape();
        Self { site, values, d: view.n_in() * kernel.iter().product::<usize>(), kernel }
    }

    fn n(&self) -> usize {
        self.values.len() / self.d.max(1)
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn read(&self) -> Found {
        let (n, d) = (self.n(), self.d);
        let lengths: Vec<f64> =
            self.values.chunks(d).map(|filter| filter.iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
        let mut sorted = lengths.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[n / 2];
        let is_dead = |length: f64| length <= 1e-3 * median;
        let alive: Vec<Vec<f64>> = self
            .values
            .chunks(d)
            .zip(&lengths)
            .filter(|(_, length)| **length > 0.0)
            .map(|(filter, length)| filter.iter().map(|x| x / length).collect())
            .collect();
        let is_copy = |at: &usize| {
            let own = &alive[*at];
            alive.iter().enumerate().any(|(other, filter)| {
                other != *at && own.iter().zip(filter).map(|(a, b)| a * b).sum::<f64>().abs() > ALIKE
            })
        };
        let copies = (0..alive.len()).into_par_iter().filter(is_copy).count();
        let first = &self.values[..d];
        Found {
            diversity: self.diversity(),
            duplicates: copies as f64 / n as f64,
            is_symmetric: n > 1 && self.values.chunks(d).all(|filter| filter == first),
            noise: self.noise(),
            white: match self.kernel[..] {
                [rows, columns] => waves::white_share(rows, columns),
                _ => 0.0,
            },
            dead: lengths.iter().filter(|length| is_dead(**length)).count() as f64 / n as f64,
        }
    }

    /// Entropy of the shares of the squared singular values, over the largest possible.
    fn diversity(&self) -> Option<f64> {
        let (n, d) = (self.n(), self.d);
        let side = n.min(d);
        if !(2..=SIDE).contains(&side) {
            return None;
        }
        let gram = if n <= d {
            Gram::of_rows(&self.values, &self.values, d)
        } else {
            let turned: Vec<f64> = (0..n * d).map(|at| self.values[at % n * d + at / n]).collect();
            Gram::of_rows(&turned, &turned, n)
        };
        let spectrum = gram.spectrum().ok()?;
        let sum: f64 = spectrum.values().iter().filter(|value| **value > 0.0).sum();
        let shares = spectrum.values().iter().map(|value| value / sum).filter(|share| *share > 0.0);
        (sum > 0.0).then(|| shares.map(|share| -share * ln(share)).sum::<f64>() / ln(side as f64))
    }

    /// Share of the energy at high frequencies.
    fn noise(&self) -> Option<f64> {
        let [rows, columns] = self.kernel[..] else { return None };
        (rows * columns > 1).then(|| waves::high_share(&self.values, rows, columns)).flatten()
    }
}

impl Examiner for Filters {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, Error> {
        let Subject { network, weights, .. } = *subject;
        watch.reach(0.0)?;
        let mut reading = Reading::new(INFO.id, "Filters", "");
        let is_filters = |site: &&Site| {
            let op = &network.nodes()[site.node.0 as usize].op;
            matches!(op, Op::Conv { weight, transposed: false, .. } if *weight == site.param)
        };
        let sites: Vec<&Site> =
            network.sites().iter().filter(|site| site.is_own).filter(is_filters).collect();
        if let Some(finding) = not_finite(subject) {
            reading.findings.push(finding);
            watch.reach(1.0)?;
            return Ok(reading);
        }
        let mut read: Vec<(Layer<'_>, Found)> = Vec::with_capacity(sites.len());
        for (at, site) in sites.iter().enumerate() {
            watch.reach(at as f64 / sites.len() as f64)?;
            let Some(value) = weights.get(site.param) else { continue };
            let layer = Layer::new(site, &value.to_f64());
            if layer.values.is_empty() {
                continue;
            }
            let found = layer.read();
            read.push((layer, found));
        }
        let Some(((first, of_first), n_filters)) =
            read.first().map(|first| (first, read.iter().map(|(layer, _)| layer.n()).sum::<usize>()))
        else {
            let what = "The network has no convolutions.".to_owned();
            reading.findings.push(Finding::new("no_filters", Severity::Note, Health::Healthy, what));
            watch.reach(1.0)?;
            return Ok(reading);
        };
        reading.summary =
            format!("{n_filters} filters of {} convolutions; numbers of {}.", read.len(), first.site.label());
        reading.findings = findings(&read);
        let mut quantities = vec![
            Quantity::new("near_duplicates", "near-duplicates", of_first.duplicates, "share"),
            Quantity::new("dead", "dead filters", of_first.dead, "share"),
        ];
        if let Some(noise) = of_first.noise {
            let help = format!(
                "Energy above half of Nyquist's frequency; of white noise {}.",
                percent(of_first.white)
            );
            quantities.insert(0, Quantity::new("noise", "noise", noise, "share").help(help));
        }
        if let Some(diversity) = of_first.diversity {
            let help = "Entropy of squared singular values over the largest possible; orthogonal filters have all of it.";
            quantities.insert(0, Quantity::new("diversity", "diversity", diversity, "share").help(help));
        }
        reading.quantities = quantities;
        let is_picture = |(layer, _): &&(Layer<'_>, Found)| layer.kernel.len() == 2 && layer.taps() > 1;
        if let Some((layer, _)) = read.iter().find(is_picture) {
            reading.figures.push(picture(layer));
        }
        reading.tables.push(table(&read));
        watch.reach(1.0)?;
        Ok(reading)
    }
}

fn findings(read: &[(Layer<'_>, Found)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let symmetric: Vec<_> = read.iter().filter(|(_, found)| found.is_symmetric).collect();
    if let Some((layer, _)) = symmetric.first() {
        let what = format!("In {} of {} convolutions all filters are the same.", symmetric.len(), read.len());
        findings.push(
            Finding::new("symmetric", Severity::Warn, Health::Healthy, what)
                .at(Place::new(layer.site.label()))
                .reason("Filters that are the same get the same gradient where what reads them treats them alike, and stay so.")
                .help("Draw them at random (`he_normal`), unless they end a residual branch that is to begin as zero."),
        );
    }
    let copies: Vec<_> =
        read.iter().filter(|(_, found)| !found.is_symmetric && found.duplicates > 0.0).collect();
    if let Some((layer, found)) = copies.first() {
        let what = format!(
            "{} of the filters of {} have another that is nearly the same or its negative.",
            percent(found.duplicates),
            layer.site.label()
        );
        findings.push(Finding::new("near_duplicates", Severity::Note, Health::Healthy, what));
    }
    if findings.is_empty() {
        let what = "No filters are nearly the same.";
        findings.push(Finding::new("near_duplicates", Severity::Ok, Health::Healthy, what));
    }
    findings
}

/// Filters of a layer, side by side.
fn picture(layer: &Layer<'_>) -> Figure {
    let (rows, columns, taps) = (layer.kernel[0], layer.kernel[1], layer.taps());
    let channels = layer.d / taps;
    let slices = channels.min(SLICES);
    let width = slices * columns;
    let shown = layer.n().min(CELLS / ((rows + 1) * (width + 1)).max(1)).max(1);
    let tile = |filter: &[f64]| {
        let seen = &filter[..slices * taps];
        let largest = seen.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        let value = |at: usize| {
            let (row, slice, column) = (at / width, at % width / columns, at % columns);
            let value = seen[slice * taps + row * columns + column];
            if largest > 0.0 { value / largest } else { 0.0 }
        };
        (0..rows * width).map(value).collect::<Vec<f64>>()
    };
    let name = layer.site.label();
    let alt = format!("{shown} of {} filters of {name}, {rows} × {columns}.", layer.n());
    let color = Axis::new("weight, over the filter's largest");
    let tiles = layer.values.chunks(layer.d).take(shown).map(tile).collect();
    let mut figure = Figure::new("filters", &format!("Filters of {name}"), alt, Axis::new(""), Axis::new(""))
        .with("filters", Shape::Tiles { width, tiles, color, center: Some(0.0) });
    let some = if shown < layer.n() {
        format!("The first {shown} of {} filters.", layer.n())
    } else {
        String::new()
    };
    let side_by_side = match slices {
        1 if channels == 1 => String::new(),
        1 => format!("The first of {channels} channels."),
        _ => format!("Channels 1 to {slices} of {channels} side by side."),
    };
    [some, side_by_side].join(" ").trim().clone_into(&mut figure.note);
    figure
}

fn table(read: &[(Layer<'_>, Found)]) -> Table {
    let mut table = Table::new(
        "filters",
        "Convolutions",
        [
            Column::new("layer", "layer", Kind::Text),
            Column::new("filters", "filters", Kind::Integer),
            Column::new("shape", "each", Kind::Text),
            Column::new("diversity", "diversity", Kind::Share)
                .help("Entropy of squared singular values, over the largest possible."),
            Column::new("duplicates", "near-duplicates", Kind::Share)
                .help("Filters with another whose cosine is beyond ±0.95."),
            Column::new("noise", "noise", Kind::Share).help("Energy above half of Nyquist's frequency."),
            Column::new("white", "white noise", Kind::Share).help("What that is of white noise."),
            Column::new("dead", "dead", Kind::Share).help("Filters shorter than a thousandth of the median."),
            Column::new("symmetric", "symmetric", Kind::Flag).help("Whether all filters are the same."),
        ],
    );
    for (layer, found) in read {
        let shape: Vec<String> =
            [layer.d / layer.taps()].iter().chain(&layer.kernel).map(ToString::to_string).collect();
        let real = |value: Option<f64>| value.map_or(Cell::Missing, Cell::Real);
        table.push([
            Cell::Text(layer.site.label()),
            Cell::Integer(layer.n() as i64),
            Cell::Text(shape.join("×")),
            real(found.diversity),
            Cell::Real(found.duplicates),
            real(found.noise),
            real(found.noise.map(|_| found.white)),
            Cell::Real(found.dead),
            Cell::Flag(found.is_symmetric),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::case::{Case, matched};

    fn with(change: impl Fn(usize, f64) -> f64) -> Reading {
        let mut case = Case::new("filters", "lenet", 1, |network| matched(network, 2, 1)).unwrap();
        let id = case.network.sites()[0].param;
        let value = case.weights.get(id).unwrap().clone();
        let values = value.to_f64().into_iter().enumerate().map(|(at, x)| change(at, x)).collect();
        let changed =
            epoch0_engine::Tensor::from_f64(values, &value.shape(), value.precision(), &value.device());
        case.weights.set(id, changed);
        Filters {}.examine(&case.subject(), Watch::default()).unwrap()
    }

    #[test]
    fn numbers_are_those_of_known_filters() {
        // Six filters of 5 × 5: constant ones, of all frequencies, of the highest.
        let constant = with(|_, _| 1.0);
        assert!(
            constant.quantity("noise").unwrap() < 1e-12 && constant.quantity("diversity").unwrap() < 1e-6
        );
        assert_eq!(constant.quantity("near_duplicates"), Some(1.0));
        assert!(constant.findings.iter().any(|finding| finding.name == "symmetric"));
        let points = with(|at, _| f64::from(at % 25 == at / 25));
        assert!((points.quantity("noise").unwrap() - waves::white_share(5, 5)).abs() < 1e-12);
        assert!((points.quantity("diversity").unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(points.quantity("near_duplicates"), Some(0.0));
        let waves = with(|at, _| if at % 25 % 2 == 0 { 1.0 } else { -1.0 });
        assert!(waves.quantity("noise").unwrap() > 0.8);
        let dead = with(|at, x| if at < 50 { 0.0 } else { x });
        assert!((dead.quantity("dead").unwrap() - 2.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn pictures_show_each_filter_by_its_largest_weight() {
        let reading = with(|_, x| 3.0 * x);
        let Shape::Tiles { width, tiles, .. } = &reading.figures[0].series[0].shape else {
            panic!("no picture")
        };
        assert_eq!((*width, tiles.len(), tiles[0].len()), (5, 6, 25));
        let largest = |tile: &Vec<f64>| tile.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        assert!(tiles.iter().all(|tile| (largest(tile) - 1.0).abs() < 1e-12));
    }
}
