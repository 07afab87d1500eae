//! WINNER: SIREN's start with noise on the first two layers, as much as the target's spectrum is wide.
//!
//! # Idea
//! A network of sines whose first spectra do not reach the frequencies of its target stays near the zero function: the
//! spectral bottleneck. WINNER widens the spectra before training, by Gaussian noise on the weights of the first two
//! layers whose size follows from where the middle of the target's spectrum lies. Take it for sounds and images that a
//! SIREN does not get into; with targets of low frequency it adds nearly nothing.
//!
//! # Method
//! 1. SIREN's start (`sirens`).
//! 2. `ψ = 2 Σ k |ŷ(k)| / Σ |ŷ(k)|`, the centroid of the target's magnitude spectrum, `k` in cycles per sample from 0 to
//!    ½, so that ψ lies in `[0, 1]`: 2f for a sine of frequency f, about ½ for white noise. In several dimensions `k` is
//!    the size of the frequency's vector, at most ½; of several channels ψ is the mean.
//! 3. `s₀ = s₀ᵐᵃˣ (1 - exp(-a √ψ / C))` and `s₁ = b ψ / √C` for C channels, with `(s₀ᵐᵃˣ, a, b)` = (3500, 5, 3) for `audio`
//!    and (50, 5, 0.4) for `image`
//! 4. weights of the first layer get noise of standard deviation `s₀/ω`, those of the second `s₁/ω`; deeper ones none.
//!
//! The target is `.npy`, `.csv`, `.tsv`, `.png` or `.jpg`, on a grid of as many dimensions as the network has coordinates,
//! with a last dimension of channels where there are several.
//!
//! # Shapes
//! As `sirens`: weights of linear maps and convolutions and their biases, in networks that have sines. A second layer
//! that no sine follows gets no noise.
//!
//! # Cost
//! One Fourier transform of the target, O(N log N), then O(weights); the two layers with noise are drawn whole.
//!
//! # Departures
//! - The published texts have two forms of the scales; this is the newer one, with the sign in the exponent that makes it
//!   grow from 0.
//! - `s₀` is at most `π N / 4` for N samples along the shortest side, half of the highest frequency that the samples have;
//!   3500 was chosen for sounds of 150,000 samples. A remark says when the bound acts; `s0` sets another value.
//! - ψ is rounded to 2⁻³⁰, so that a start does not depend on the last digits of a Fourier transform.
//! - Image constants are used for all targets of two and more dimensions.
//!
//! # Traps
//! - The noise has standard deviation `s/ω` in the weights, not s.
//! - ψ is that of magnitudes, not of powers, and of the whole target, not of a batch of its points.
//! - A signal of few samples (512) is learned by a plain SIREN as well.
//! - The learning rate is 1e-4; larger ones hide the effect.
//! - The target is read again when the weights are verified: give `psi` to be independent of the file.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("siren:1-96-96-1").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: {with: winner, set: {psi: 0.5}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! // 3500 (1 - exp(-5 √½)) / 30 and 1.5 / 30.
//! assert_eq!(plan.sites()[0].law.to_string(), "uniform(-1, 1) + normal(0, 113.267)");
//! assert!(plan.sites()[2].law.to_string().ends_with(" + normal(0, 0.05)"));
//! ```
//!
//! # References
//! - [chandravamsi2025spectral]; texts of the authors' code, SIREN_square
//! - [sitzmann2020implicit] for the start that it widens

mod claims;
mod spectrum;

use std::f64::consts::PI;
use std::ops::AddAssign;
use std::path::Path;

use epoch0_data::read::signal;
use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
    Waiver,
};
use epoch0_net::{Network, Role};
use epoch0_num::special::exp_m1;
use epoch0_num::{Element, Law, LawError, Stream};

use crate::shared::unsupported;
use crate::sirens::{Sirens, needs_sines, omega, symmetric, weight_bound};
use crate::variance_scaling::fans;
use spectrum::Sampled;

/// Constants of the scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Preset {
    /// `audio` for one coordinate, `image` for several.
    Auto,
    /// 3500, 5 and 3.
    Audio,
    /// 50, 5 and 0.4.
    Image,
}

