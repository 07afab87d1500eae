//! What a mean of networks came to, tensor by tensor.

use epoch0_inherit::merge::Comoments;
use serde::Serialize;

use super::{How, Merge, Merging};
use crate::report::pattern;

/// What several networks were made into.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Name of the network, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Which networks, and how.
    #[serde(flatten)]
    pub merging: Merging,
    /// How much was taken of each.
    pub shares: Vec<f64>,
    /// The seed.
    pub seed: u64,
    /// Element type of most of it.
    pub dtype: String,
    /// Number of elements.
    pub n_elements: u64,
    /// Bytes of the tensors.
    pub bytes: u64,
    /// What aligning each network after the first came to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aligned: Vec<Moved>,
    /// Tensors.
    pub tensors: Vec<Mean>,
    /// Tensors that differ in numbers in their names only, together.
    pub groups: Vec<MeanGroup>,
    /// What one should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Files that were copied as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copied: Vec<String>,
    /// The folder written; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// Names of the files written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Seconds that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// What aligning a network with the first came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// The network.
    pub parent: String,
    /// Axes that can be permuted: name, size, and how many places moved.
    pub axes: Vec<(String, usize, usize)>,
    /// Sum of products of its elements with the first network's, before and after.
    pub objective: [f64; 2],
    /// Passes over all axes.
    pub sweeps: usize,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// `mean`, `corrected` or `copied`.
    pub how: &'static str,
    /// What was measured; absent where it was copied.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// Standard deviations over the elements of a tensor; `null` in JSON where there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// In each network.
    pub std: Vec<f64>,
    /// Correlation of each pair: of the second with the first, the third with the first and the second…
    pub correlations: Vec<f64>,
    /// Mean of these.
    pub correlation: f64,
    /// Of the mean, by theory from the means of variances and correlations.
    pub predicted: f64,
    /// Of the mean, as it is.
    pub measured: f64,
    /// What its deviations were multiplied by.
    pub factor: f64,
}

/// Tensors that were treated alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeanGroup {
    /// Name, with `*` where names differ.
    pub name: String,
    /// Number of tensors.
    pub n_tensors: usize,
    /// Shape of each.
    pub shape: Vec<usize>,
    /// `mean`, `corrected` or `copied`.
    pub how: &'static str,
    /// Means over the tensors of what was measured.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

impl Spread {
    fn of(moments: &Comoments, shares: &[f64], factor: f64) -> Self {
        let n = moments.n_networks();
        Self {
            std: (0..n).map(|nth| moments.var(nth).sqrt()).collect(),
            correlations: (0..n)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| moments.corr(i, j))
                .collect(),
            correlation: moments.mean_corr(),
            predicted: moments.predicted_var(shares).sqrt(),
            measured: moments.var_of(shares).sqrt(),
            factor,
        }
    }

    /// Adds up; [`Spread::scaled`] makes means of it.
    fn add(&mut self, other: &Self) {
        let sum = |own: &mut Vec<f64>, other: &[f64]| own.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        sum(&mut self.std, &other.std);
        sum(&mut self.correlations, &other.correlations);
        self.correlation += other.correlation;
        self.predicted += other.predicted;
        self.measured += other.measured;
        self.factor += other.factor;
    }

    fn scaled(&mut self, by: f64) {
        self.std.iter_mut().chain(&mut self.correlations).for_each(|value| *value *= by);
        for value in [&mut self.correlation, &mut self.predicted, &mut self.measured, &mut self.factor] {
            *value *= by;
        }
    }
}

pub(super) fn of(merge: &Merge, merging: &Merging, seed: u64, moments: Vec<Option<Comoments>>) -> Average {
    let tensors: Vec<Mean> = merge
        .items
        .iter()
        .zip(moments)
        .map(|(item, moments)| {
            let spread = moments.map(|moments| {
                let factor = if merge.corrects(item) { merge.correction(item, &moments).0 } else { 1.0 };
                Spread::of(&moments, &merge.shares, factor)
            });
            let how = match item.how {
                How::Copied => "copied",
                How::Mean(_) if merge.corrects(item) => "corrected",
                How::Mean(_) => "mean",
            };
            Mean { name: item.name.clone(), shape: item.shape.clone(), how, spread }
        })
        .collect();
    let aligned = merge.parents.iter().filter_map(|parent| {
        let found = &parent.aligned.as_ref()?.found;
        Some(Moved {
            parent: parent.given.clone(),
            axes: found.axes.clone(),
            objective: found.objective,
            sweeps: found.sweeps,
        })
    });
    let first = &merge.parents[0];
    let dtype = merge.items.iter().map(|item| item.dtype).find(|dtype| dtype.is_float());
    Average {
        network: first.described.as_ref().map(|described| described.net.name().to_owned()),
        merging: merging.clone(),
        shares: merge.shares.clone(),
        seed,
        dtype: dtype.map_or_else(String::new, |dtype| dtype.to_string()),
        n_elements: merge.items.iter().map(|item| item.shape.iter().product::<usize>() as u64).sum(),
        bytes: first.checkpoint.total_bytes(),
        aligned: aligned.collect(),
        groups: groups(&tensors),
        tensors,
        notes: merge.notes.clone(),
        copied: Vec::new(),
        out: None,
        files: Vec::new(),
        seconds: None,
    }
}

fn groups(tensors: &[Mean]) -> Vec<MeanGroup> {
    let mut groups: Vec<MeanGroup> = Vec::new();
    for tensor in tensors {
        let like = groups.iter_mut().find_map(|group| {
            let is_like = group.shape == tensor.shape && group.how == tensor.how;
            pattern(&group.name, &tensor.name).filter(|_| is_like).map(|name| (group, name))
        });
        match like {
            Some((group, name)) => {
                group.name = name;
                group.n_tensors += 1;
                if let (Some(own), Some(other)) = (&mut group.spread, &tensor.spread) {
                    own.add(other);
                }
            }
            None => groups.push(MeanGroup {
                name: tensor.name.clone(),
                n_tensors: 1,
                shape: tensor.shape.clone(),
                how: tensor.how,
                spread: tensor.spread.clone(),
            }),
        }
    }
    for group in &mut groups {
        if let Some(spread) = &mut group.spread {
            spread.scaled(1.0 / group.n_tensors as f64);
        }
    }
    groups
}
