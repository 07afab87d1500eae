//! Examining a start.

use std::cell::Cell;
use std::sync::atomic::AtomicBool;

use epoch0_data::prepare::order;
use epoch0_data::{Dataset, Targets};
use epoch0_engine::{Batch, Device, Mode, Precision, Value, Weights, run};
use epoch0_examine::{Probe, Subject, Watch};
use epoch0_method::reading::{
    Examination, Finding, Health, NetworkSummary, ProbeSource, ProbeSummary, Reading, Severity,
};
use epoch0_method::{Info, Values};
use epoch0_net::{Network, Op, Source};
use epoch0_train::Feed;

use crate::Error;

/// The examiner that looks at filters besides, where there are convolutions.
const OF_CONVOLUTIONS: &str = "filters";
/// The examiner that looks at neurons besides, where some spike.
const OF_NEURONS: &str = "spikes";

/// Examiners that look at every start, in the order in which readings are shown: those that take about as long as a step
/// of training.
pub const USUAL: &[&str] = &["propagation", "igb", "parameters"];

/// All examiners, in the order in which readings are shown.
pub const ALL: &[&str] = &[
    "propagation",
    "jacobian",
    "igb",
    "gradient_noise",
    "curvature",
    "ntk",
    "pntk",
    "parameters",
    "filters",
    "spikes",
    "mdl",
];

/// Values that an examination may keep, over all examples.
const VALUES: usize = 150_000_000;

/// Told the share of the work that is done and what is done next.
pub type Said<'a> = dyn Fn(f64, &str) + 'a;

/// How a start is examined.
#[derive(Clone, Copy, Default)]
pub struct Examining<'a> {
    /// Examiners with values of their parameters; when empty [`USUAL`], and `filters` where there are convolutions, `spikes` where there are neurons that spike.
    pub with: &'a [(String, Values)],
    /// Where the weights came from, for people.
    pub start: &'a str,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Once true, the work ends with an error.
    pub cancel: Option<&'a AtomicBool>,
    /// Called with the share of the work that is done and what is done next.
    pub progress: Option<&'a Said<'a>>,
}

/// Examines a start with a probe: all readings, and the state that they come to. Of an examiner that cannot read this start
/// the reading says why, as long as another can.
///
/// # Errors
/// When an examiner is unknown, or none can read the start.
pub fn examine(
    network: &Network,
    weights: &Weights,
    probe: &Probe,
    options: &Examining<'_>,
) -> Result<Examination, Error> {
    let has_filters =
        network.nodes().iter().any(|node| matches!(node.op, Op::Conv { transposed: false, .. }));
    let spikes = network.spiking_steps().map(|_| &OF_NEURONS);
    let usual = USUAL.iter().chain(has_filters.then_some(&OF_CONVOLUTIONS)).chain(spikes);
    let usual: Vec<(String, Values)> = usual.map(|id| ((*id).to_owned(), Values::new())).collect();
    let asked = if options.with.is_empty() { &usual[..] } else { options.with };
    let examiners = asked
        .iter()
        .map(|(id, values)| {
            let entry = epoch0_examine::find(id)?;
            Ok((entry.info, (entry.build)(values)?))
        })
        .collect::<Result<Vec<_>, epoch0_method::Error>>()?;
    let subject = Subject { network, weights, probe, seed: options.seed };
    let mut readings = Vec::with_capacity(examiners.len());
    let (mut n_read, mut failure) = (0, None);
    for (at, (info, examiner)) in examiners.iter().enumerate() {
        let said = Cell::new(-1.0);
        let progress = |share: f64| {
            if let Some(progress) = options.progress
                && share - said.get() >= 0.01
            {
                said.set(share);
                progress((at as f64 + share) / examiners.len() as f64, info.id);
            }
        };
        let watch = Watch { cancel: options.cancel, progress: Some(&progress) };
        readings.push(match examiner.examine(&subject, watch) {
            Ok(reading) => {
                n_read += 1;
                reading
            }
            Err(error @ epoch0_examine::Error::Cancelled) => return Err(error.into()),
            Err(error) => {
                let reading = unread(info, &error);
                failure.get_or_insert(error);
                reading
            }
        });
    }
    if let (0, Some(failure)) = (n_read, failure) {
        return Err(failure.into());
    }
    let summary = summary(network, options.start);
    Ok(Examination::new(summary, probe.summary.clone(), options.seed, readings, crate::follow::versions()))
}

