//! Values of a network's parameters.

use epoch0_net::{Network, Param, ParamId, Role};

use crate::{Device, Error, Precision, Tensor, Var};

/// Values of a network's parameters, buffers included.
#[derive(Clone, Debug)]
pub struct Weights(Vec<Option<Tensor>>);

/// Elements of a parameter, as a source has them.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// In single precision or less.
    Single(Vec<f32>),
    /// In double precision.
    Double(Vec<f64>),
}

impl Weights {
    /// Reads every parameter of a network but the counts of batches, which nothing depends on.
    ///
    /// # Errors
    ///
    /// What `read` answers, and [`Error::Param`] when it gives another number of elements than the parameter has.
    pub fn read<E: From<Error>>(
        network: &Network,
        precision: Precision,
        device: &Device,
        mut read: impl FnMut(ParamId, &Param) -> Result<Elements, E>,
    ) -> Result<Self, E> {
        let mut values = Vec::with_capacity(network.params().len());
        for (index, param) in network.params().iter().enumerate() {
            if param.role == Role::BatchCount {
                values.push(None);
                continue;
            }
            let elements = read(ParamId(index as u32), param)?;
            let found = match &elements {
                Elements::Single(values) => values.len(),
                Elements::Double(values) => values.len(),
            };
            if found != param.len() {
                return Err(Error::Param {
                    name: param.name.clone(),
                    found: format!("{found} elements"),
                    allowed: format!("{} (shape {:?})", param.len(), param.shape),
                }
                .into());
            }
            values.push(Some(match elements {
                Elements::Single(values) => Tensor::from_f32(values, &param.shape, precision, device),
                Elements::Double(values) => Tensor::from_f64(values, &param.shape, precision, device),
            }));
        }
        Ok(Self(values))
    }

    /// A parameter's value; counts of batches have none.
    pub fn get(&self, id: ParamId) -> Option<&Tensor> {
        self.0.get(id.0 as usize)?.as_ref()
    }

    /// Gives a parameter another value.
    ///
    /// # Panics
    ///
    /// When the shape is another.
    pub fn set(&mut self, id: ParamId, value: Tensor) {
        let slot = &mut self.0[id.0 as usize];
        if let Some(before) = slot {
            assert_eq!(before.shape(), value.shape(), "shape of a parameter");
        }
        *slot = Some(value);
    }

    /// Some of them, in that order: weights of another network that has these parameters.
    ///
    /// # Panics
    ///
    /// When there is no such parameter.
    #[must_use]
    pub fn picked(&self, params: &[ParamId]) -> Self {
        Self(params.iter().map(|id| self.0[id.0 as usize].clone()).collect())
    }

    /// Parameters and their values.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Tensor)> {
        let with_id = |(index, value): (usize, _)| (ParamId(index as u32), value);
        self.0
            .iter()
            .enumerate()
            .map(with_id)
            .filter_map(|(id, value): (_, &Option<Tensor>)| Some((id, value.as_ref()?)))
    }

    /// As what a run takes: learned parameters as leaves, buffers as constants.
    pub fn leaves(&self, network: &Network) -> Parameters {
        self.parameters(|id| !network.param(id).role.is_buffer())
    }

    /// As what a run takes, all constants.
    pub fn constants(&self) -> Parameters {
        self.parameters(|_| false)
    }

    /// As what a run takes; those that `is_leaf` says are leaves.
    pub fn parameters(&self, is_leaf: impl Fn(ParamId) -> bool) -> Parameters {
        let var = |(index, value): (usize, &Option<Tensor>)| {
            let value = value.clone()?;
            Some(if is_leaf(ParamId(index as u32)) { Var::leaf(value) } else { Var::constant(value) })
        };
        Parameters(self.0.iter().enumerate().map(var).collect())
    }
}

/// Parameters as a run takes them: any values, leaves or what was computed from others (a step of training, a mask).
#[derive(Clone, Debug)]
pub struct Parameters(Vec<Option<Var>>);

impl Parameters {
    /// A parameter's value.
    pub fn get(&self, id: ParamId) -> Option<&Var> {
        self.0.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn first(&self) -> Option<&Var> {
        self.0.iter().flatten().next()
    }

    /// The same values, all constants.
    pub(crate) fn detached(&self) -> Self {
        Self(self.0.iter().map(|var| var.as_ref().map(Var::detach)).collect())
    }

    /// Puts another value in a parameter's place.
    pub fn set(&mut self, id: ParamId, value: Var) {
        self.0[id.0 as usize] = Some(value);
    }

    /// Those that derivatives can be taken by, in the network's order.
    pub fn tracked(&self) -> impl Iterator<Item = (ParamId, &Var)> {
        let with_id = |(index, var): (usize, _)| (ParamId(index as u32), var);
        self.0.iter().enumerate().map(with_id).filter_map(|(id, var): (_, &Option<Var>)| {
            Some((id, var.as_ref().filter(|var| var.is_tracked())?))
        })
    }
}
