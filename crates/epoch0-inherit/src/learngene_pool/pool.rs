//! Networks of a pool, and what is stitched of them.

use std::fmt;

use epoch0_data::Dataset;
use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_method::Error;
use epoch0_net::{Builder, Link, Network, ParamId, Role, Source, ValueId};
use epoch0_num::Dtype;
use epoch0_train::lesson::Lesson;
use epoch0_train::{Observer, Path, Settings, Status, Trainer};
use serde::{Deserialize, Serialize};

use super::stitch::{Map, Pair, shared};
use super::{ID, Sample};
use crate::adapter::Matrix;
use crate::pair::refuse;

/// What a network's features are made of the ancestry's: `M x + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// The block behind which they are.
    pub after: usize,
    /// Whether they are what attention adds in that block, and not what the block answers.
    pub of_attention: bool,
    /// M, `[own width, ancestry's width]`.
    pub matrix: Matrix,
    /// b.
    pub bias: Vec<f64>,
}

/// A network of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The network.
    pub network: Network,
    /// Its weights.
    pub weights: Weights,
    /// What it learned of the ancestry.
    pub transforms: Vec<Transform>,
}

/// One of the networks that a pool makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Build {
    /// A member as it is.
    Member(usize),
    /// Two of them.
    Stitched {
        /// The member whose first blocks are taken.
        front: usize,
        /// The member whose last blocks are taken.
        end: usize,
        /// The last block of the front.
        after: usize,
        /// The first block of the end.
        before: usize,
        /// Which of the pair's maps stands between.
        stitch: usize,
    },
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => write!(f, "{member}"),
            Self::Stitched { front, end, after, before, .. } => {
                write!(f, "{front}[0..{after}] → {end}[{before}..]")
            }
        }
    }
}

/// What a network of a pool takes and is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    /// Which one.
    pub build: Build,
    /// Learned numbers.
    pub n_params: u64,
    /// Multiply-adds for an example; none where its length is not known.
    pub multiply_adds: Option<u64>,
}

/// How a network of a pool answers.
#[derive(Clone, Debug, Serialize)]
pub struct Tested {
    /// Which one.
    #[serde(flatten)]
    pub of: Described,
    /// Mean loss of the test examples.
    pub loss: f64,
    /// Share of right answers, where answers are right or wrong.
    pub accuracy: Option<f64>,
}

/// Networks that came of one, and maps that stitch them.
#[derive(Clone, Debug)]
pub struct Pool {
    networks: Vec<Network>,
    /// Members that are stitched: front, then end.
    stitched: Vec<(usize, usize)>,
    window: usize,
    /// All parameters in one network: `0.…`, `1.…` of members, `stitch.F-E.N.…` and `transform.K.…`.
    whole: Network,
    weights: Weights,
}

/// The pairs of a member's inputs and what stands in their place, given those of another that takes the same.
pub(super) fn same_inputs(
    given: &[(ValueId, ValueId)],
    network: &Network,
) -> Result<Vec<(ValueId, ValueId)>, String> {
    let inputs = network.inputs();
    if inputs.len() != given.len() {
        return Err(format!("{} takes {} inputs and not {}", network.name(), inputs.len(), given.len()));
    }
    Ok(inputs.iter().copied().zip(given.iter().map(|pair| pair.1)).collect())
}

/// A parameter of the whole that belongs to no member, with its shape.
type Extra = (String, Vec<usize>);

fn joined(networks: &[Network], extra: &[Extra]) -> Result<Network, Error> {
    let mut b = Builder::new("pool", Source::Built, Dtype::F32);
    let given = networks.first().map(|first| b.inputs_of(first)).unwrap_or_default();
    let hint = "put networks in a pool that are given the same, in as many positions";
    for (nth, network) in networks.iter().enumerate() {
        let theirs = same_inputs(&given, network).map_err(|why| refuse(ID, network.name(), &why, hint))?;
        let outputs = b.graft(network, &format!("{nth}."), &theirs, network.outputs());
        for (ours, &theirs) in outputs.into_iter().zip(network.outputs()) {
            b.output(ours, network.value(theirs).name.as_deref().unwrap_or("output"));
        }
    }
    for (name, shape) in extra {
        let role = if shape.len() > 1 { Role::Weight } else { Role::Bias };
        b.param(name, shape, role);
    }
    b.finish().map_err(|error| refuse(ID, "the pool", &error.to_string(), hint))
}

