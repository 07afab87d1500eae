//! NTK: the neural tangent kernel, which directions of the data a start learns, how fast, and whether labels lie there.
//!
//! # Idea
//! To first order a step on one example moves the answer at another by the tangent kernel `Θ(x, x') = ∇f(x)·∇f(x')`. Its
//! eigenvalues are the speeds at which directions of the data are learned: the largest bounds the learning rate, the
//! smallest says what is learned last, and where all examples have one direction nothing tells them apart. Its alignment
//! with the labels says how much of the fast directions is of use. Look at it with `--data`, to compare starts.
//!
//! # Method
//! Over `examples`, with O outputs, the kernel is the mean over outputs of their own kernels, `K = Σ_o Θ_oo / O`; with more
//! than `outputs` of them that of their normalized sum (`pntk`), which is close to it at a wide start. Both from what weights
//! meet and what comes back to them, without a Jacobian being formed. Readings:
//! - `trace`, `lambda_max`, `lambda_min`, `condition = λ_max/λ_min`
//! - `effective_rank`, exponential of the spectrum's entropy (Roy and Vetterli 2007), and `participation`, `(Σλ)²/Σλ²`
//! - `alignment`, the cosine of the centred kernel and that of the classes (Cortes et al. 2012), −1 to 1, with labels
//! - `cosine`, the mean of `K(x, x')/√(K(x, x) K(x', x'))` over pairs
//! - `learning_rate_limit`, `2 n/λ_max` for `Σ ‖f − y‖²/(2n)`
//! - for each parameter its share of the trace: where learning takes place
//!
//! Collapsed where `1 − cosine` is below 10⁻⁵: in single precision the examples then have one gradient. A condition number
//! above `condition` is a warning: gradient descent takes as many steps as that for the slowest direction.
//!
//! # Shapes
//! Any network whose first output of real numbers has a row for each example. Batch normalization uses the statistics of
//! the inputs, held fast.
//!
//! # Cost
//! A forward pass, a backward pass for each output (one beyond `outputs`), n² products of gradients by layer, and n³ for
//! eigenvalues.
//!
//! # Departures
//! The kernel is that of this start at its width, not its limit; blocks between different outputs are left out, which are
//! zero in the limit.
//!
//! # Traps
//! - Equal examples make the kernel singular, whatever the start; words drawn at random may repeat.
//! - Fewer learned numbers than examples do the same.
//! - Random labels have an alignment of 0 on average: it is read with labels of data only.
//!
//! # Example
//! ```
//! let ntk = epoch0_examine::find("tangent_kernel").unwrap();
//! assert_eq!(ntk.info.id, "ntk");
//! ```
//!
//! # References
//! - [jacot2018neural]
//! - [xiao2019disentangling], for what the spectrum says of depth
//! - [cortes2012algorithms], for the alignment

mod claims;

use epoch0_engine::kernel::{Gram, Spectrum};
use epoch0_engine::taps::Taps;
use epoch0_engine::{Mode, ntk};
use epoch0_method::reading::{
    Axis, Bound, Cell, Column, Figure, Finding, Health, Kind, Place, Quantity, Reading, Severity, Shape,
    Table,
};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};

use crate::shared::inputs::{settled, within};
use crate::shared::kernel::{heatmap, label_alignment, spectrum_figure};
use crate::shared::show::{broken, percent, show};
use crate::{Examiner, Subject, Watch};

/// Real numbers that a run may keep.
const VALUES: usize = 1 << 27;
/// Below this `1 − cosine` gradients of examples are one in single precision.
const COLLAPSED: f64 = 1e-5;

