//! What a data set is.

use std::path::PathBuf;
use std::sync::Arc;

use crate::array::Array;
use crate::{AnyArray, Error};

/// Examples to train on and to test on.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What it is, for people.
    pub name: String,
    /// Examples to train on.
    pub train: Examples,
    /// Examples to test on.
    pub test: Option<Examples>,
    /// The graph whose nodes are the examples.
    pub graph: Option<Arc<Graph>>,
    /// What the tokens stand for.
    pub vocabulary: Option<Vocabulary>,
    /// The files it was read from; empty if it was made.
    pub files: Vec<PathBuf>,
}

impl Dataset {
    /// A set without graph, vocabulary and files.
    pub fn new(name: impl Into<String>, train: Examples, test: Option<Examples>) -> Self {
        Self { name: name.into(), train, test, graph: None, vocabulary: None, files: Vec::new() }
    }
}

/// What networks are given, `[example, …]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Numbers. Images are `[example, channel, row, column]`.
    Values(Array<f32>),
    /// Bytes 0 to 255 that stand for 0 to 1, kept so because they take a quarter of the memory.
    Pixels(Array<u8>),
    /// Tokens `[example, position]`.
    Tokens(Array<i64>),
    /// Nodes of a graph: their features, `[node, feature]`, or the graph with what is asked of it.
    Nodes(Nodes),
}

/// Some nodes of a graph, as examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodes {
    graph: Arc<Graph>,
    which: Vec<usize>,
    shape: [usize; 2],
}

impl Nodes {
    /// These nodes of a graph.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn new(graph: Arc<Graph>, which: Vec<usize>) -> Self {
        let n = graph.n_nodes();
        assert!(which.iter().all(|&node| node < n), "nodes are below {n}");
        let shape = [which.len(), graph.features.row_len()];
        Self { graph, which, shape }
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Which nodes they are.
    pub fn which(&self) -> &[usize] {
        &self.which
    }
}

impl Inputs {
    /// Their shape, the number of examples first.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Values(array) => array.shape(),
            Self::Pixels(array) => array.shape(),
            Self::Tokens(array) => array.shape(),
            Self::Nodes(nodes) => &nodes.shape,
        }
    }

    /// As numbers; `None` for tokens.
    pub fn to_f32(&self) -> Option<Array<f32>> {
        match self {
            Self::Values(array) => Some(array.clone()),
            Self::Pixels(array) => Some(array.map(|&byte| f32::from(byte) / 255.0)),
            Self::Tokens(_) => None,
            Self::Nodes(nodes) => Some(nodes.graph.features.pick(&nodes.which)),
        }
    }

    /// Some examples, in the order asked for.
    ///
    /// # Panics
    /// When there is no such example.
    #[must_use]
    pub fn pick(&self, which: &[usize]) -> Self {
        match self {
            Self::Values(array) => Self::Values(array.pick(which)),
            Self::Pixels(array) => Self::Pixels(array.pick(which)),
            Self::Tokens(array) => Self::Tokens(array.pick(which)),
            Self::Nodes(nodes) => {
                let picked = which.iter().map(|&nth| nodes.which[nth]).collect();
                Self::Nodes(Nodes::new(Arc::clone(&nodes.graph), picked))
            }
        }
    }

    /// Each example as one dimension.
    #[must_use]
    pub fn flattened(self) -> Self {
        match self {
            Self::Values(array) => Self::Values(array.flattened()),
            Self::Pixels(array) => Self::Pixels(array.flattened()),
            flat @ (Self::Tokens(_) | Self::Nodes(_)) => flat,
        }
    }
}

/// A class for each example.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    /// The example's class, an index of `names`.
    pub labels: Vec<u32>,
    /// Names of all classes, those that no example has too.
    pub names: Arc<[String]>,
}

impl Classes {
    /// Classes named by their numbers.
    pub fn numbered(labels: Vec<u32>, n_classes: usize) -> Self {
        Self { labels, names: (0..n_classes).map(|class| class.to_string()).collect() }
    }

    /// How many classes there are.
    pub fn n_classes(&self) -> usize {
        self.names.len()
    }
}

/// What networks are to answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class.
    Classes(Classes),
    /// Numbers, `[example, …]`.
    Values(Array<f32>),
    /// For each token of the input the one that follows it, `[example, position]`.
    Next(Array<i64>),
    /// Nothing: inputs alone.
    None,
}

impl Targets {
    /// Those of some examples, in the order asked for.
    ///
    /// # Panics
    /// When there is no such example.
    #[must_use]
    pub fn pick(&self, which: &[usize]) -> Self {
        match self {
            Self::Classes(Classes { labels, names }) => Self::Classes(Classes {
                labels: which.iter().map(|&nth| labels[nth]).collect(),
                names: Arc::clone(names),
            }),
            Self::Values(array) => Self::Values(array.pick(which)),
            Self::Next(array) => Self::Next(array.pick(which)),
            Self::None => Self::None,
        }
    }
}

