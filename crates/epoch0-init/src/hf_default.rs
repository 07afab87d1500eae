//! Hugging Face's default: the start that the network's own source gives it.
//!
//! # Idea
//! What `transformers` itself does for the model family: `initializer_range`, GPT-2's narrower ends of residual
//! branches, T5's factor. The base of a recipe that changes a few things about a known model.
//!
//! # Method
//! The law of every parameter is the one that was read with the network (`native` of the parameter). A table that the
//! source computes instead of drawing it (`fixed`: sinusoids at positions) is computed here too.
//!
//! # Shapes
//! Everything in a network that was read from a config. A network of the zoo, or built by hand, has no laws of its own
//! and is refused.
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
        if let (Some(fixed), &[rows, width]) = (param.fixed, &param.shape[..]) {
            let (mean, var) = fixed.moments(rows, width);
            let name = fixed.name().to_owned();
            return Ok(SiteLaw::Joint(Joint { name, mean, var, support: (-1.0, 1.0) }));
        }
        param.native.map(SiteLaw::Each).ok_or_else(|| no_law(at))
    }

    fn fill(&self, at: &At<'_>, _: &Stream, mut out: ArrayMut<'_>) -> Result<(), Error> {
        let param = at.net.param(at.param);
        let (Some(fixed), &[_, width]) = (param.fixed, &param.shape[..]) else { return Err(no_law(at)) };
        at.view.runs(|canonical, storage, length, stride| {
            for step in 0..length {
                let place = storage + step * stride;
                let value = fixed.value(width, place / width, place % width);
                match &mut out {
                    ArrayMut::F32(out) => out[canonical + step] = value as f32,
                    ArrayMut::F64(out) => out[canonical + step] = value,
                }
            }
        });
        Ok(())
    }
}

fn no_law(at: &At<'_>) -> Error {
    let why = "the network's source gives it no law";
    unsupported(INFO.id, at.label(), &why, "take another preset, such as pytorch_default")
}