/// Parameters of WINNER.
#[derive(Clone, Debug, Params)]
pub struct Winner {
    /// File of the signal that the network is to represent (.npy, .csv, .tsv, .png, .jpg).
    #[param(default = None)]
    pub target: Option<String>,
    /// Constants of the scales.
    #[param(default = Preset::Auto)]
    pub preset: Preset,
    /// Centroid of the target's spectrum, in place of a target; auto is measured.
    #[param(default = None, range = "[0, 1]", symbol = "ψ")]
    pub psi: Option<f64>,
    /// Scale of the first layer's noise; auto follows from ψ.
    #[param(default = None, range = "[0, inf)", symbol = "s₀")]
    pub s0: Option<f64>,
    /// Scale of the second layer's noise; auto follows from ψ.
    #[param(default = None, range = "[0, inf)", symbol = "s₁")]
    pub s1: Option<f64>,
    /// Angular frequency of the sines; auto takes that of the sine that follows each map.
    #[param(default = None, range = "(0, inf)", symbol = "ω₀")]
    pub omega: Option<f64>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "winner",
    aliases: &["siren_square"],
    family: Family::Init,
    papers: &["chandravamsi2025spectral", "sitzmann2020implicit"],
    source: include_str!("mod.rs"),
    params: Winner::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "is_for_something",
        why: "it starts a network for one target, and without a target there is nothing to start it for",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Winner::from_values(INFO.id, values)?))
}

/// What is known of a target.
struct Target {
    psi: f64,
    n_channels: usize,
    /// Samples along the shortest side.
    side: Option<usize>,
}

/// Noise scales of the first two layers.
#[derive(Clone, Debug, PartialEq)]
struct Scales {
    s0: f64,
    s1: f64,
    remarks: Vec<String>,
}

impl Winner {
    fn target(&self, net: &Network, n_dims: usize) -> Result<Target, Error> {
        let n_answers = net.outputs().first().and_then(|&output| {
            let last = net.value(output).dims.last()?;
            net.axis(*last).size
        });
        let Some(path) = &self.target else {
            let Some(psi) = self.psi else {
                return Err(Error::Missing {
                    method: INFO.id.to_owned(),
                    input: "the target".to_owned(),
                    hint: "give target=FILE, its centroid psi, or both s0 and s1".to_owned(),
                });
            };
            return Ok(Target { psi, n_channels: n_answers.unwrap_or(1), side: None });
        };
        let refused =
            |why: String, hint: &str| Err(unsupported(INFO.id, format!("target {path}"), &why, hint));
        let array = signal::read(Path::new(path)).map_err(|error| {
            unsupported(INFO.id, "target", &error, "a signal as .npy, .csv, .tsv, .png or .jpg")
        })?;
        let Some(sampled) = Sampled::new(array.shape(), array.data(), n_dims) else {
            let why = format!("it has shape {:?}, and the network takes {n_dims} coordinates", array.shape());
            return refused(why, "a grid of as many dimensions, and channels in the last one");
        };
        let n_channels = sampled.channels.len();
        if n_answers.is_some_and(|n| n != n_channels) {
            let why =
                format!("it has {n_channels} channels, and the network answers {}", n_answers.unwrap_or(0));
            return refused(why, "a network with one answer for each channel");
        }
        if sampled.len() < 16 {
            return refused(
                format!("it has {} samples, allowed 16 or more", sampled.len()),
                "a longer signal",
            );
        }
        let Some(psi) = self.psi.or_else(|| sampled.centroid()) else {
            return refused(
                "it is silent: a channel is 0 everywhere".to_owned(),
                "a target that is to be learned",
            );
        };
        Ok(Target { psi, n_channels, side: sampled.shape.iter().min().copied() })
    }

    fn scales(&self, net: &Network) -> Result<Scales, Error> {
        let first = net.sites().iter().find(|site| site.role.is_matrix() && site.depth == 1);
        let n_dims = first.map_or(1, |site| site.view.n_in());
        if let (Some(s0), Some(s1), None) = (self.s0, self.s1, &self.target) {
            return Ok(Scales { s0, s1, remarks: Vec::new() });
        }
        let Target { psi, n_channels, side } = self.target(net, n_dims)?;
        let (s0, s1) = self.scales_of(psi, n_dims, n_channels, side);
        let mut remarks = Vec::new();
        let free = self.scales_of(psi, n_dims, n_channels, None).0;
        if s0 < free {
            remarks.push(format!(
                "s₀ is {s0:.1} instead of {free:.1}: half of the highest frequency that {} samples have",
                side.unwrap_or(0)
            ));
        }
        remarks.push(format!("ψ = {psi:.4}, s₀ = {s0:.2}, s₁ = {s1:.4}"));
        remarks.extend(self.too_narrow(net, (s0, s1), psi, side));
        Ok(Scales { s0, s1, remarks })
    }

