//! The adapter's folder, and that of a changed network.

use std::collections::BTreeMap;
use std::path::Path;

use epoch0_format::{self as format, NewFolder, Plan, TensorSpec, Writer, pt_metadata};
use epoch0_inherit::adapter::peft::{self, About, Part};
use epoch0_inherit::adapter::{self, Form, Map, Matrix, Target};
use epoch0_net::Source;
use epoch0_num::{Dtype, Element, with_element};
use rayon::prelude::*;

use super::look::Seen;
use super::{AdapterReceipt, Planned, Work, base_path};
use crate::inherit::copy_beside;
use crate::receipt;
use crate::weights::tensor_of;
use crate::{Error, Options};

/// Rounded to what a type can hold, and its little-endian bytes; what that is not finite is an error.
fn encoded(method: &str, place: &str, dtype: Dtype, values: &[f64]) -> Result<(Vec<f64>, Vec<u8>), Error> {
    with_element!(dtype, T => {
        let rounded: Vec<T> = values.iter().map(|&value| T::from_f64(value)).collect();
        let back: Vec<f64> = rounded.iter().map(|value| value.to_f64()).collect();
        if let Some(at) = back.iter().position(|value| !value.is_finite()) {
            let site = format!("{place} as {dtype}");
            return Err(epoch0_method::Error::NotFinite { method: method.to_owned(), site, value: values[at].to_string() }.into());
        }
        Ok((back, bytemuck::cast_slice(&rounded).to_vec()))
    })
}

/// Folders in the making.
pub(super) struct Folders {
    adapter: NewFolder,
    base: Option<NewFolder>,
}

/// Parts that an adapter has.
pub(super) fn parts(with_norms: bool) -> &'static [Part] {
    if with_norms { &[Part::A, Part::B, Part::Magnitude] } else { &[Part::A, Part::B] }
}

impl Folders {
    pub(super) fn begin(out: &Path, form: Form, options: &Options<'_>) -> Result<Self, Error> {
        let adapter = NewFolder::begin(out, options.replace)?;
        let base =
            form.changes_base().then(|| NewFolder::begin(base_path(out), options.replace)).transpose()?;
        Ok(Self { adapter, base })
    }

    /// Writes them; answers what a user should know.
    pub(super) fn write(
        self,
        work: &Work<'_>,
        seen: &Seen,
        note: &AdapterReceipt,
        dtype: Dtype,
        options: &Options<'_>,
    ) -> Result<Option<String>, Error> {
        let (form, config) = (work.method.form(), &note.adapter.config);
        let parts = parts(config.dora);
        let kept: Vec<(usize, &Planned)> = work.kept().collect();
        let specs = kept.iter().flat_map(|(_, planned)| {
            parts.iter().map(|&part| {
                let shape = peft::shape(&planned.target, part, planned.rank * form.times());
                TensorSpec::new(peft::name(&planned.target, part), dtype, shape)
            })
        });
        let mut metadata = pt_metadata();
        metadata
            .insert(receipt::KEY.to_owned(), serde_json::to_string(note).expect("a receipt is plain data"));
        let plan = Plan::in_file(peft::WEIGHTS_FILE, specs.collect(), &metadata)?;
        let writer = Writer::create(self.adapter.path(), plan)?;
        let changed = self.base.as_ref().map(|folder| base_writer(work, folder, options)).transpose()?;
        let one = |(nth, &(at, planned)): (usize, &(usize, &Planned))| {
            options.check_cancelled()?;
            let started = Started::of(work, planned, at, seen, dtype, parts)?;
            for (part, bytes) in started.parts.iter().enumerate() {
                writer.write_at(nth * parts.len() + part, 0, bytes)?;
            }
            if let (Some((name, bytes)), Some((writer, by_name))) = (started.base, &changed) {
                writer.write_at(by_name[name], 0, &bytes)?;
            }
            if let Some(progress) = options.progress {
                progress(work.net.param(planned.target.param).bytes());
            }
            Ok::<_, Error>(started.is_zero.then(|| planned.target.module.clone()))
        };
        let zero: Vec<Option<String>> = kept.par_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        let zero: Vec<String> = zero.into_iter().flatten().collect();
        writer.finish()?;
        if let (Some(folder), Some((writer, _))) = (self.base, changed) {
            finish_base(work, &folder, writer, &kept)?;
            folder.commit()?;
        }
        let base = match form.changes_base() {
            true => base_path(self.adapter.target()).display().to_string(),
            false => work.described.given.clone(),
        };
        let of_kept = |(_, planned): &(usize, &Planned)| {
            (planned.target.clone(), planned.rank * form.times(), planned.scale)
        };
        let targets: Vec<(Target, usize, f64)> = kept.iter().map(of_kept).collect();
        let about = About { base: &base, config, targets: &targets, init: work.method.peft() };
        self.adapter.write(peft::CONFIG_FILE, peft::config_text(work.net, &about).as_bytes())?;
        self.adapter.commit()?;
        Ok(zero.first().map(|first| {
            let more = if zero.len() > 1 { format!(" and {} more", zero.len() - 1) } else { String::new() };
            format!("A and B of {first}{more} are both zero: they never learn")
        }))
    }
}

