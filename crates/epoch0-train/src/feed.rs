//! From examples to what a network is given, and from what it answers to a loss.

use std::sync::OnceLock;

use epoch0_data::{Dataset, Inputs, Targets};
use epoch0_engine::{Device, Precision, Tensor, Value, Var, loss};
use epoch0_net::{GraphInputs, Network, ValueId};

use crate::Error;

/// How examples of a data set go into a network.
#[derive(Clone, Debug)]
pub struct Feed {
    /// One for each input of the network.
    sources: Vec<Source>,
    /// Whether each example is made one dimension.
    flatten: bool,
    /// Index of the output that the loss is of.
    output: usize,
    task: Task,
    /// Features and edges of the graph whose nodes are the examples, once they have been asked for.
    graph: OnceLock<[Value; 2]>,
}

/// What an input of the network is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The examples.
    Examples,
    /// 0, 1, 2… along each example.
    Positions,
    /// Zeros: one segment.
    Zeros,
    /// Features of all nodes of the graph.
    Features,
    /// Edges of the graph, both ways.
    Edges,
    /// Numbers of the examples in the graph.
    Nodes,
}

/// What a network is trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// The class of each example: cross-entropy, in nats.
    Classes,
    /// The token that follows each token: cross-entropy, in nats per token.
    NextToken,
    /// Numbers: the mean of squared errors.
    Values,
}

impl Task {
    /// Whether answers are right or wrong.
    pub const fn has_accuracy(self) -> bool {
        matches!(self, Self::Classes | Self::NextToken)
    }
}

/// The loss of a batch.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Mean over what was answered.
    pub mean: Var,
    /// How many answers it is the mean of.
    pub n_answers: usize,
}

/// Sizes for people: `[any, 784]`.
fn shown(sizes: &[Option<usize>]) -> String {
    let size = |size: &Option<usize>| size.map_or_else(|| "any".to_owned(), |size| size.to_string());
    format!("[{}]", sizes.iter().map(size).collect::<Vec<_>>().join(", "))
}

fn sizes(network: &Network, id: ValueId) -> Vec<Option<usize>> {
    network.value(id).dims.iter().map(|&axis| network.axis(axis).size).collect()
}

/// Whether an example fits behind the first dimension.
fn fits(sizes: &[Option<usize>], example: &[usize]) -> bool {
    sizes.len() == example.len() + 1
        && sizes[1..].iter().zip(example).all(|(allowed, found)| allowed.is_none_or(|size| size == *found))
}

impl Feed {
    /// Of these data into that network.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when they do not belong together.
    pub fn new(network: &Network, data: &Dataset) -> Result<Self, Error> {
        let asking = Asking { network, data };
        let task = match data.train.targets() {
            Targets::Classes(_) => Task::Classes,
            Targets::Next(_) => Task::NextToken,
            Targets::Values(_) => Task::Values,
            Targets::None => {
                return Err(asking.mismatch("has to be told what to answer", "have no targets"));
            }
        };
        let (sources, flatten) = asking.sources()?;
        let output = asking.output(task)?;
        if let Some(test) = &data.test
            && test.input_shape() != data.train.input_shape()
        {
            let have = format!(
                "have inputs of shape {:?} to train on and {:?} to test on",
                data.train.input_shape(),
                test.input_shape()
            );
            return Err(asking.mismatch("takes inputs of one shape", have));
        }
        Ok(Self { sources, flatten, output, task, graph: OnceLock::new() })
    }

    /// Whether the network sees a whole graph at once, whatever examples it is asked for.
    pub fn sees_graph(&self) -> bool {
        self.sources.contains(&Source::Nodes)
    }

    /// How many examples make a batch: as many as asked, but all `n` of them where the network sees a whole graph.
    pub fn batch(&self, asked: usize, n: usize) -> usize {
        if self.sees_graph() { n } else { asked }
    }

    /// What the network is trained for.
    pub fn task(&self) -> Task {
        self.task
    }

    /// What the network is given for some examples.
    pub fn inputs(&self, inputs: &Inputs, precision: Precision, device: &Device) -> Vec<Value> {
        let shape = inputs.shape();
        let n_tokens = shape.get(1).copied().unwrap_or(1);
        let value = |source: &Source| match source {
            Source::Examples => match inputs.to_f32() {
                Some(array) => {
                    let array = if self.flatten { array.flattened() } else { array };
                    let (shape, values) = array.into_parts();
                    Value::constant(Tensor::from_f32(values, &shape, precision, device))
                }
                None => {
                    let Inputs::Tokens(tokens) = inputs else { unreachable!("only tokens are no numbers") };
                    Value::index(tokens.data().to_vec(), shape).expect("an array's own shape")
                }
            },
            Source::Positions => {
                Value::index((0..n_tokens as i64).collect(), &[1, n_tokens]).expect("as many positions")
            }
            Source::Zeros => Value::index(vec![0; n_tokens], &[1, n_tokens]).expect("as many zeros"),
            Source::Features => self.graph(inputs, precision, device)[0].clone(),
            Source::Edges => self.graph(inputs, precision, device)[1].clone(),
            Source::Nodes => {
                let Inputs::Nodes(nodes) = inputs else { unreachable!("a graph's examples are nodes") };
                let which: Vec<i64> = nodes.which().iter().map(|&node| node as i64).collect();
                let n = which.len();
                Value::index(which, &[n]).expect("as many nodes")
            }
        };
        self.sources.iter().map(value).collect()
    }

