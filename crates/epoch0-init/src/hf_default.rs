//! Hugging Face's default: the start that the network's own source gives it.
//!
//! # Idea
//! What `transformers` itself does for the model family: `initializer_range`, GPT-2's narrower ends of residual
//! branches, T5's factor. The base of a recipe that changes a few things about a known model.
//!
//! # Method
//! The law of every parameter is the one that was read with the network (`native` of the parameter). Positions that a
//! source computes instead (DistilBERT's sinusoids) are computed.
//!
//! # Shapes
//! Everything in a network that was read from a config or is of the zoo. A network built by hand has no laws of its
//! own, and is refused.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! None known.
//!
//! # Traps
//! A checkpoint with `tie_word_embeddings` starts the readout as the embedding that it is.
//!
//! # Example
//! ```
//! let mut b = epoch0_net::Builder::new("net", epoch0_net::Source::Built, epoch0_num::Dtype::F32);
//! let x = b.input("x", &[None, Some(64)]);
//! b.linear(x, "fc", epoch0_net::Linear::new(32));
//! let net = b.finish().unwrap();
//! let at = epoch0_method::At { net: &net, site: &net.sites()[0] };
//! let native = (epoch0_init::find("hf_default").unwrap().build)(&Default::default()).unwrap();
//! assert!(native.law(&at).unwrap_err().to_string().contains("hint: take another preset"));
//! ```
//!
//! # References
//! - [wolf2020transformers] `_init_weights` of each model

use crate::shared::unsupported;
use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_net::Fixed;
use epoch0_num::Stream;

/// Parameters of the native start: none.
#[derive(Clone, Debug, Params)]
pub struct HfDefault {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "hf_default",
    aliases: &["hf", "native", "transformers_default"],
    family: Family::Init,
    papers: &["wolf2020transformers"],
    source: include_str!("hf_default.rs"),
    params: HfDefault::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(HfDefault::from_values(INFO.id, values)?))
}

impl Initializer for HfDefault {
    fn covers(&self, _: &At<'_>) -> bool {
        true
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let param = at.net.param(at.param);
        if let Some(fixed) = param.fixed {
            return Ok(SiteLaw::Joint(moments(fixed, at)));
        }
        let native = param.native.ok_or_else(|| {
            let why = "the network's source gives it no law";
            unsupported(INFO.id, at.label(), &why, "take another preset, such as pytorch_default")
        })?;
        Ok(SiteLaw::Each(native))
    }

    fn fill(&self, at: &At<'_>, _: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let fixed = at.net.param(at.param).fixed.expect("only what is computed has a joint law");
        match out {
            ArrayMut::F32(out) => each_value(fixed, at, |index, value| out[index] = value as f32),
            ArrayMut::F64(out) => each_value(fixed, at, |index, value| out[index] = value),
        }
        Ok(())
    }
}

/// Every computed value with its index in canonical order.
fn each_value(fixed: Fixed, at: &At<'_>, mut visit: impl FnMut(usize, f64)) {
    let width = at.net.param(at.param).shape.last().copied().unwrap_or(1);
    at.view.runs(|canonical, storage, length, stride| {
        for step in 0..length {
            let element = storage + step * stride;
            visit(canonical + step, fixed.value(width, element / width, element % width));
        }
    });
}

fn moments(fixed: Fixed, at: &At<'_>) -> Joint {
    let (mut sum, mut squares, mut low, mut high) = (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY);
    each_value(fixed, at, |_, value| {
        sum += value;
        squares += value * value;
        low = value.min(low);
        high = value.max(high);
    });
    let n = at.view.len() as f64;
    let name = match fixed {
        Fixed::Sinusoids => "sinusoids",
        _ => "computed",
    };
    let mean = sum / n;
    Joint { name: name.to_owned(), mean, var: (squares / n - mean * mean).max(0.0), support: (low, high) }
}
