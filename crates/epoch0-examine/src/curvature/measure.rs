//! Products with the Hessian and the Gauss–Newton matrix, and what is made of them.

use std::cell::{Cell, RefCell};

use epoch0_engine::curvature::{Density, Estimate, Hessian, Symmetric, density, ends, trace};
use epoch0_engine::{Loss, Mode, Order, Tensor, Var, jvp, run, vjp};
use epoch0_num::Stream;

use super::Curvature;
use crate::shared::inputs::{split, square, within};
use crate::{Error, Subject, Watch};

/// Real numbers that a run may keep: a gradient that can be differentiated keeps several times as many.
const VALUES: usize = 1 << 25;
/// Products from which on an end of a spectrum says something.
const FEWEST: usize = 6;

/// A parameter's part in directions.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) name: String,
    pub(super) size: usize,
    /// Of the eigenvector of the largest eigenvalue.
    pub(super) top: f64,
    /// Of the gradient, where there is one.
    pub(super) gradient: Option<f64>,
}

/// Everything measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) loss: Loss,
    pub(super) has_labels: bool,
    pub(super) examples: usize,
    /// Number of learned numbers.
    pub(super) size: usize,
    pub(super) products: usize,
    pub(super) value: f64,
    /// Norm of the gradient.
    pub(super) gradient: f64,
    pub(super) along_gradient: Option<f64>,
    pub(super) max: f64,
    pub(super) min: f64,
    /// How far an eigenvalue is from `max` at most.
    pub(super) residual: f64,
    pub(super) gauss_newton: Option<f64>,
    pub(super) trace: Option<Estimate>,
    pub(super) density: Option<Density>,
    /// The largest first.
    pub(super) shares: Vec<Share>,
}

/// The Gauss–Newton matrix of a loss of answers: exact products, none of them formed.
pub(super) struct GaussNewton<'a> {
    answers: &'a Var,
    wrt: Vec<&'a Var>,
    /// Hessian of the loss by the answers.
    of_loss: Hessian,
}

impl<'a> GaussNewton<'a> {
    /// Of the loss of answers, a function of them alone, by what they were computed from.
    pub(super) fn new(
        answers: &'a Var,
        wrt: &[&'a Var],
        loss: impl Fn(&Var) -> Result<Var, Error>,
    ) -> Result<Self, Error> {
        let leaf = Var::leaf(answers.value().clone());
        let of_loss = Hessian::new(&loss(&leaf)?, &[&leaf]);
        Ok(Self { answers, wrt: wrt.to_vec(), of_loss })
    }
}

impl Symmetric for GaussNewton<'_> {
    fn size(&self) -> usize {
        self.wrt.iter().map(|var| var.value().len()).sum()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let like: Vec<&Tensor> = self.wrt.iter().map(|var| var.value()).collect();
        let tangents: Vec<(&Var, Var)> =
            self.wrt.iter().copied().zip(split(x, &like).into_iter().map(Var::constant)).collect();
        let Some(pushed) = jvp(&[self.answers], &tangents, Order::Last).pop().flatten() else {
            return vec![0.0; x.len()];
        };
        let curved = self.of_loss.product(&[pushed.value().clone()]).remove(0);
        let found = vjp(&[(self.answers, Var::constant(curved))], &self.wrt, Order::Last);
        found
            .into_iter()
            .zip(&self.wrt)
            .flat_map(|(found, var)| {
                found.map_or_else(|| vec![0.0; var.value().len()], |found| found.value().to_f64())
            })
            .collect()
    }
}

/// Products taken of those planned, and why they are to end.
struct Following<'a> {
    watch: Watch<'a>,
    done: Cell<usize>,
    planned: usize,
    stop: RefCell<Option<Error>>,
}

impl Following<'_> {
    fn stopped(&self) -> Result<(), Error> {
        self.stop.borrow_mut().take().map_or(Ok(()), Err)
    }
}

/// A map whose products are counted and followed. Once it is to end, products are zero.
struct Followed<'a> {
    map: &'a dyn Symmetric,
    by: &'a Following<'a>,
}