    /// Features and edges of the graph; those that were made before, where they are of that kind.
    fn graph(&self, inputs: &Inputs, precision: Precision, device: &Device) -> [Value; 2] {
        let make = || {
            let Inputs::Nodes(nodes) = inputs else { unreachable!("a graph's examples are nodes") };
            let (shape, values) = nodes.graph().features.clone().into_parts();
            let features = Value::constant(Tensor::from_f32(values, &shape, precision, device));
            let edges = nodes.graph().edge_index();
            let n_edges = edges.len() / 2;
            [features, Value::index(edges, &[2, n_edges]).expect("two ends for each edge")]
        };
        let kept = self.graph.get_or_init(make);
        let fits = kept[0]
            .real()
            .is_some_and(|var| var.value().precision() == precision && var.value().device() == *device);
        if fits { kept.clone() } else { make() }
    }

    /// The output that the loss is of, from all outputs of the network.
    ///
    /// # Errors
    /// When it is not real numbers.
    pub fn answer<'v>(&self, outputs: &'v [Value]) -> Result<&'v Var, Error> {
        let found = outputs.get(self.output).and_then(Value::real);
        found.ok_or_else(|| {
            Error::Engine(epoch0_engine::Error::Input {
                name: "output".to_owned(),
                found: "no real numbers".to_owned(),
                allowed: "real numbers".to_owned(),
            })
        })
    }

    /// The loss of an answer.
    ///
    /// # Errors
    /// When the answer has not the shape of the targets, or a label or token is not among what is answered.
    pub fn loss(&self, answer: &Var, targets: &Targets) -> Result<Loss, Error> {
        let (losses, n_answers) = match targets {
            Targets::Values(array) => {
                let shape = answer.shape();
                if answer.value().len() != array.data().len() {
                    return Err(epoch0_engine::Error::Input {
                        name: "targets".to_owned(),
                        found: format!("shape {:?}", array.shape()),
                        allowed: format!("as many numbers as the network answers, {shape:?}"),
                    }
                    .into());
                }
                let like = answer.value();
                let target =
                    Tensor::from_f32(array.data().to_vec(), &shape, like.precision(), &like.device());
                let sum = loss::squared_error(answer, &Var::constant(target))?.sum();
                (sum, array.data().len())
            }
            _ => {
                let labels = labels(targets);
                (loss::cross_entropy(answer, &labels)?.sum(), labels.len())
            }
        };
        Ok(Loss { mean: losses.scale(1.0 / n_answers as f64), n_answers })
    }

    /// Share of right answers; none for numbers.
    ///
    /// # Errors
    /// As [`Feed::loss`].
    pub fn accuracy(&self, answer: &Tensor, targets: &Targets) -> Result<Option<f64>, Error> {
        if !self.task.has_accuracy() {
            return Ok(None);
        }
        Ok(Some(loss::accuracy(answer, &labels(targets))?))
    }
}

fn labels(targets: &Targets) -> Vec<i64> {
    match targets {
        Targets::Classes(classes) => classes.labels.iter().map(|&label| i64::from(label)).collect(),
        Targets::Next(tokens) => tokens.data().to_vec(),
        Targets::Values(_) | Targets::None => Vec::new(),
    }
}

/// Whether network and data belong together.
struct Asking<'a> {
    network: &'a Network,
    data: &'a Dataset,
}

