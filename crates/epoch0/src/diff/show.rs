//! How two checkpoints relate, as a document.

use std::collections::BTreeMap;

use epoch0_method::reading::{Axis, Cell, Column, Figure, Kind, Reading, Relation as Document, Shape, Table};

use super::{Diff, Related, Relation};

/// Four significant digits.
pub(super) fn short(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || !(1e-4..1e6).contains(&size) {
        return if number == 0.0 { "0".to_owned() } else { format!("{number:.2e}") };
    }
    let digits = (3 - size.log10().floor() as i32).max(0) as usize;
    format!("{number:.digits$}")
}

/// A shape, for people.
pub(super) fn shape(shape: &[usize]) -> String {
    match shape {
        [] => "scalar".to_owned(),
        _ => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
    }
}

/// What it comes to: by how many elements stand in each relation.
pub(super) fn outcome(tensors: &[Related], relative: Option<f64>) -> String {
    let mut elements: BTreeMap<&'static str, usize> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.relation != Relation::OnlyFirst) {
        *elements.entry(tensor.relation.word()).or_insert(0) += tensor.shape.iter().product::<usize>().max(1);
    }
    let total: usize = elements.values().sum();
    let share = |words: &[&str]| {
        words.iter().filter_map(|word| elements.get(word)).sum::<usize>() as f64 / total.max(1) as f64
    };
    let has = |word: &str| tensors.iter().any(|tensor| tensor.relation.word() == word);
    let all_of = |words: &[&str]| tensors.iter().all(|tensor| words.contains(&tensor.relation.word()));
    if total == 0 || share(&["only in B"]) == 1.0 {
        "nothing in common".to_owned()
    } else if all_of(&["same"]) {
        "the same".to_owned()
    } else if all_of(&["same", "same values"]) {
        "the same values".to_owned()
    } else if has("selected") && share(&["selected", "same", "same values"]) > 0.5 {
        "B is a selection of A".to_owned()
    } else if share(&["same", "same values"]) > 0.5
        && !has("drifted")
        && (has("only in A") || has("drawn anew"))
    {
        "B is a part of A".to_owned()
    } else if has("permuted") && share(&["permuted", "same", "same values"]) > 0.5 {
        "B is A in another order".to_owned()
    } else if share(&["drawn anew"]) > 0.5 {
        "drawn anew".to_owned()
    } else if share(&["scaled", "spread"]) > 0.5 {
        "scaled".to_owned()
    } else if share(&["drifted", "same", "same values", "scaled", "spread"]) > 0.5 {
        relative.map_or_else(
            || "drifted".to_owned(),
            |relative| format!("drifted by {} of its norm", short(relative)),
        )
    } else {
        "of several relations".to_owned()
    }
}

impl Diff {
    /// Whether all tensors are the same, bit by bit.
    pub fn is_same(&self) -> bool {
        self.tensors.iter().all(|tensor| tensor.relation == Relation::Same)
    }

    /// Which blocks of the second are made of which others of the first, for people.
    pub fn layer_words(&self) -> Option<String> {
        let all = self.layers.iter().map(|(own, from)| format!("{own} of {from}")).collect::<Vec<_>>();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// What it comes to, in a sentence or two.
    pub fn summary(&self) -> String {
        let counts = self.counts.iter().map(|(word, n)| format!("{n} {word}")).collect::<Vec<_>>().join(", ");
        let relative =
            self.relative.filter(|relative| *relative > 0.0).map_or_else(String::new, |relative| {
                format!(
                    " The norm of what differs is {} of A's, over all tensors that both have in one shape.",
                    short(relative)
                )
            });
        format!("Of {} tensors: {counts}.{relative}", self.tensors.len())
    }

    /// As a document that can be shown.
    pub fn document(&self) -> Document {
        let mut facts = vec![("A".to_owned(), self.first.clone()), ("B".to_owned(), self.second.clone())];
        facts.extend(self.receipts.iter().map(|receipt| ("receipt".to_owned(), receipt.clone())));
        facts.extend(self.layer_words().map(|words| ("layers".to_owned(), words)));
        let mut reading = Reading::new("diff", "Tensors", "");
        reading.figures = self.figure().into_iter().collect();
        reading.tables = vec![self.table()];
        Document {
            title: format!("{} and {}", self.first, self.second),
            outcome: self.outcome.clone(),
            summary: self.summary(),
            facts,
            readings: vec![reading],
            versions: [("epoch0".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(
            "tensors",
            "By name",
            [
                Column::new("name", "tensor", Kind::Text),
                Column::new("n_tensors", "×", Kind::Integer),
                Column::new("shape", "shape", Kind::Text),
                Column::new("relation", "B is", Kind::Text),
                Column::new("details", "which", Kind::Text),
                Column::new("relative", "distance", Kind::Real)
                    .help("Norm of the difference over A's norm; of several tensors the largest."),
                Column::new("cosine", "cosine", Kind::Real),
                Column::new("correlation", "correlation", Kind::Real),
            ],
        );
        for group in &self.groups {
            table.push([
                Cell::from(group.name.as_str()),
                group.n_tensors.into(),
                shape(&group.shape).into(),
                group.relation.into(),
                group.details.as_str().into(),
                group.relative.map(|[_, high]| high).into(),
                group.cosine.into(),
                group.correlation.into(),
            ]);
        }
        table
    }

    /// Distances over the tensors, in their order; none where nothing differs in one shape.
    fn figure(&self) -> Option<Figure> {
        let mut by_word: BTreeMap<&'static str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for (nth, tensor) in self.tensors.iter().enumerate() {
            if let Some(distance) = tensor.distance.filter(|distance| distance.relative > 0.0) {
                let (x, y) = by_word.entry(tensor.relation.word()).or_default();
                x.push(nth as f64);
                y.push(distance.relative);
            }
        }
        if by_word.is_empty() {
            return None;
        }
        let all: Vec<f64> = by_word.values().flat_map(|(_, y)| y.iter().copied()).collect();
        let low = all.iter().copied().fold(f64::INFINITY, f64::min);
        let high = all.iter().copied().fold(0.0, f64::max);
        let alt = format!(
            "Distances of {} tensors lie between {} and {} of A's norm.",
            all.len(),
            short(low),
            short(high)
        );
        let (x, y) = (Axis::new("tensors, in the order of B"), Axis::new("distance over A's norm").log());
        let figure = Figure::new("distance", "Distance of each tensor", alt, x, y);
        Some(
            by_word
                .into_iter()
                .fold(figure, |figure, (word, (x, y))| figure.with(word, Shape::Points { x, y })),
        )
    }
}