/// Name of a transformation in the whole.
fn called(member: usize, transform: &Transform) -> String {
    let of = if transform.of_attention { "attention" } else { "features" };
    format!("transform.{member}.{of}.{}", transform.after)
}

impl Pool {
    /// Of networks that came of one.
    ///
    /// # Errors
    /// When they do not take the same inputs.
    pub fn new(members: &[Member]) -> Result<Self, Error> {
        let networks: Vec<Network> = members.iter().map(|member| member.network.clone()).collect();
        let mut values = Vec::new();
        for (nth, member) in members.iter().enumerate() {
            for transform in &member.transforms {
                let (rows, columns) = (transform.matrix.rows(), transform.matrix.columns());
                let name = called(nth, transform);
                let weight = (format!("{name}.weight"), vec![rows, columns]);
                values.push((weight, transform.matrix.values().to_vec()));
                values.push(((format!("{name}.bias"), vec![rows]), transform.bias.clone()));
            }
        }
        let extra: Vec<Extra> = values.iter().map(|(extra, _)| extra.clone()).collect();
        let whole = joined(&networks, &extra)?;
        let weights = read(&whole, |name| {
            if let Some((nth, own)) =
                name.split_once('.').and_then(|(nth, own)| Some((nth.parse().ok()?, own)))
            {
                let member: &Member = members.get::<usize>(nth)?;
                return member.weights.get(member.network.find(own)?).map(Tensor::to_f64);
            }
            values.iter().find(|((extra, _), _)| extra == name).map(|(_, value)| value.clone())
        })?;
        Ok(Self { networks, stitched: Vec::new(), window: 0, whole, weights })
    }