impl Asking<'_> {
    fn mismatch(&self, takes: impl Into<String>, have: impl Into<String>) -> Error {
        let hint = self.usual().map(|usual| format!("\nhint: {usual}")).unwrap_or_default();
        Error::Mismatch {
            network: self.network.name().to_owned(),
            data: self.data.name.clone(),
            takes: takes.into(),
            have: have.into(),
            hint,
        }
    }

    /// Networks that take these data.
    fn usual(&self) -> Option<String> {
        let train = &self.data.train;
        let shape = train.input_shape();
        let n_numbers: usize = shape.iter().product();
        let n_out = match train.targets() {
            Targets::Classes(classes) => classes.n_classes(),
            Targets::Values(array) => array.row_len(),
            Targets::Next(_) => self.data.vocabulary.as_ref()?.len(),
            Targets::None => return Some("name a data set with classes, values or text".to_owned()),
        };
        Some(match (train.inputs(), shape, train.targets()) {
            (Inputs::Nodes(_), _, _) => {
                format!("gcn:{n_numbers}-64-{n_out} takes the graph, mlp:{n_numbers}-512-{n_out} its nodes")
            }
            (Inputs::Tokens(_), [n_tokens], _) => {
                format!("gpt:layers=4,heads=4,embed=128,vocab={n_out},positions={n_tokens} takes them")
            }
            (_, [channels, side, other], Targets::Classes(_)) if side == other => format!(
                "mlp:{n_numbers}-512-{n_out} takes them, or resnet20,in={channels},size={side},classes={n_out}"
            ),
            _ => format!("mlp:{n_numbers}-512-{n_out} takes them"),
        })
    }

    /// What the inputs of a network of a graph's nodes are given.
    fn graph_sources(&self, inputs: GraphInputs) -> Result<Vec<Source>, Error> {
        let (network, train) = (self.network, &self.data.train);
        let Inputs::Nodes(_) = train.inputs() else {
            let takes = format!(
                "takes a graph with features of shape {}",
                shown(&sizes(network, network.inputs()[inputs.features]))
            );
            let is_tokens = matches!(train.inputs(), Inputs::Tokens(_));
            return Err(self.mismatch(takes, format!("{}, and no edges", self.have(is_tokens))));
        };
        let found = sizes(network, network.inputs()[inputs.features]);
        if !fits(&found, train.input_shape()) {
            return Err(self.mismatch(format!("takes features of shape {}", shown(&found)), self.have(false)));
        }
        let mut sources = vec![Source::Nodes; 3];
        (sources[inputs.features], sources[inputs.edges]) = (Source::Features, Source::Edges);
        Ok(sources)
    }

    fn sources(&self) -> Result<(Vec<Source>, bool), Error> {
        let (network, train) = (self.network, &self.data.train);
        if let Some(inputs) = network.graph_inputs() {
            return Ok((self.graph_sources(inputs)?, false));
        }
        let mut flatten = false;
        let mut sources = Vec::new();
        let mut taken = false;
        for &id in network.inputs() {
            let value = network.value(id);
            let name = value.name.as_deref().unwrap_or_default();
            let source = match name {
                "position_ids" => Source::Positions,
                "token_type_ids" => Source::Zeros,
                _ if taken => {
                    let takes = format!("also takes `{name}`");
                    return Err(self.mismatch(takes, "have one input for each example"));
                }
                _ => Source::Examples,
            };
            sources.push(source);
            if source != Source::Examples {
                continue;
            }
            taken = true;
            let sizes = sizes(network, id);
            let is_tokens = matches!(train.inputs(), Inputs::Tokens(_));
            let example = train.input_shape();
            let n_numbers: usize = example.iter().product();
            flatten = !is_tokens && example.len() > 1 && sizes.len() == 2;
            let fits = if flatten { fits(&sizes, &[n_numbers]) } else { fits(&sizes, example) };
            if value.is_index != is_tokens || !fits {
                let kind = if value.is_index { "tokens" } else { "numbers" };
                let takes = format!("takes {kind} of shape {}", shown(&sizes));
                return Err(self.mismatch(takes, self.have(is_tokens)));
            }
        }
        Ok((sources, flatten))
    }

    fn have(&self, is_tokens: bool) -> String {
        let example = self.data.train.input_shape();
        let kind = if is_tokens { "tokens" } else { "numbers" };
        let mut sizes = vec![None];
        sizes.extend(example.iter().copied().map(Some));
        let n_numbers: usize = example.iter().product();
        let total = if example.len() > 1 { format!(" ({n_numbers} for each)") } else { String::new() };
        format!("have {kind} of shape {}{total}", shown(&sizes))
    }

    /// The logits, where an output is so called, or the first output.
    fn output(&self, task: Task) -> Result<usize, Error> {
        let (network, train) = (self.network, &self.data.train);
        let is_logits = |id: &ValueId| network.value(*id).name.as_deref() == Some("logits");
        let index = network.outputs().iter().position(is_logits).unwrap_or(0);
        let Some(&id) = network.outputs().get(index) else {
            return Err(self.mismatch("answers nothing", "have targets"));
        };
        let sizes = sizes(network, id);
        let last = sizes.last().copied().flatten();
        let answers = format!("answers numbers of shape {}", shown(&sizes));
        match (task, train.targets()) {
            (Task::Classes, Targets::Classes(classes)) => {
                let n = classes.n_classes();
                if sizes.len() != 2 || last.is_some_and(|size| size != n) {
                    return Err(self.mismatch(answers, format!("have {n} classes")));
                }
            }
            (Task::NextToken, _) => {
                let n = self.data.vocabulary.as_ref().map_or(0, epoch0_data::Vocabulary::len);
                if sizes.len() != 3 || last.is_some_and(|size| size < n) {
                    return Err(self.mismatch(answers, format!("have {n} different tokens")));
                }
            }
            (_, Targets::Values(array)) => {
                let own: Option<usize> = sizes[1..].iter().copied().product();
                if own.is_some_and(|own| own != array.row_len()) {
                    let have = format!("have {} numbers to answer for each example", array.row_len());
                    return Err(self.mismatch(answers, have));
                }
            }
            _ => {}
        }
        Ok(index)
    }
}