/// Parameters of the kernel.
#[derive(Clone, Debug, Params)]
pub struct Ntk {
    /// Examples, fewer where memory asks for it.
    #[param(default = 64, range = "[2, 5000]")]
    pub examples: u32,
    /// Outputs whose own kernels are averaged at most; of more the kernel of their sum is taken.
    #[param(default = 16, range = "[1, 4096]")]
    pub outputs: u32,
    /// Condition number from which it is a warning.
    #[param(default = 1e6, range = "(1, inf)")]
    pub condition: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "ntk",
    aliases: &["tangent_kernel", "neural_tangent_kernel"],
    family: Family::Examine,
    papers: &["jacot2018neural", "xiao2019disentangling", "cortes2012algorithms"],
    source: include_str!("mod.rs"),
    params: Ntk::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, Error> {
    Ok(Box::new(Ntk::from_values(INFO.id, values)?))
}

/// What was found of a kernel.
struct Found {
    kernel: Gram,
    spectrum: Spectrum,
    cosine: f64,
    alignment: Option<f64>,
    /// Parameters with their share of the trace, the largest first.
    shares: Vec<(String, f64)>,
}

impl Examiner for Ntk {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, crate::Error> {
        watch.reach(0.0)?;
        let Subject { network, weights, .. } = *subject;
        let probe = within(subject, self.examples as usize, VALUES)?;
        let params = settled(network, weights, &subject.probe.inputs)?.leaves(network);
        watch.reach(0.1)?;
        let taps = Taps::record(network, &params, &probe.inputs, Mode::Eval)?;
        let (n, outputs) = (taps.examples(), taps.output()?.value().len() / taps.examples().max(1));
        watch.reach(0.3)?;
        let is_each = outputs <= self.outputs as usize;
        let kernel = if is_each { ntk::trace(&taps, None)? } else { ntk::pseudo(&taps, None)? };
        watch.reach(0.7)?;
        let what = if is_each {
            format!("mean over {outputs} outputs")
        } else {
            format!("sum of {outputs} outputs")
        };
        let mut reading = Reading::new(
            INFO.id,
            "Neural tangent kernel",
            format!("The kernel of the {what}, on {n} examples."),
        );
        if kernel.values().iter().any(|value| !value.is_finite()) {
            reading.findings.push(broken("The kernel is not finite."));
            return Ok(reading);
        }
        let found = Found {
            spectrum: kernel.spectrum()?,
            cosine: mean_cosine(&kernel),
            alignment: probe
                .labels
                .as_deref()
                .filter(|labels| labels.len() == n)
                .map(|labels| label_alignment(&kernel, labels))
                .filter(|alignment| alignment.is_finite()),
            shares: shares(&taps)?,
            kernel,
        };
        reading.findings = self.judge(&found, network.n_params());
        reading.quantities = quantities(&found, n);
        reading.figures = figures(&found);
        reading.tables.push(table(&found));
        watch.reach(1.0)?;
        Ok(reading)
    }
}

/// Mean over pairs of `K(x, x') / √(K(x, x) K(x', x'))`; NaN where there is none.
fn mean_cosine(kernel: &Gram) -> f64 {
    let n = kernel.rows();
    let (mut sum, mut pairs) = (0.0, 0usize);
    for row in 0..n {
        for column in 0..row {
            let scale = (kernel.at(row, row) * kernel.at(column, column)).sqrt();
            if scale > 0.0 {
                sum += kernel.at(row, column) / scale;
                pairs += 1;
            }
        }
    }
    sum / pairs as f64
}

/// Parameters with their shares of the trace of the kernel of the outputs' normalized sum.
fn shares(taps: &Taps<'_>) -> Result<Vec<(String, f64)>, epoch0_engine::Error> {
    let output = taps.output()?;
    let cotangent = output.value().full_like(1.0, &output.shape());
    let gradients = taps.backward(&[(output, cotangent)])?;
    let squares: Vec<_> = gradients
        .params()
        .map(|id| (id, gradients.squared_norms(|param| param == id).iter().sum::<f64>()))
        .collect();
    let sum: f64 = squares.iter().map(|(_, square)| square).sum();
    if sum <= 0.0 {
        return Ok(Vec::new());
    }
    let name = |id: epoch0_net::ParamId| taps.network().param(id).name.clone();
    let mut shares: Vec<_> = squares.into_iter().map(|(id, square)| (name(id), square / sum)).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(shares)
}

impl Ntk {
    fn judge(&self, found: &Found, n_params: u64) -> Vec<Finding> {
        let spectrum = &found.spectrum;
        if spectrum.max() <= 0.0 {
            let what = "No parameter moves any answer: the kernel is zero.";
            return vec![
                Finding::new("tangent_kernel", Severity::Bad, Health::Vanishing, what)
                    .measured(spectrum.max(), "", Some(Bound::AtLeast(f64::MIN_POSITIVE)))
                    .reason("Gradient descent stands still where no gradient reaches any parameter.")
                    .help("Draw the weights: `epoch0 init`; leave at most the readout at zero."),
            ];
        }
        let mut findings = Vec::new();
        let apart = 1.0 - found.cosine;
        let bound = Bound::AtLeast(COLLAPSED);
        let reason = "A kernel that is the same for all pairs learns the mean of the targets and nothing else; in the ordered \
                      phase it comes to that with depth (Xiao et al. 2020).";
        findings.extend((!apart.is_nan()).then(|| {
            if bound.allows(apart) {
                let what =
                    format!("Gradients tell examples apart: their mean cosine is {}.", show(found.cosine));
                Finding::new("tangent_kernel", Severity::Ok, Health::Healthy, what)
                    .measured(apart, "", Some(bound))
                    .reason(reason)
            } else {
                let what = "All examples have one gradient: a step on one moves all answers alike.";
                let finding = Finding::new("tangent_kernel", Severity::Bad, Health::Collapsed, what)
                    .measured(apart, "", Some(bound))
                    .reason(reason)
                    .help(
                        "Weights on the edge of chaos (`epoch0 eoc`), normalization, or residual branches.",
                    );
                match found.shares.first() {
                    Some((name, _)) => finding.at(Place::new(name)),
                    None => finding,
                }
            }
        }));
        let condition = spectrum.condition();
        let is_small = n_params < found.kernel.rows() as u64;
        let bound = Bound::AtMost(self.condition);
        let reason = "Gradient descent at the largest rate takes as many steps as the condition number for the slowest direction.";
        findings.push(if bound.allows(condition) {
            let what = format!("The slowest direction is {} times slower than the fastest.", show(condition));
            Finding::new("condition", Severity::Ok, Health::Healthy, what).measured(condition, "", Some(bound)).reason(reason)
        } else if is_small {
            let what = "There are fewer learned numbers than examples: some directions of the data cannot be learned.";
            Finding::new("condition", Severity::Note, Health::Healthy, what).reason(reason)
        } else {
            let what = "Some directions of the data are learned much later than others, or never.";
            Finding::new("condition", Severity::Warn, Health::IllConditioned, what)
                .measured(condition, "", Some(bound))
                .reason(reason)
                .help("Examples that are not equal; a start nearer to the edge of chaos; normalization.")
        });
        findings
    }
}

fn quantities(found: &Found, examples: usize) -> Vec<Quantity> {
    let spectrum = &found.spectrum;
    let mut quantities = Vec::new();
    let mut say = |name: &str, label: &str, value: f64, help: &str| {
        if !value.is_nan() {
            quantities.push(Quantity::new(name, label, value, "").help(help));
        }
    };
    say("trace", "trace of the kernel", found.kernel.trace(), "");
    say("lambda_max", "largest eigenvalue", spectrum.max(), "");
    say("lambda_min", "smallest eigenvalue", spectrum.min(), "");
    say(
        "condition",
        "condition number",
        spectrum.condition(),
        "Directions of small eigenvalues are learned last.",
    );
    say(
        "effective_rank",
        "effective rank",
        spectrum.effective_rank(),
        "exp of the spectrum's entropy: how many directions learn.",
    );
    say("participation", "participation of eigenvalues", spectrum.participation(), "(Σλ)² / Σλ².");
    say("cosine", "mean cosine of two examples' gradients", found.cosine, "1 where all are one.");
    if let Some(alignment) = found.alignment {
        say(
            "alignment",
            "alignment with the labels",
            alignment,
            "Cosine of the centred kernel and that of the classes.",
        );
    }
    if spectrum.max() > 0.0 {
        say(
            "learning_rate_limit",
            "rate from which gradient descent on squares diverges",
            spectrum.learning_rate_limit(examples),
            "2 n / λ_max for the mean over examples.",
        );
    }
    quantities
}

fn figures(found: &Found) -> Vec<Figure> {
    let mut figures = vec![spectrum_figure(found.spectrum.values()), heatmap(&found.kernel)];
    let shown: Vec<_> = found.shares.iter().take(24).collect();
    if let Some((name, share)) = shown.first() {
        let alt = format!("{} of the kernel comes from {name}.", percent(*share));
        figures.push(
            Figure::new(
                "shares",
                "Where learning takes place",
                alt,
                Axis::new("parameter").names(shown.iter().map(|(name, _)| name.clone())),
                Axis::new("share of the trace").unit("share"),
            )
            .with("share", Shape::Bars { y: shown.iter().map(|(_, share)| *share).collect() }),
        );
    }
    figures
}

fn table(found: &Found) -> Table {
    let mut table = Table::new(
        "parameters",
        "Parameters",
        [
            Column::new("parameter", "parameter", Kind::Text),
            Column::new("share", "share", Kind::Share).help("Share of the kernel's trace."),
        ],
    );
    for (name, share) in &found.shares {
        table.push([Cell::Text(name.clone()), Cell::Real(*share)]);
    }
    table
}