impl Symmetric for Followed<'_> {
    fn size(&self) -> usize {
        self.map.size()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let Following { watch, done, planned, stop } = self.by;
        done.set(done.get() + 1);
        if let Err(error) = watch.reach((0.05 + 0.95 * done.get() as f64 / *planned as f64).min(1.0)) {
            stop.borrow_mut().get_or_insert(error);
        }
        if stop.borrow().is_some() { vec![0.0; x.len()] } else { self.map.apply(x) }
    }
}

/// `None` where the loss or its gradient is not finite.
pub(super) fn measure(
    method: &Curvature,
    subject: &Subject<'_>,
    watch: Watch<'_>,
) -> Result<Option<Measured>, Error> {
    watch.reach(0.0)?;
    let Subject { network, weights, seed, .. } = *subject;
    let params = weights.leaves(network);
    let wrt: Vec<&Var> = params.tracked().map(|(_, var)| var).collect();
    let size: usize = wrt.iter().map(|var| var.value().len()).sum();
    let room = (method.memory * 2f64.powi(30)) as usize / (8 * size.max(1));
    if size == 0 || room < FEWEST.min(size) {
        return Err(Error::Memory {
            found: format!("{size} learned numbers, {FEWEST} vectors of which do not fit"),
            allowed: format!("{} GiB (`memory`)", method.memory),
        });
    }
    let steps = (method.steps as usize).min(room);
    let probe = within(subject, method.examples as usize, VALUES)?;
    let ran = run(network, &params, &probe.inputs, Mode::Train, &mut |_| Ok(()))?;
    let answers = probe.answers(&ran)?;
    let examples = probe.len().max(1);
    let of = |answers: &Var| -> Result<Var, Error> {
        Ok(probe.total_loss(answers, seed)?.scale(1.0 / examples as f64))
    };
    let loss = of(answers)?;
    let hessian = Hessian::new(&loss, &wrt);
    let gradient: Vec<f64> = hessian.gradient().iter().flat_map(Tensor::to_f64).collect();
    let (value, norm) = (loss.value().item(), square(&gradient).sqrt());
    if !(value.is_finite() && norm.is_finite()) {
        return Ok(None);
    }
    let by = Following {
        watch,
        done: Cell::new(0),
        planned: 2 * steps + method.probes as usize + method.density as usize * steps + 1,
        stop: RefCell::new(None),
    };
    let curved = Followed { map: &hessian, by: &by };

    let along_gradient = if norm > 0.0 {
        let image = curved.apply(&gradient);
        let product: f64 = image.iter().zip(&gradient).map(|(a, b)| a * b).sum();
        Some(product / (norm * norm))
    } else {
        None
    };
    by.stopped()?;
    let stream = |what: &str| Stream::new(seed, &format!("curvature/{what}"));
    let found = ends(&curved, method.tolerance, steps, &stream("ends"))?;
    by.stopped()?;
    let gauss_newton = if answers.is_tracked() {
        let map = GaussNewton::new(answers, &wrt, of)?;
        Some(
            ends(&Followed { map: &map, by: &by }, method.tolerance, steps, &stream("gauss newton"))?
                .max
                .value,
        )
    } else {
        None
    };
    by.stopped()?;
    let trace = match method.probes {
        0 => None,
        probes => Some(trace(&curved, probes as usize, &stream("trace"))?),
    };
    by.stopped()?;
    let density = match method.density {
        0 => None,
        probes => Some(density(&curved, probes as usize, steps, &stream("density"))?),
    };
    by.stopped()?;
    let mut at = 0;
    let shares = params.tracked().map(|(id, var)| {
        let n = var.value().len();
        let part = at..at + n;
        at += n;
        Share {
            name: network.param(id).name.clone(),
            size: n,
            top: square(&found.max.vector[part.clone()]),
            gradient: (norm > 0.0).then(|| square(&gradient[part]) / (norm * norm)),
        }
    });
    let mut shares: Vec<Share> = shares.collect();
    shares.sort_by(|a, b| b.top.total_cmp(&a.top));
    watch.reach(1.0)?;
    Ok(Some(Measured {
        loss: probe.loss_of(answers),
        has_labels: probe.labels.is_some(),
        examples,
        size,
        products: by.done.get(),
        value,
        gradient: norm,
        along_gradient,
        max: found.max.value,
        min: found.min.value,
        residual: found.max.residual,
        gauss_newton,
        trace,
        density,
        shares,
    }))
}
