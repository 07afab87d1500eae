//! SIREN: the start of networks of sines, from the frequency of each sine.
//!
//! # Idea
//! Networks whose activation is `sin(ω x)` represent images, sounds and shapes by their coordinates. At this start every
//! layer's pre-activations, times ω, are Gaussian with a variance near 1 whatever the depth, so that the sines are
//! neither linear nor aliased, and the first layer spans the frequencies that the signal has. Take it wherever sines
//! follow the maps; `vi3nr` does the same for other activations.
//!
//! # Method
//! With `y = sin(ω (W x + b))` in every layer but, usually, the last,
//! 1. the first weights are uniform in `±1/fan_in`, so that coordinates in `[-1, 1]` become phases up to ω
//! 2. all others, the last linear map's too, are uniform in `±√(6/fan_in)/ω`: a sine of a wide Gaussian has the second
//!    moment ½, and `6/fan_in` makes up for that and for the uniform law's third
//! 3. biases are uniform in `±1/√fan_in`, which is torch's start
//!
//! ω is that of the sine that follows; a map that none follows takes that of the last sine before it.
//!
//! # Shapes
//! Weights of linear maps and convolutions and their biases, in networks that have a sine: `sine(30)`, or an expression
//! such as `sin(30*x)`. Fans are those of the site. Norms, tables and free vectors are left alone.
//!
//! # Cost
//! O(weights), in pieces of any size.
//!
//! # Departures
//! The paper writes ω outside of the map: `sin(ω (W x + b))`. A network whose sine has ω inside its weights (`sine` with
//! ω 1) gets the same formulas with ω = 1, which is not the same network; give `omega` where the weights are to hold it.
//!
//! # Traps
//! - The first layer has no ω in its bound: dividing there too gives a network of low frequencies that blurs.
//! - Coordinates are to lie in `[-1, 1]`. Those of `[0, 1]` or of pixels change the frequencies by their scale.
//! - "Standard normal", as the paper has it, takes sin² for ½ on average. Phases of variance v give `1 - exp(-2v)` in the
//!   next layer, and biases `ω²/(3 fan_in)` more: 0.80 without biases, 1.2 with them at a width of 1000 and ω = 30, 3.0
//!   at a width of 100.
//! - With torch's default start the activations of a deep network of sines go to 0.
//! - ω = 30 is for images of some 512 pixels a side; audio wants a first ω of 3000 (`siren:…,omega=3000`), or `winner`.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("siren:2-256-256-1").unwrap();
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", "base: sirens").unwrap(), 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "uniform(-0.5, 0.5)");
//! // √(6/256) / 30.
//! assert_eq!(plan.sites()[2].law.to_string(), "uniform(-0.0051031, 0.0051031)");
//! ```
//!
//! # References
//! - [sitzmann2020implicit] Section 3.2 and supplement; official code vsitzmann/siren

use epoch0_method::{
    At, Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Initializer, Params, SiteLaw, Status,
    Values, Verdict,
};
use epoch0_net::{Network, Role, zoo};
use epoch0_num::{Activation, Law};

use crate::shared::unsupported;
use crate::variance_scaling::fans;

/// Parameters of SIREN's start.
#[derive(Clone, Debug, Params)]
pub struct Sirens {
    /// Angular frequency of the sines; auto takes that of the sine that follows each map.
    #[param(default = None, range = "(0, inf)", symbol = "ω₀")]
    pub omega: Option<f64>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "sirens",
    aliases: &["siren"],
    family: Family::Init,
    papers: &["sitzmann2020implicit"],
    source: include_str!("sirens.rs"),
    params: Sirens::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Sirens::from_values(INFO.id, values)?))
}

impl Initializer for Sirens {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        needs_sines(INFO.id, net).map(|()| None)
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() || (at.role == Role::Bias && at.fans.is_some())
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let fan_in = fans(INFO.id, at)?.in_;
        if at.role == Role::Bias {
            return Ok(SiteLaw::Each(symmetric(1.0 / fan_in.sqrt())));
        }
        let bound = weight_bound(fan_in, at.depth, self.omega.map_or_else(|| omega(INFO.id, at), Ok)?);
        Ok(SiteLaw::Each(symmetric(bound)))
    }
}

/// The uniform law between two bounds.
pub(crate) fn symmetric(bound: f64) -> Law {
    Law::uniform(-bound, bound)
}

/// `1/fan_in` in the first layer, `√(6/fan_in)/ω` in all others.
pub(crate) fn weight_bound(fan_in: f64, depth: usize, omega: f64) -> f64 {
    if depth <= 1 { 1.0 / fan_in } else { (6.0 / fan_in).sqrt() / omega }
}

/// Refuses a network that has no sine.
pub(crate) fn needs_sines(method: &str, net: &Network) -> Result<(), Error> {
    let found = || net.sites().iter().filter_map(|site| site.activation.as_ref());
    if found().any(|act| act.sine_omega().is_some()) {
        return Ok(());
    }
    let why = match found().next() {
        Some(act) => format!("it has no sine; the first activation is {act}"),
        None => "it has no sine, nor another activation behind a map".to_owned(),
    };
    Err(unsupported(
        method,
        net.name(),
        &why,
        "activations `sine(30)`, or `vi3nr`, which is for any activation",
    ))
}

