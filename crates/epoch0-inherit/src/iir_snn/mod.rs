//! IIR-SNN: a network of spiking neurons that begins with one of more time steps, or of rectifiers.
//!
//! # Idea
//! A spiking network that runs for one time step is one pass of binary activations: quick, and cheap where a spike is an
//! addition. With thresholds that suit more steps a deep one is dead at one: spikes become fewer layer by layer, and with
//! them what comes back. One that was trained for five steps is a good start for three, that one for two, and that for one.
//!
//! # Method
//! Of a parent with rectifiers:
//! 1. Maps are taken as they are; batch normalizations are made part of the maps before them, W' = W γ / √(V + ε).
//! 2. Layer by layer from the input, with all layers before it spiking: the threshold is the largest over the time steps of
//!    the `percentile`-th percentile of the layer's currents on the examples, that of rank 1 + round((n - 1) percentile /
//!    100); 0.1 where that is not above 0. Leaks are 1.
//! 3. Thresholds are multiplied by `scaling`.
//!
//! Of a spiking parent with more steps: all maps, thresholds and leaks, as they are. `epoch0 train` learns all of them, and
//! keeps leaks from 0 to 1 and thresholds above 0.
//!
//! # Shapes
//! A network with `spiking=T` and a parent that is the same but for batch normalizations and T. Every network of the zoo
//! whose activations are rectifiers and whose windows are averaged takes it: `mlp:784-96-96-10,spiking=5`,
//! `vgg16:size=32,pool=mean,spiking=5`, `cifar_resnet:20,norm=none,spiking=5`.
//!
//! # Cost
//! A run of the network on the examples, over all of its steps at once.
//!
//! # Departures
//! Training is that of `epoch0 train`: Adam without its variant amsgrad, and no dropout, which networks here have not. It
//! keeps the last weights and not the best tested ones. A leak is kept from falling below 0 too, and a threshold above 0.
//!
//! # Traps
//! - The order counts: a neuron adds its current, fires where its potential is above the threshold, and then falls by it.
//! - Biases are taken as they are, at every step, though spikes are not as large as the rectifiers' answers: training has to
//!   find other ones. Networks without biases are converted more closely.
//! - Without `--data` thresholds are those of normal noise.
//! - Networks of few layers need no detour: one trained for one step from rectifiers is as good. Deep ones need none either where
//!   thresholds are found over one step (`spiking=1` from rectifiers, as this method does it): what dies out at one step is what
//!   has the thresholds of more. The claims have the numbers.
//!
//! # Example
//! ```sh
//! epoch0 init mlp:784-96-96-96-10,bias=false --with he_normal -o relu
//! epoch0 train relu --data mnist --optimizer adam --lr 0.001 --for 2ep -o ann
//! epoch0 init mlp:784-96-96-96-10,bias=false,spiking=5 --from ann --with iir_snn --data mnist -o start5
//! epoch0 train start5 --data mnist --optimizer adam --lr 0.001 --for 2ep -o snn5
//! epoch0 init mlp:784-96-96-96-10,bias=false,spiking=3 --from snn5 --with iir_snn -o start3
//! epoch0 train start3 --data mnist --optimizer adam --lr 0.001 --for 2ep -o snn3
//! epoch0 init mlp:784-96-96-96-10,bias=false,spiking=2 --from snn3 --with iir_snn -o start2
//! epoch0 train start2 --data mnist --optimizer adam --lr 0.001 --for 2ep -o snn2
//! epoch0 init mlp:784-96-96-96-10,bias=false,spiking=1 --from snn2 --with iir_snn -o start1
//! epoch0 train start1 --data mnist --optimizer adam --lr 0.001 --for 2ep -o snn1
//! epoch0 examine snn1 --data mnist --only spikes
//! ```
//! ```
//! use epoch0_inherit::{Needs, find};
//!
//! let method = (find("iir_snn").unwrap().build)(&Default::default()).unwrap();
//! assert_eq!(method.needs(), Needs::Activations);
//! ```
//!
//! # References
//! - [chowdhury2021one] Section 3; code of the authors

mod claims;
mod convert;
mod matched;

use epoch0_engine::{Tensor, Weights};
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::{Network, ParamId};

use crate::pair::refuse;
use crate::{Dim, Inheritance, Inherited, Inheritor, Kin, Needs, Origin};
use matched::matched;

/// Parameters of the conversion; all parameters of a spiking parent are taken as they are.
#[derive(Clone, Debug, Params)]
pub struct IirSnn {
    /// Which percentile of a layer's currents its threshold is.
    #[param(default = 90.0, range = "(0, 100]")]
    pub percentile: f64,
    /// What thresholds are multiplied by once they are found.
    #[param(default = 1.0, range = "(0, 10]")]
    pub scaling: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "iir_snn",
    aliases: &["snn", "spiking"],
    family: Family::Inherit,
    papers: &["chowdhury2021one"],
    source: include_str!("mod.rs"),
    params: IirSnn::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(IirSnn::from_values(INFO.id, values)?))
}

