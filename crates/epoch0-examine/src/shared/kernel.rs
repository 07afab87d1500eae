//! Kernels in figures, and against labels.

use epoch0_engine::kernel::Gram;
use epoch0_method::reading::{Axis, Figure, Shape};

/// Cosine of the centred kernel and the centred kernel of the classes (Cortes, Mohri and Rostamizadeh 2012); NaN where
/// one of them is zero.
pub(crate) fn label_alignment(kernel: &Gram, labels: &[i64]) -> f64 {
    let n = labels.len();
    let same = |at: usize| f64::from(u8::from(labels[at / n] == labels[at % n]));
    let target = Gram::new(n, n, (0..n * n).map(same).collect());
    kernel.centred().alignment(&target.centred())
}

/// Eigenvalues above zero, the largest first.
pub(crate) fn spectrum_figure(values: &[f64]) -> Figure {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| *value > 0.0).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let alt = format!(
        "Eigenvalues fall from {:.3e} to {:.3e}.",
        sorted.first().copied().unwrap_or(f64::NAN),
        sorted.last().copied().unwrap_or(f64::NAN)
    );
    let shape = Shape::Stems { x: (1..=sorted.len()).map(|rank| rank as f64).collect(), y: sorted };
    Figure::new(
        "spectrum",
        "Eigenvalues of the kernel",
        alt,
        Axis::new("rank"),
        Axis::new("eigenvalue").log(),
    )
    .with("eigenvalue", shape)
}

/// Examples that a picture of the kernel shows at most.
const SHOWN: usize = 64;

/// The kernel of the first examples, as colours.
pub(crate) fn heatmap(kernel: &Gram) -> Figure {
    let n = kernel.rows().min(SHOWN);
    let values = (0..n).map(|row| kernel.row(row)[..n].to_vec()).collect();
    let alt = format!("The kernel of the first {n} examples.");
    let shape = Shape::Heatmap { x: vec![], y: vec![], values, color: Axis::new("K(x, x')"), center: None };
    Figure::new("kernel", "The kernel", alt, Axis::new("example"), Axis::new("example")).with("kernel", shape)
}