/// ω of the sine that follows a site; behind the last sine, of the one before.
pub(crate) fn omega(method: &str, at: &At<'_>) -> Result<f64, Error> {
    let of = |act: &Activation| {
        act.sine_omega().map(f64::abs).filter(|omega| *omega > 0.0).ok_or_else(|| {
            let why = format!("the activation that follows is {act}, allowed sin(ω x) with ω other than 0");
            unsupported(method, at.label(), &why, "give this site another method by a recipe, such as vi3nr")
        })
    };
    if let Some(act) = &at.activation {
        return of(act);
    }
    let before = at.net.sites().iter().filter(|site| site.depth < at.depth);
    let last = before.filter(|site| site.activation.is_some()).max_by_key(|site| site.depth);
    match last.and_then(|site| site.activation.as_ref()) {
        Some(act) => of(act),
        None => {
            let why = "no sine follows it or stands before it";
            Err(unsupported(method, at.label(), &why, "set omega"))
        }
    }
}

static CLAIMS: &[Claim] = &[
    Claim {
        name: "bounds",
        text: "bounds of a network with two frequencies are those of the authors' code, to the last digit",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: bounds,
    },
    Claim {
        name: "phases_keep_their_variance",
        text: "at width 1000 and ω = 30 the variance v of ω times the pre-activations goes to 1 - exp(-2v) + ω²/(3·1000) in \
               the next layer, over 10 layers within 10 %, and lies between 0.75 and 1.35",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 1,
        expectation: Expectation::Holds,
        run: phases_keep_their_variance,
    },
];

/// By hand from `uniform_(-1 / in, 1 / in)` and `uniform_(-sqrt(6 / in) / omega_0, …)`.
fn bounds() -> Result<Verdict, Error> {
    let broken = |error: &dyn std::fmt::Display| crate::shared::experiment::broken(error);
    let net = zoo::build("siren:3-64-128-2,omega=20,hidden_omega=10").map_err(|error| broken(&error))?;
    let wanted = [
        1.0 / 3.0,
        1.0 / 3f64.sqrt(),
        (6.0 / 64.0f64).sqrt() / 10.0,
        0.125,
        (6.0 / 128.0f64).sqrt() / 10.0,
        1.0 / 128f64.sqrt(),
    ];
    let method = (ENTRY.build)(&Values::new())?;
    let mut worst: f64 = 0.0;
    for (site, wanted) in net.sites().iter().zip(wanted) {
        let (low, high) = method.law(&At { net: &net, site })?.support();
        worst = worst.max((high - wanted).abs()).max((low + wanted).abs());
    }
    Ok(Verdict::at_most(worst, 1e-15))
}

fn phases_keep_their_variance() -> Result<Verdict, Error> {
    use crate::shared::experiment::{Mlp, broken};
    const OMEGA: f64 = 30.0;
    const WIDTH: usize = 1000;
    const N: usize = 200;
    let act = Activation::Sine { omega: OMEGA };
    let widths: Vec<usize> = std::iter::once(2).chain([WIDTH; 11]).collect();
    let net = Mlp::start(&widths, &act, &Sirens { omega: None }, 0)?;
    let mut inputs = vec![0.0f32; 2 * N];
    let stream = epoch0_num::Stream::new(0, "coordinates");
    symmetric(1.0).fill(&stream, 0, &mut inputs).map_err(|error| broken(&error))?;
    let variance = |layer: &Vec<f32>| {
        let squares = layer.iter().map(|&y| (OMEGA * f64::from(y)).powi(2));
        squares.sum::<f64>() / layer.len() as f64
    };
    let found: Vec<f64> = net.forward(&inputs).outputs.iter().map(variance).collect();
    let next = |v: f64| 1.0 - (-2.0 * v).exp() + OMEGA * OMEGA / (3.0 * WIDTH as f64);
    let off = |pair: &[f64]| (pair[1] / next(pair[0]) - 1.0).abs();
    // The first layer's phases are uniform, and their variance is that of the coordinates.
    let worst = found[1..].windows(2).map(off).fold(0.0, f64::max);
    let all_near_one = found[1..].iter().all(|v| (0.75..=1.35).contains(v));
    let verdict = Verdict::at_most(worst, 0.1);
    Ok(Verdict { holds: verdict.holds && all_near_one, ..verdict }.detail(format!("by layer {found:.3?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_sines_is_refused() {
        let refused = |name: &str| needs_sines("sirens", &zoo::build(name).unwrap()).unwrap_err().to_string();
        assert!(
            refused("mlp:4-8-2")
                .starts_with("sirens: mlp:4-8-2: it has no sine; the first activation is relu")
        );
        assert!(refused("mlp:4-2").contains("nor another activation"));
        assert!(needs_sines("sirens", &zoo::build("mlp:4-8-2,act=expr:sin(30*x)").unwrap()).is_ok());
    }

    #[test]
    fn the_last_map_takes_the_frequency_before_it() {
        let net = zoo::build("mlp:4-8-8-2,act=expr:sin(7*x)").unwrap();
        let last = net.sites().iter().rfind(|site| site.role.is_matrix()).unwrap();
        let law = Sirens { omega: None }.law(&At { net: &net, site: last }).unwrap();
        assert!((law.support().1 - (6.0 / 8.0f64).sqrt() / 7.0).abs() < 1e-15);
    }
}