impl Inheritor for IirSnn {
    fn needs(&self) -> Needs {
        Needs::Activations
    }

    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let Some(steps) = kin.child.spiking_steps() else {
            let hint = "describe it with time steps, as `mlp:784-96-10,spiking=5`";
            return Err(refuse(INFO.id, kin.child.name(), "it has no neurons that spike", hint));
        };
        let (weights, batch) = kin.running.ok_or_else(|| Error::Missing {
            method: INFO.id.to_owned(),
            input: "the parent's weights".to_owned(),
            hint: "give the parent as a checkpoint".to_owned(),
        })?;
        let Some(theirs) = kin.parent.spiking_steps() else {
            return convert::converted(self, kin, (weights, batch));
        };
        if steps >= theirs {
            let why = format!("it has {steps} time steps, and its parent {theirs}");
            let hint = "go down: from 5 to 3, to 2, to 1, and train between";
            return Err(refuse(INFO.id, kin.child.name(), &why, hint));
        }
        check_neurons(kin.parent, weights)?;
        let mut params = vec![Origin::Drawn; kin.child.params().len()];
        for layer in matched(kin.parent, kin.child)? {
            for (own, from) in layer.params {
                params[own.0 as usize] = from.map_or(Origin::Constant(0.0), |from| taken(kin.parent, from));
            }
        }
        Ok(Inheritance { params, ..Inheritance::default() })
    }
}

/// All of a parameter of the parent.
fn taken(parent: &Network, from: ParamId) -> Origin {
    let whole = |size: &usize| Dim { places: (0..*size).collect(), scales: None, mix: None };
    let dims = parent.param(from).shape.iter().map(whole).collect();
    Origin::Taken(Inherited { from, dims, affine: (1.0, 0.0), noise: None, new: None })
}

/// Thresholds have to be above 0, and leaks from 0 to 1.
fn check_neurons(net: &Network, weights: &Weights) -> Result<(), Error> {
    for (param, [low, high]) in net.bounds() {
        let value = weights.get(param).map_or(f64::NAN, Tensor::item);
        if !(low..=high).contains(&value) {
            let what = if high == 1.0 { "a leak from 0 to 1" } else { "a threshold above 0" };
            let why = format!("it is {value} in the parent, and would have to be {what}");
            let hint = "train the parent again; `epoch0 train` keeps both where they belong";
            return Err(refuse(INFO.id, &net.param(param).name, &why, hint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use epoch0_engine::{Batch, Device, Precision};
    use epoch0_method::ClaimKind;

    use super::*;
    use crate::case::{built, trained};
    use crate::made;

    fn why(parent: &str, child: &str) -> String {
        let (parent, child) = (built(parent).unwrap(), built(child).unwrap());
        let weights = trained(&parent, 1).unwrap();
        let batch = Batch::matched(&parent, 8, 0, Precision::Double, &Device::cpu()).unwrap();
        let method = IirSnn { percentile: 90.0, scaling: 1.0 };
        let kin = Kin { running: Some((&weights, &batch)), ..Kin::new(&parent, &child) };
        method.inherit(&kin).unwrap_err().to_string()
    }

    #[test]
    fn laws_hold() {
        for claim in claims::CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (parent, child, said) in [
            ("mlp:4-6-3", "mlp:4-6-3", "no neurons that spike"),
            ("mlp:4-6-3,spiking=2", "mlp:4-6-3,spiking=2", "2 time steps, and its parent 2"),
            ("mlp:4-6-3,spiking=2", "mlp:4-6-3,spiking=3", "from 5 to 3"),
            ("mlp:4-6-3,act=tanh", "mlp:4-6-3,spiking=2", "tanh"),
            ("mlp:4-6-3,norm=layer", "mlp:4-6-3,spiking=2", "layer_norm"),
            ("mlp:4-6-3", "mlp:4-5-3,spiking=2", "[5, 4]"),
            ("mlp:4-6-6-3", "mlp:4-6-3,spiking=2", "alike"),
            ("mlp:4-6-6-3", "mlp:4-6-6-3,residual=true,spiking=2", "alike"),
            ("mlp:4-6-3", "mlp:4-6-3,bias=false,spiking=2", "no bias"),
            ("lenet", "lenet:pool=mean,spiking=2", "alike"),
        ] {
            let why = why(parent, child);
            assert!(why.contains(said) && why.contains("\nhint: "), "{parent} to {child}: {why}");
        }
        // As drawn by a law that knows nothing of neurons, thresholds and leaks are anywhere.
        let odd = why("mlp:4-6-6-6-6-3,spiking=3", "mlp:4-6-6-6-6-3,spiking=2");
        assert!(odd.contains("would have to be"), "{odd}");
    }

    #[test]
    fn everything_of_a_spiking_parent_is_taken() {
        let (parent, child) =
            (built("mlp:4-6-5-3,spiking=5").unwrap(), built("mlp:4-6-5-3,spiking=3").unwrap());
        let mut weights = trained(&parent, 1).unwrap();
        for (param, [_, high]) in parent.bounds() {
            let value = if high == 1.0 { 0.75 } else { 0.5 };
            let like = weights.get(param).unwrap().clone();
            weights.set(param, Tensor::from_f64(vec![value], &[1], like.precision(), &like.device()));
        }
        let batch = Batch::matched(&parent, 8, 0, Precision::Double, &Device::cpu()).unwrap();
        let kin = Kin { running: Some((&weights, &batch)), ..Kin::new(&parent, &child) };
        let found = IirSnn { percentile: 90.0, scaling: 1.0 }.inherit(&kin).unwrap();
        let own = made(&found, (&parent, &weights), &child, &trained(&child, 2).unwrap()).unwrap();
        for (param, value) in own.iter() {
            assert_eq!(value.to_f64(), weights.get(param).unwrap().to_f64(), "{}", child.param(param).name);
        }
    }
}