/// Files of the changed network, and places of tensors in them by name.
type BaseWriter<'w> = (Writer, BTreeMap<&'w str, usize>);

fn base_writer<'w>(
    work: &'w Work<'_>,
    folder: &NewFolder,
    options: &Options<'_>,
) -> Result<BaseWriter<'w>, Error> {
    let mut metadata = work.checkpoint.metadata().clone();
    // What a receipt says is no longer so.
    metadata.remove(receipt::KEY);
    metadata.extend(pt_metadata());
    if let Source::Zoo { spec } = work.net.source() {
        metadata.insert(receipt::NETWORK_KEY.to_owned(), spec.clone());
    }
    let tensors = || work.checkpoint.tensors();
    let spec = |tensor: format::Tensor<'_>| TensorSpec::new(tensor.name(), tensor.dtype(), tensor.shape());
    let plan = Plan::new(tensors().map(spec).collect(), &metadata, options.shard_size)?;
    let by_name = tensors().enumerate().map(|(at, tensor)| (tensor.name(), at)).collect();
    Ok((Writer::create(folder.path(), plan)?, by_name))
}

/// Writes what stays as it was, and what stands beside it.
fn finish_base(
    work: &Work<'_>,
    folder: &NewFolder,
    writer: Writer,
    kept: &[(usize, &Planned)],
) -> Result<(), Error> {
    let names = kept
        .iter()
        .map(|(_, planned)| Ok(tensor_of(&work.checkpoint, work.net, planned.target.param)?.name()));
    let changed: Vec<&str> = names.collect::<Result<_, Error>>()?;
    for (at, tensor) in work.checkpoint.tensors().enumerate() {
        if !changed.contains(&tensor.name()) {
            writer.write_at(at, 0, tensor.bytes())?;
        }
    }
    if let Some(text) = work.described.config_text() {
        folder.write("config.json", text.as_bytes())?;
    }
    copy_beside(work.described.place(), folder)?;
    writer.finish()?;
    Ok(())
}

/// A start as it is stored.
pub(super) struct Started<'a> {
    /// Elements of A, B, and norms where there are any.
    pub(super) parts: Vec<Vec<u8>>,
    /// The changed weight, under its name.
    base: Option<(&'a str, Vec<u8>)>,
    is_zero: bool,
}

impl<'a> Started<'a> {
    pub(super) fn of(
        work: &'a Work<'_>,
        planned: &Planned,
        at: usize,
        seen: &Seen,
        dtype: Dtype,
        parts: &[Part],
    ) -> Result<Self, Error> {
        let Planned { target, scale, .. } = planned;
        let weight = work.with_weights.then(|| work.weight(target)).transpose()?;
        let start = work.method.start(&Map {
            met: seen.digests.get(at),
            gradient: seen.gradients.get(at),
            ..work.map(planned, weight.as_ref())
        })?;
        let form = work.method.form();
        let round = |matrix: Matrix, part: Part| {
            let (rows, columns) = (matrix.rows(), matrix.columns());
            let (rounded, bytes) = encoded(work.id, &peft::name(target, part), dtype, matrix.values())?;
            Ok::<_, Error>((Matrix::new(rows, columns, rounded), bytes))
        };
        let is_zero = start.a.is_zero() && start.b.is_zero();
        let adapter::Start { a, b, base: replaced } = start;
        let start = adapter::Start { a, b, base: None };
        let start = if form == Form::Doubled { start.doubled() } else { start };
        let ((a, a_bytes), (b, b_bytes)) = (round(start.a, Part::A)?, round(start.b, Part::B)?);
        let mut bytes = vec![a_bytes, b_bytes];
        let base = match (form, &weight) {
            // Of what was stored, so that base and adapter are the map.
            (Form::Residual, Some(weight)) => Some(weight.clone().plus(-scale, &b.times(&a))),
            (Form::Replaced, _) => replaced,
            _ => None,
        };
        if parts.contains(&Part::Magnitude)
            && let Some(weight) = base.as_ref().or(weight.as_ref())
        {
            let norms = weight.clone().plus(*scale, &b.times(&a)).row_norms();
            bytes.push(encoded(work.id, &peft::name(target, Part::Magnitude), dtype, &norms)?.1);
        }
        let base = match base {
            Some(base) => {
                let tensor = tensor_of(&work.checkpoint, work.net, target.param)?;
                let stored = if target.is_transposed { base.transposed() } else { base };
                Some((tensor.name(), encoded(work.id, tensor.name(), tensor.dtype(), stored.values())?.1))
            }
            None => None,
        };
        Ok(Self { parts: bytes, base, is_zero })
    }
}