/// Inputs with their targets: at least one example, as many targets as inputs, every label below the number of classes
/// and every number finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    inputs: Inputs,
    targets: Targets,
}

impl Examples {
    /// Examples of the data set `of`.
    ///
    /// # Errors
    /// When one of the conditions above does not hold; the first that fails is named.
    pub fn new(of: &str, inputs: Inputs, targets: Targets) -> Result<Self, Error> {
        let bad =
            |place: String, found: String, allowed: &str| Err(Error::content(of, place, found, allowed));
        let Some(&n) = inputs.shape().first() else {
            return bad("the inputs' shape".into(), "[]".into(), "[example, …]");
        };
        if n == 0 {
            return bad("the number of examples".into(), "0".into(), "1 or more");
        }
        if inputs.shape().contains(&0) {
            return bad(
                "the inputs' shape".into(),
                format!("{:?}", inputs.shape()),
                "no dimension of size 0",
            );
        }
        let n_targets = match &targets {
            Targets::Classes(classes) => classes.labels.len(),
            Targets::Values(array) => array.n_rows(),
            Targets::Next(array) => array.n_rows(),
            Targets::None => n,
        };
        if n_targets != n {
            return bad("the number of targets".into(), n_targets.to_string(), &format!("{n}, as of inputs"));
        }
        if let Targets::Next(array) = &targets
            && array.shape() != inputs.shape()
        {
            let allowed = format!("{:?}, as of inputs", inputs.shape());
            return bad("the targets' shape".into(), format!("{:?}", array.shape()), &allowed);
        }
        if let Targets::Classes(Classes { labels, names }) = &targets
            && let Some(nth) = labels.iter().position(|&label| label as usize >= names.len())
        {
            let allowed = format!("0 to {} for {} classes", names.len().saturating_sub(1), names.len());
            return bad(format!("label {nth}"), labels[nth].to_string(), &allowed);
        }
        let not_finite = |array: &Array<f32>| array.data().iter().position(|value| !value.is_finite());
        let numbers = match &inputs {
            Inputs::Values(array) => Some(array),
            // Those of nodes that are not asked for are passed along edges.
            Inputs::Nodes(nodes) => Some(&nodes.graph.features),
            _ => None,
        };
        if let Some(array) = numbers
            && let Some(at) = not_finite(array)
        {
            let place = format!("input {}, element {}", at / array.row_len(), at % array.row_len());
            return bad(place, array.data()[at].to_string(), "finite numbers");
        }
        if let Targets::Values(array) = &targets
            && let Some(at) = not_finite(array)
        {
            let place = format!("target {}, element {}", at / array.row_len(), at % array.row_len());
            return bad(place, array.data()[at].to_string(), "finite numbers");
        }
        Ok(Self { inputs, targets })
    }

    /// What networks are given.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// What they are to answer.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Inputs and targets.
    pub fn into_parts(self) -> (Inputs, Targets) {
        (self.inputs, self.targets)
    }

    /// How many examples there are, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.inputs.shape()[0]
    }

    /// Shape of one input.
    pub fn input_shape(&self) -> &[usize] {
        &self.inputs.shape()[1..]
    }

    /// The classes, where the targets are classes.
    pub fn classes(&self) -> Option<&Classes> {
        match &self.targets {
            Targets::Classes(classes) => Some(classes),
            _ => None,
        }
    }

    /// Some examples, in the order asked for; `which` must not be empty.
    ///
    /// # Panics
    /// When `which` is empty or there is no such example.
    #[must_use]
    pub fn pick(&self, which: &[usize]) -> Self {
        assert!(!which.is_empty(), "at least one example is picked");
        Self { inputs: self.inputs.pick(which), targets: self.targets.pick(which) }
    }

    /// Each input as one dimension, for networks that take vectors. Tokens stay as they are.
    #[must_use]
    pub fn flattened(self) -> Self {
        Self { inputs: self.inputs.flattened(), targets: self.targets }
    }

    /// Other inputs with the same targets.
    ///
    /// # Errors
    /// When their number differs or one is not finite.
    pub fn with_inputs(self, of: &str, inputs: Inputs) -> Result<Self, Error> {
        Self::new(of, inputs, self.targets)
    }

    /// As arrays for a file: `inputs` and, unless there are none, `targets` (classes as i64).
    pub fn to_arrays(&self) -> Vec<(String, AnyArray)> {
        let inputs = match &self.inputs {
            Inputs::Values(array) => array.clone().into(),
            Inputs::Pixels(array) => array.clone().into(),
            Inputs::Tokens(array) => array.clone().into(),
            Inputs::Nodes(nodes) => nodes.graph.features.pick(&nodes.which).into(),
        };
        let targets = match &self.targets {
            Targets::Classes(classes) => {
                let labels: Vec<i64> = classes.labels.iter().map(|&label| i64::from(label)).collect();
                Some(Array::new([labels.len()], labels).expect("one dimension").into())
            }
            Targets::Values(array) => Some(array.clone().into()),
            Targets::Next(array) => Some(array.clone().into()),
            Targets::None => None,
        };
        let targets = targets.map(|array| ("targets".to_owned(), array));
        [("inputs".to_owned(), inputs)].into_iter().chain(targets).collect()
    }
}

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its label is trained on.
    Train,
    /// Its label chooses among runs.
    Validation,
    /// Its label is tested on.
    Test,
    /// Its label is not used.
    Unused,
}