    /// `s₀` and `s₁` for a centroid; those that were given stay what they are.
    fn scales_of(&self, psi: f64, n_dims: usize, n_channels: usize, side: Option<usize>) -> (f64, f64) {
        let (most, a, b) = match self.preset {
            Preset::Audio => (3500.0, 5.0, 3.0),
            Preset::Auto if n_dims == 1 => (3500.0, 5.0, 3.0),
            Preset::Auto | Preset::Image => (50.0, 5.0, 0.4),
        };
        let n_channels = n_channels as f64;
        let bound = side.map_or(f64::INFINITY, |side| PI * side as f64 / 4.0);
        let s0 = (-most * exp_m1(-a * psi.sqrt() / n_channels)).min(bound);
        (self.s0.unwrap_or(s0), self.s1.unwrap_or(b * psi / n_channels.sqrt()))
    }

    /// What is said where the second layer's phases turn more slowly than the target's centroid.
    fn too_narrow(
        &self,
        net: &Network,
        (s0, s1): (f64, f64),
        psi: f64,
        side: Option<usize>,
    ) -> Option<String> {
        let at = |depth: usize| {
            net.sites()
                .iter()
                .find(|site| site.role.is_matrix() && site.depth == depth && site.activation.is_some())
        };
        let (first, second) = (at(1)?, at(2)?);
        let omega = self.omega.or(first.activation.as_ref()?.sine_omega())?;
        let uniform = omega / first.fans?.in_;
        // Mean squares of angular frequencies along one coordinate: first layer, and what sums of its sines make of them.
        let width = second.fans?.in_;
        let square = (s0 * s0 + uniform * uniform / 3.0) * (1.0 + 0.5 * width * s1 * s1);
        let wanted = psi * PI * side? as f64 / 2.0;
        (square.sqrt() < wanted).then(|| {
            format!(
                "the second layer turns by about {:.0} rad per unit, and the target's centroid by {wanted:.0}: the \
                 scales may be too small for this target",
                square.sqrt()
            )
        })
    }
}

impl Initializer for Winner {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        needs_sines(INFO.id, net)?;
        Ok(Some(Box::new(Noisy { omega: self.omega, scales: self.scales(net)? })))
    }

    fn covers(&self, at: &At<'_>) -> bool {
        Sirens { omega: self.omega }.covers(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        Noisy { omega: self.omega, scales: self.scales(at.net)? }.law(at)
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        Noisy { omega: self.omega, scales: self.scales(at.net)? }.fill(at, stream, out)
    }
}

/// The method with the scales of a target.
#[derive(Clone, Debug)]
struct Noisy {
    omega: Option<f64>,
    scales: Scales,
}

impl Noisy {
    /// The uniform bound and the noise's standard deviation.
    fn parts(&self, at: &At<'_>) -> Result<(f64, f64), Error> {
        let fan_in = fans(INFO.id, at)?.in_;
        if at.role == Role::Bias {
            return Ok((1.0 / fan_in.sqrt(), 0.0));
        }
        let omega = self.omega.map_or_else(|| omega(INFO.id, at), Ok)?;
        let scale = match at.depth {
            0 | 1 => self.scales.s0,
            2 if at.activation.is_some() => self.scales.s1,
            _ => 0.0,
        };
        Ok((weight_bound(fan_in, at.depth, omega), scale / omega))
    }
}

impl Initializer for Noisy {
    fn remarks(&self, _net: &Network) -> Vec<String> {
        self.scales.remarks.clone()
    }

