//! Networks of ONNX files without their normalizations, with the single shifts and factors that Fixup puts in their place.

use std::path::Path;

use epoch0_format::Replace;
use epoch0_format::onnx::{self, Scalars};
use epoch0_net::{Network, NormKind, Op, ParamId};
use serde::Serialize;

use crate::{Described, Error};

/// What was done to a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stripped {
    /// Batch normalizations that went.
    pub norms: Vec<String>,
    /// Those that stay: the file has them in a function, or something reads their statistics.
    pub kept: Vec<String>,
    /// Factors at the end of residual branches.
    pub factors: usize,
    /// Shifts, before maps of branches and in the place of norms.
    pub shifts: usize,
    /// The file written.
    pub out: String,
}

/// Writes an ONNX file again without batch normalizations: a single shift stands in the place of each, one before each map of
/// a residual branch and before the readout, and a single factor at the end of each branch (Zhang et al. 2019, section 3).
/// Factors are 1 and shifts 0. Weights stay as they are; a start for the new network is drawn next.
///
/// # Errors
/// When it is no ONNX file, or has no residual branches, and when it cannot be read or written.
pub fn strip_norm(from: &Path, out: &Path, replace: Replace) -> Result<Stripped, Error> {
    let given = from.display().to_string();
    let described = Described::open(&given)?;
    if described.onnx.is_none() {
        return Err(Error::NoOnnx { given, out: out.to_owned() });
    }
    let net = &described.net;
    let (scalars, norms) = scalars(net)?;
    let found = onnx::write_scalars(from, out, &scalars, replace)?;
    let of = |is_found: bool| {
        let names = norms.iter().zip(&found).filter(move |(_, found)| **found == is_found);
        names.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let in_norms =
        scalars.norms.iter().zip(&found).filter(|((_, has_factor), found)| *has_factor && **found).count();
    Ok(Stripped {
        kept: of(false),
        factors: scalars.scaled.len() + in_norms,
        shifts: scalars.shifted.len() + found.iter().filter(|found| **found).count(),
        norms: of(true),
        out: out.display().to_string(),
    })
}

/// Where shifts and factors go, and what the norms are called.
fn scalars(net: &Network) -> Result<(Scalars, Vec<String>), Error> {
    let ends = net.branch_ends();
    if ends.is_empty() {
        return Err(epoch0_method::Error::Unsupported {
            method: "strip-norm".to_owned(),
            what: net.name().to_owned(),
            why: "it has no residual branches".to_owned(),
            hint: "fold-bn makes batch normalizations part of the layers before them".to_owned(),
        }
        .into());
    }
    let name = |id: ParamId| net.param(id).name.clone();
    let mut scalars = Scalars::default();
    let mut norms = Vec::new();
    let is_end = |scale: Option<ParamId>| scale.is_some() && ends.iter().any(|end| end.norm == scale);
    for node in net.nodes() {
        if let Op::Norm { kind: NormKind::Batch, scale, running: Some([mean, ..]), .. } = &node.op {
            scalars.norms.push((name(*mean), is_end(*scale)));
            norms
                .push(name(*mean).rsplit_once('.').map_or_else(String::new, |(module, _)| module.to_owned()));
        }
    }
    for site in net.sites().iter().filter(|site| site.role.is_matrix() && site.is_own) {
        let is_read = site.branch.is_some() || site.role == epoch0_net::Role::Readout;
        if is_read && !scalars.shifted.contains(&site.name) {
            scalars.shifted.push(site.name.clone());
        }
    }
    // Where no norm stands at the end of a branch, the factor goes behind its last weight.
    let bare = ends.iter().filter(|end| end.norm.is_none() && end.factor.is_none());
    scalars.scaled = bare.map(|end| name(net.nodes()[end.last.0 as usize].op.params()[0])).collect();
    Ok((scalars, norms))
}