/// A graph whose nodes are classified.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Undirected edges, each once, the smaller node first, sorted; no loops.
    pub edges: Vec<[u32; 2]>,
    /// `[node, feature]`.
    pub features: Array<f32>,
    /// Class of each node where it is known.
    pub labels: Vec<Option<u32>>,
    /// Names of the classes.
    pub class_names: Arc<[String]>,
    /// What each node is for.
    pub roles: Vec<Role>,
}

impl Graph {
    /// How many nodes there are.
    pub fn n_nodes(&self) -> usize {
        self.labels.len()
    }

    /// The nodes of a role, in rising order.
    pub fn nodes(&self, role: Role) -> Vec<usize> {
        (0..self.n_nodes()).filter(|&node| self.roles[node] == role).collect()
    }

    /// Both directions of all edges as networks take them: all sources, and then all targets.
    pub fn edge_index(&self) -> Vec<i64> {
        let ends = |nth: usize| self.edges.iter().map(move |edge| i64::from(edge[nth]));
        ends(0).chain(ends(1)).chain(ends(1)).chain(ends(0)).collect()
    }

    /// The nodes of a role as examples, with their classes; `None` if there are none with a known class.
    pub fn examples(self: &Arc<Self>, role: Role) -> Option<Examples> {
        let nodes: Vec<usize> =
            self.nodes(role).into_iter().filter(|&node| self.labels[node].is_some()).collect();
        if nodes.is_empty() {
            return None;
        }
        let labels = nodes.iter().filter_map(|&node| self.labels[node]).collect();
        let classes = Classes { labels, names: Arc::clone(&self.class_names) };
        let inputs = Inputs::Nodes(Nodes::new(Arc::clone(self), nodes));
        Some(Examples { inputs, targets: Targets::Classes(classes) })
    }

    /// The data set of this graph: its training and test nodes, and the graph.
    ///
    /// # Errors
    /// When no node is to be trained on, a label or an edge names nothing, or a feature is not finite.
    pub fn into_dataset(self, name: &str) -> Result<Dataset, Error> {
        let n = self.n_nodes();
        if let Some(edge) = self.edges.iter().find(|edge| edge.iter().any(|&node| node as usize >= n)) {
            return Err(Error::content(name, "an edge", format!("{edge:?}"), format!("nodes below {n}")));
        }
        let n_classes = self.class_names.len();
        if let Some(label) = self.labels.iter().flatten().find(|&&label| label as usize >= n_classes) {
            return Err(Error::content(name, "a label", label, format!("classes below {n_classes}")));
        }
        if self.features.n_rows() != n || self.roles.len() != n {
            let found = format!("{} features and {} roles", self.features.n_rows(), self.roles.len());
            return Err(Error::content(name, "the number of nodes", found, format!("{n}, as of labels")));
        }
        let graph = Arc::new(self);
        let none = || Error::content(name, "the number of training nodes with a class", 0, "1 or more");
        let train = graph.examples(Role::Train).ok_or_else(none)?;
        let (inputs, targets) = train.into_parts();
        let train = Examples::new(name, inputs, targets)?;
        let test = graph.examples(Role::Test);
        Ok(Dataset { graph: Some(graph), ..Dataset::new(name, train, test) })
    }
}

/// What tokens stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Token 0 to 255 is a byte.
    Bytes,
    /// Token `i` is the `i`th of these characters, which are sorted.
    Characters(Arc<[char]>),
}

impl Vocabulary {
    /// How many tokens there are.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Characters(characters) => characters.len(),
        }
    }

    /// The text that tokens stand for; what is no token or no UTF-8 is shown as `�`.
    pub fn decode(&self, tokens: &[i64]) -> String {
        let known = |token: i64| usize::try_from(token).ok();
        match self {
            Self::Bytes => {
                let bytes: Vec<u8> =
                    tokens.iter().map(|&token| u8::try_from(token).unwrap_or(0xff)).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Self::Characters(characters) => tokens
                .iter()
                .map(|&token| {
                    known(token).and_then(|token| characters.get(token)).copied().unwrap_or('\u{fffd}')
                })
                .collect(),
        }
    }
}