    fn covers(&self, at: &At<'_>) -> bool {
        Sirens { omega: self.omega }.covers(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let (bound, noise) = self.parts(at)?;
        if noise == 0.0 {
            return Ok(SiteLaw::Each(symmetric(bound)));
        }
        Ok(SiteLaw::Joint(Joint {
            name: format!("{} + {}", symmetric(bound), Law::normal(0.0, noise)),
            mean: 0.0,
            var: bound * bound / 3.0 + noise * noise,
            support: (f64::NEG_INFINITY, f64::INFINITY),
        }))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let parts = self.parts(at)?;
        let drawn = match out {
            ArrayMut::F32(out) => draw(parts, stream, out),
            ArrayMut::F64(out) => draw(parts, stream, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "smaller scales"))
    }
}

/// The uniform weights that `sirens` draws, and noise from a stream of its own.
fn draw<T: Element + AddAssign>(
    (bound, noise): (f64, f64),
    stream: &Stream,
    out: &mut [T],
) -> Result<(), LawError> {
    symmetric(bound).fill(stream, 0, out)?;
    if noise > 0.0 {
        let mut added = vec![T::default(); out.len()];
        Law::normal(0.0, noise).fill(&stream.child("noise"), 0, &mut added)?;
        out.iter_mut().zip(added).for_each(|(weight, noise)| *weight += noise);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use epoch0_data::{Array, npy};
    use epoch0_net::zoo;

    use super::*;

    /// A folder of its own, removed at the end.
    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn npy(&self, name: &str, shape: &[usize], value: impl Fn(usize) -> f32) -> Winner {
            let path = self.0.path().join(name);
            let values = (0..shape.iter().product()).map(value).collect();
            npy::write(&path, &Array::new(shape, values).unwrap().into()).unwrap();
            Winner { target: Some(path.display().to_string()), ..Winner::default() }
        }
    }

    fn scales(method: &Winner, net: &str) -> Result<Scales, Error> {
        method.scales(&zoo::build(net).unwrap())
    }

    #[test]
    fn scales_follow_the_target() {
        let files = Files::new();
        // A wave of 1/8 cycles per sample: ψ is ¼.
        let wave = files.npy("wave.npy", &[4096], |at| ((at % 8) as f32 * std::f32::consts::FRAC_PI_4).sin());
        let found = scales(&wave, "siren:1-32-32-1").unwrap();
        assert!((found.s0 - 3500.0 * (1.0 - (-2.5f64).exp())).abs() < 0.1, "{found:?}");
        assert!((found.s1 - 0.75).abs() < 1e-4);
        let short =
            files.npy("short.npy", &[512], |at| ((at % 8) as f32 * std::f32::consts::FRAC_PI_4).sin());
        let found = scales(&short, "siren:1-32-32-1").unwrap();
        assert!(
            (found.s0 - 128.0 * PI).abs() < 1e-9 && found.remarks[0].contains("512 samples"),
            "{found:?}"
        );
        let image = files.npy("image.npy", &[32, 32, 3], |at| (at % 7) as f32);
        let found = scales(&image, "siren:2-32-32-3").unwrap();
        assert!(found.s0 < 50.0 && found.s1 < 0.4 / 3f64.sqrt() && found.s0 > 1.0);
        let flat = files.npy("flat.npy", &[100], |_| 0.5);
        let found = scales(&flat, "siren:1-32-32-1").unwrap();
        assert_eq!((found.s0, found.s1), (0.0, 0.0));
        let given = Winner { s0: Some(7.0), ..wave };
        assert_eq!(scales(&given, "siren:1-32-32-1").unwrap().s0, 7.0);
    }

    #[test]
    fn tables_are_read_too() {
        let files = Files::new();
        let path = files.0.path().join("two.csv");
        let lines: Vec<String> = (0..64).map(|at| format!("{},{}", at % 2, at % 4)).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let method = Winner { target: Some(path.display().to_string()), ..Winner::default() };
        assert!(scales(&method, "siren:1-32-32-2").is_ok());
        let text = scales(&method, "siren:1-32-32-3").unwrap_err().to_string();
        assert!(text.contains("2 channels, and the network answers 3"), "{text}");
    }

    #[test]
    fn bad_targets_are_refused() {
        let files = Files::new();
        let text = |method: &Winner, net: &str| {
            let error = method.for_network(&zoo::build(net).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with("winner: ") && error.contains("\nhint: "), "{error}");
            error
        };
        let net = "siren:1-32-32-1";
        assert!(text(&Winner::default(), net).contains("the target is missing"));
        assert!(text(&files.npy("a.npy", &[64], |_| 0.0), net).contains("silent"));
        assert!(
            text(&files.npy("b.npy", &[64], |at| if at == 9 { f32::NAN } else { 1.0 }), net).contains("NaN")
        );
        assert!(text(&files.npy("c.npy", &[15], |at| at as f32), net).contains("15 samples, allowed 16"));
        assert!(text(&files.npy("d.npy", &[8, 8, 8], |at| at as f32), net).contains("[8, 8, 8]"));
        let nowhere = Winner { target: Some("nowhere.npy".to_owned()), ..Winner::default() };
        assert!(text(&nowhere, net).contains("nowhere.npy"));
        let other = Winner { target: Some("song.mp3".to_owned()), ..Winner::default() };
        assert!(text(&other, net).contains("`mp3`"));
        assert!(text(&Winner { psi: Some(0.5), ..Winner::default() }, "mlp:1-8-8-1").contains("no sine"));
    }
}
