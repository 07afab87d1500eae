//! Starts that examiners are checked on.

use epoch0_engine::{Device, Elements, Precision, Tensor, Value, Weights};
use epoch0_examine::Probe;
use epoch0_net::{Network, Role, zoo};
use epoch0_num::{Law, Stream};

use crate::fixtures;

/// A network with weights and inputs.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) name: String,
    pub(super) network: Network,
    pub(super) weights: Weights,
    pub(super) probe: Probe,
}

impl Start {
    fn new(network: Network, examples: usize, labels: Option<i64>) -> Self {
        let (precision, device) = (Precision::Single, Device::cpu());
        let weights = Weights::read::<epoch0_engine::Error>(&network, precision, &device, |id, param| {
            if let Some(coefficients) = network.coefficients(id) {
                return Ok(Elements::Single(coefficients.into_iter().map(|c| c as f32).collect()));
            }
            let fan_in = network.sites_of(id).find_map(|site| site.fans).map_or(1.0, |fans| fans.in_);
            let law = match param.role {
                Role::NormScale | Role::LayerScale | Role::Scalar | Role::RunningVar => Law::constant(1.0),
                Role::Embedding | Role::Position => Law::normal(0.0, 1.0),
                role if role.is_matrix() => Law::normal(0.0, (2.0 / fan_in).sqrt()),
                _ => Law::constant(0.0),
            };
            let mut values = vec![0.0f32; param.len()];
            law.fill(&Stream::new(1, &param.name), 0, &mut values).expect("a law in range");
            Ok(Elements::Single(values))
        });
        let mut probe = Probe::matched(&network, examples, 3, precision, &device).expect("a probe");
        if let Some(classes) = labels {
            probe.batch.labels = Some((0..examples as i64).map(|at| at % classes).collect());
            probe.summary.has_labels = true;
        }
        Self {
            name: format!("{} on {examples}", network.name()),
            weights: weights.expect("weights"),
            network,
            probe,
        }
    }

    /// The start with every weight changed.
    fn with(mut self, name: &str, change: impl Fn(f32) -> f32) -> Self {
        let changed: Vec<_> = self
            .weights
            .iter()
            .filter(|(id, _)| !self.network.param(*id).role.is_buffer())
            .map(|(id, value)| {
                let values = value.to_f32().into_iter().map(&change).collect();
                (id, Tensor::from_f32(values, &value.shape(), value.precision(), &value.device()))
            })
            .collect();
        changed.into_iter().for_each(|(id, value)| self.weights.set(id, value));
        self.name = format!("{name} {}", self.name);
        self
    }

    /// All bits of weights and inputs.
    pub(super) fn bits(&self) -> Vec<u64> {
        let of = |tensor: &Tensor| tensor.to_f64().into_iter().map(f64::to_bits).collect::<Vec<_>>();
        let inputs = self.probe.inputs.iter().flat_map(|input| match input {
            Value::Real(var) => of(var.value()),
            Value::Index(words) => words.iter().map(|&word| word as u64).collect(),
            Value::Truth(truths) => truths.iter().map(|&truth| u64::from(truth)).collect(),
        });
        self.weights.iter().flat_map(|(_, value)| of(value)).chain(inputs).collect()
    }
}

fn zoo(spec: &str, examples: usize, labels: Option<i64>) -> Start {
    Start::new(zoo::build(spec).expect("a network of the zoo"), examples, labels)
}

/// Small networks of every kind whose starts are healthy.
pub(super) fn healthy() -> Vec<Start> {
    vec![
        zoo("mlp:12-24-24-5", 16, Some(5)),
        zoo("mlp:12-24-24-1,act=tanh", 12, None),
        zoo("mlp:12-24-24-5,norm=batch", 16, None),
        zoo("lenet:size=16,classes=3", 8, None),
        zoo("gpt:layers=1,heads=2,embed=8,vocab=11,positions=8", 6, None),
        zoo("kat:layers=1,heads=2,embed=16,groups=4,size=8,classes=5", 8, Some(5)),
        zoo("mlp:12-24-24-5,norm=batch,shift=3", 16, Some(5)),
        zoo("mlp:12-24-24-5,norm=batch,templates=2", 16, Some(5)),
        zoo("mlp:12-24-24-5,spiking=3", 16, Some(5)),
    ]
}

/// One unit, one layer, one example, several outputs, tied tables.
pub(super) fn edges() -> Vec<Start> {
    let mut starts = Vec::new();
    for examples in [1, 2] {
        for spec in ["mlp:1-1", "mlp:1-7-1", "mlp:5-3", "mlp:1-1-2,norm=batch", "mlp:2-1-2,bias=false"] {
            starts.push(zoo(spec, examples, None));
        }
        starts.push(zoo("gpt:layers=1,heads=1,embed=2,vocab=2,positions=2", examples, None));
        starts.extend(fixtures::edges().into_iter().skip(3).map(|net| Start::new(net, examples, None)));
        starts.push(zoo("mlp:5-4-3", examples, None).with("all zero", |_| 0.0));
    }
    starts
}

/// Starts that something is wrong with.
pub(super) fn sick() -> Vec<Start> {
    let deep = "mlp:12-16-16-16-16-16-16-16-16-16-16-5";
    vec![
        zoo(deep, 16, None).with("eightfold", |x| 8.0 * x),
        zoo(deep, 16, None).with("tenth of", |x| 0.1 * x),
        zoo(deep, 16, None).with("all zero", |_| 0.0),
        zoo("mlp:12-16-16-5,act=tanh", 16, Some(5)).with("hundredfold", |x| 100.0 * x),
        zoo("mlp:12-16-16-5", 16, Some(5)).with("biased", f32::abs),
    ]
}

/// Starts with NaN in every weight, and with one that overflows.
pub(super) fn broken() -> Vec<Start> {
    vec![
        zoo("mlp:12-16-5", 8, None).with("NaN in", |_| f32::NAN),
        zoo("gpt:layers=1,heads=2,embed=8,vocab=11,positions=8", 4, None).with("NaN in", |_| f32::NAN),
    ]
}