/// What is said of an examiner that cannot read a start.
fn unread(info: &Info, error: &epoch0_examine::Error) -> Reading {
    let text = error.to_string();
    let (why, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    let doc = info.doc();
    let title = doc.split_once(": ").map_or(info.id, |(title, _)| title);
    let mut reading = Reading::new(info.id, title, "It was not read.");
    let why = why.strip_prefix(info.id).map_or(why, |why| why.trim_start_matches([':', ' ']));
    let finding = Finding::new("not_read", Severity::Note, Health::Healthy, format!("Not read: {why}."));
    reading.findings.push(if hint.is_empty() { finding } else { finding.help(hint) });
    reading
}

/// A network, in short, for reports.
pub fn summary(network: &Network, start: &str) -> NetworkSummary {
    NetworkSummary {
        name: short(network.name()),
        source: match network.source() {
            Source::HuggingFace { architecture, .. } => architecture.clone(),
            Source::Zoo { .. } => "zoo".to_owned(),
            Source::Onnx { .. } => "ONNX".to_owned(),
            _ => "built by hand".to_owned(),
        },
        start: start.to_owned(),
        n_params: network.n_params(),
        n_sites: network.sites().len(),
        depth: network.sites().iter().map(|site| site.depth).max().unwrap_or(0),
        dtype: network.params().first().map_or_else(String::new, |param| param.dtype.to_string()),
    }
}

/// A specification of a hundred layers is no title.
fn short(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    match letters.len() {
        ..=64 => name.to_owned(),
        n => letters[..40].iter().chain(&['…']).chain(&letters[n - 16..]).collect(),
    }
}

/// A random probe that matches what the network takes, with as many examples as fit: from 8 to 256, or what the network
/// is bound to.
///
/// # Errors
/// When the network cannot be run.
pub fn matched_probe(
    network: &Network,
    weights: &Weights,
    examples: Option<usize>,
    seed: u64,
    precision: Precision,
    device: &Device,
) -> Result<Probe, Error> {
    let examples = match examples {
        Some(examples) => examples,
        None => as_many_as_fit(network, weights, seed, precision, device)?,
    };
    Ok(Probe::matched(network, examples, seed, precision, device)?)
}

fn as_many_as_fit(
    network: &Network,
    weights: &Weights,
    seed: u64,
    precision: Precision,
    device: &Device,
) -> Result<usize, Error> {
    let small = Probe::matched(network, 2, seed, precision, device)?;
    let mut values = 0;
    run(network, &weights.constants(), &small.inputs, Mode::Eval, &mut |done| {
        values += done.outputs.iter().filter_map(Value::real).map(|var| var.value().len()).sum::<usize>();
        Ok(())
    })?;
    Ok((VALUES / (values / small.len().max(1)).max(1)).clamp(8, 256))
}

/// A probe of data: examples of the training part, in an order that the seed decides, as the network takes them.
///
/// # Errors
/// When the data do not fit the network, or it cannot be run.
pub fn data_probe(
    network: &Network,
    weights: &Weights,
    data: &Dataset,
    examples: Option<usize>,
    seed: u64,
    precision: Precision,
    device: &Device,
) -> Result<Probe, Error> {
    let feed = Feed::new(network, data)?;
    let examples = match examples {
        Some(examples) => examples,
        None if feed.sees_graph() => data.train.len(),
        None => as_many_as_fit(network, weights, seed, precision, device)?,
    };
    let mut which = order(data.train.len(), seed, 0);
    which.truncate(examples);
    let inputs = data.train.inputs().pick(&which);
    let labels = match data.train.targets().pick(&which) {
        Targets::Classes(classes) => Some(classes.labels.iter().map(|&label| i64::from(label)).collect()),
        _ => None,
    };
    let summary = ProbeSummary {
        source: ProbeSource::Data,
        name: data.name.clone(),
        n_examples: which.len(),
        shape: data.train.input_shape().to_vec(),
        has_labels: labels.is_some(),
    };
    Ok(Probe { batch: Batch { inputs: feed.inputs(&inputs, precision, device), labels }, summary })
}