    /// Of what a file holds: members, what is stitched, the window, and parameters by name; `read` gives the shape of one, and
    /// its values.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn restored(
        networks: Vec<Network>,
        stitched: Vec<(usize, usize)>,
        window: usize,
        names: &[Extra],
        mut values: impl FnMut(&str) -> Result<Vec<f32>, Error>,
    ) -> Result<Self, Error> {
        let is_extra = |(name, _): &&Extra| name.starts_with("transform.") || name.starts_with("stitch.");
        let extra: Vec<Extra> = names.iter().filter(is_extra).cloned().collect();
        let whole = joined(&networks, &extra)?;
        let mut failure = None;
        let weights = read(&whole, |name| match values(name) {
            Ok(values) => Some(values.into_iter().map(f64::from).collect()),
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        let pool = Self { networks, stitched, window, whole, weights: weights? };
        pool.paths(Sample::Uniform)?;
        Ok(pool)
    }

    /// The networks.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// Members that are stitched: front and end.
    pub fn stitched(&self) -> &[(usize, usize)] {
        &self.stitched
    }

    /// Blocks in a window of stitching.
    pub fn window(&self) -> usize {
        self.window
    }

    /// All parameters, as those of one network.
    pub fn whole(&self) -> (&Network, &Weights) {
        (&self.whole, &self.weights)
    }

    /// Transformations of a member: by block, of its features or of attention.
    pub(super) fn transforms(&self, member: usize) -> Vec<Transform> {
        let prefix = format!("transform.{member}.");
        let read = |name: &str| {
            let id = self.whole.find(name)?;
            Some((self.whole.param(id).shape.clone(), self.weights.get(id)?.to_f64()))
        };
        let transforms = self.whole.params().iter().filter_map(|param| {
            let name = param.name.strip_suffix(".weight")?;
            let (of, after) = name.strip_prefix(&prefix)?.split_once('.')?;
            let (shape, values) = read(&param.name)?;
            Some(Transform {
                after: after.parse().ok()?,
                of_attention: of == "attention",
                matrix: Matrix::new(shape[0], shape[1], values),
                bias: read(&format!("{name}.bias"))?.1,
            })
        });
        transforms.collect()
    }

    /// Every network that it makes: its members, then what is stitched of them.
    pub fn builds(&self) -> Vec<Build> {
        let mut builds: Vec<Build> = (0..self.networks.len()).map(Build::Member).collect();
        for &(front, end) in &self.stitched {
            let pairs = shared(self.networks[front].blocks().len(), self.window);
            builds.extend(pairs.into_iter().map(|Pair { after, before, stitch }| Build::Stitched {
                front,
                end,
                after,
                before,
                stitch,
            }));
        }
        builds
    }

    /// A network, and what the whole calls its parameters.
    fn part(&self, build: Build) -> Result<(Network, impl Fn(&str) -> String + use<>), Error> {
        let (network, prefixes) = match build {
            Build::Member(member) => (self.networks[member].clone(), [format!("{member}."), String::new()]),
            Build::Stitched { front, end, after, before, stitch } => {
                let network = stitch_network(&self.networks[front], &self.networks[end], after, before)?;
                (network, [format!("{front}."), format!("stitch.{front}-{end}.{stitch}.")])
            }
        };
        let end = match build {
            Build::Member(_) => String::new(),
            Build::Stitched { end, .. } => format!("{end}."),
        };
        let [front, stitch] = prefixes;
        let is_member = matches!(build, Build::Member(_));
        let named = move |name: &str| match name.split_once('.') {
            _ if is_member => format!("{front}{name}"),
            Some(("front", own)) => format!("{front}{own}"),
            Some(("end", own)) => format!("{end}{own}"),
            Some(("stitch", own)) => format!("{stitch}{own}"),
            _ => name.to_owned(),
        };
        Ok((network, named))
    }

    /// A network with its weights.
    ///
    /// # Errors
    /// When the pool does not make it.
    pub fn built(&self, build: Build) -> Result<(Network, Weights), Error> {
        let path = self.path(build, 1.0)?;
        Ok((path.network().clone(), path.weights(&self.weights)))
    }

    fn path(&self, build: Build, share: f64) -> Result<Path, Error> {
        let (network, named) = self.part(build)?;
        Path::new(&self.whole, network, share, named)
            .map_err(|error| refuse(ID, &build.to_string(), &error.to_string(), "stitch the pool again"))
    }

    fn paths(&self, sample: Sample) -> Result<Vec<Path>, Error> {
        let builds = self.builds();
        let n_stitched = (builds.len() - self.networks.len()) as f64 / self.stitched.len().max(1) as f64;
        let share = |build: &Build| match (sample, build) {
            (Sample::Balanced, Build::Stitched { .. }) => 1.0 / n_stitched,
            _ => 1.0,
        };
        builds.iter().map(|build| self.path(*build, share(build))).collect()
    }

    /// The same pool with `stitched` members and maps between them.
    pub(super) fn with_stitches(
        &self,
        stitched: Vec<(usize, usize)>,
        window: usize,
        maps: &[((usize, usize), Vec<Map>)],
    ) -> Result<Self, Error> {
        let mut extra: Vec<(Extra, Vec<f64>)> = Vec::new();
        for ((front, end), maps) in maps {
            let net = &self.networks[*front];
            let rank = |chain: &[Link]| net.value(chain[0].read).dims.len();
            // Over space a map is a convolution.
            let space = net.chain().map_or(0, |chain| rank(&chain)).saturating_sub(2);
            let space = if space > 1 { space } else { 0 };
            for (nth, map) in maps.iter().enumerate() {
                let name = format!("stitch.{front}-{end}.{nth}");
                let shape = [map.matrix.rows(), map.matrix.columns()].into_iter();
                let shape = shape.chain(std::iter::repeat_n(1, space)).collect();
                extra.push(((format!("{name}.weight"), shape), map.matrix.values().to_vec()));
                extra.push(((format!("{name}.bias"), vec![map.matrix.rows()]), map.bias.clone()));
            }
        }
        let kept = self.whole.params().iter().filter(|param| param.name.starts_with("transform."));
        let kept = kept.map(|param| (param.name.clone(), param.shape.clone()));
        let names: Vec<Extra> = kept.chain(extra.iter().map(|(extra, _)| extra.clone())).collect();
        let whole = joined(&self.networks, &names)?;
        let weights = read(&whole, |name| {
            let own = || self.weights.get(self.whole.find(name)?).map(Tensor::to_f64);
            let new = extra.iter().find(|((extra, _), _)| extra == name);
            new.map(|(_, values)| values.clone()).or_else(own)
        })?;
        let pool = Self { networks: self.networks.clone(), stitched, window, whole, weights };
        pool.paths(Sample::Uniform)?;
        Ok(pool)
    }

    /// What each of its networks takes.
    ///
    /// # Errors
    /// When one cannot be built.
    pub fn described(&self) -> Result<Vec<Described>, Error> {
        let of = |build: Build| {
            let (network, _) = self.part(build)?;
            let (n_params, multiply_adds) = (network.n_params(), network.multiply_adds(None));
            Ok(Described { build, n_params, multiply_adds })
        };
        self.builds().into_iter().map(of).collect()
    }

    fn trainer<'a>(
        &'a self,
        paths: &'a [Path],
        data: &'a Dataset,
        settings: Settings,
    ) -> Result<Trainer<'a>, Error> {
        let trainer = Trainer::new(&self.whole, self.weights.clone(), data, settings);
        let trainer = trainer.and_then(|trainer| trainer.with_paths(paths));
        let hint = "give data that its networks take";
        trainer.map_err(|error| refuse(ID, "the pool", &error.to_string(), hint))
    }

    /// Trains its networks, one of them in each step; a lesson beside the data must look at answers alone.
    ///
    /// # Errors
    /// When they cannot be trained on the data, and what an observer answers.
    pub fn train(
        &mut self,
        sample: Sample,
        data: &Dataset,
        settings: Settings,
        lesson: Option<&dyn Lesson>,
        observer: &mut dyn Observer,
    ) -> Result<Status, Error> {
        let paths = self.paths(sample)?;
        let mut trainer = self.trainer(&paths, data, settings)?;
        if let Some(lesson) = lesson {
            trainer = trainer.with_lesson(lesson);
        }
        let status = trainer.run(observer);
        let status =
            status.map_err(|error| refuse(ID, "the pool", &error.to_string(), "take another rate"))?;
        self.weights = trainer.into_weights();
        Ok(status)
    }

    /// Tests each of its networks on the test examples, or on those to train on where there are no others.
    ///
    /// # Errors
    /// When they cannot be run on the data.
    pub fn test(&self, data: &Dataset) -> Result<Vec<Tested>, Error> {
        let paths = self.paths(Sample::Uniform)?;
        let trainer = self.trainer(&paths, data, Settings::default())?;
        let examples = data.test.as_ref().unwrap_or(&data.train);
        let tested = self.described()?.into_iter().enumerate().map(|(at, of)| {
            let found = trainer.evaluate_path(at, examples);
            let found = found
                .map_err(|error| refuse(ID, &of.build.to_string(), &error.to_string(), "take other data"))?;
            Ok(Tested { of, loss: found.loss, accuracy: found.accuracy })
        });
        tested.collect()
    }
}

/// The blocks of `front` up to `after`, and those of `end` from `before` on.
pub(super) fn stitch_network(
    front: &Network,
    end: &Network,
    after: usize,
    before: usize,
) -> Result<Network, Error> {
    let mut b = Builder::new("stitched", Source::Built, Dtype::F32);
    b.stitched(front, end, after, before);
    let hint = "stitch networks of blocks in a chain, with as many positions";
    b.finish().map_err(|error| refuse(ID, front.name(), &error.to_string(), hint))
}

/// Weights of the whole in single precision.
fn read(whole: &Network, mut of: impl FnMut(&str) -> Option<Vec<f64>>) -> Result<Weights, Error> {
    let read = Weights::read(whole, Precision::Single, &Device::cpu(), |_: ParamId, param| {
        let values = of(&param.name).ok_or_else(|| epoch0_engine::Error::Param {
            name: param.name.clone(),
            found: "no value".to_owned(),
            allowed: format!("one of shape {:?}", param.shape),
        })?;
        Ok::<_, epoch0_engine::Error>(Elements::Double(values))
    });
    read.map_err(|error| refuse(ID, "the pool", &error.to_string(), "make the pool again"))
}
