//! Drawing parameters: in pieces where every element has one law, whole where elements are drawn together.

use epoch0_method::{ArrayMut, At, Error, SiteLaw};
use epoch0_net::{ParamId, Site};
use epoch0_num::{Dtype, Element, Law, Stream, Summary, with_element};
use rayon::prelude::*;

use super::{Plan, Planned};

/// What was drawn at a planned site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Index in [`Plan::sites`].
    pub planned: usize,
    /// Its elements; those of the whole parameter where one law covers it.
    pub summary: Summary,
}

impl Plan<'_> {
    fn stream(&self, param: ParamId) -> Stream {
        Stream::new(self.seed, &self.net.param(param).name)
    }

    /// Draws elements `start..` of a parameter that has a single law (see [`Plan::single_law`]) as the little-endian
    /// bytes of its type. Any piece can be drawn alone and is the same as in the whole.
    ///
    /// # Errors
    /// When `out` is no whole number of elements, or the parameter has no single law.
    pub fn draw_piece(&self, param: ParamId, start: usize, out: &mut [u8]) -> Result<Summary, Error> {
        let law = self.single_law(param).ok_or_else(|| Error::Unsupported {
            method: "draw".to_owned(),
            what: self.net.param(param).name.clone(),
            why: "its elements have different laws or are drawn together".to_owned(),
            hint: "draw it whole".to_owned(),
        })?;
        let (dtype, stream) = (self.net.param(param).dtype, self.stream(param));
        if !dtype.is_float() {
            return constant_integers(law, dtype, out);
        }
        let padding = self.padding(param);
        with_element!(dtype, T => {
            let piece = |values: &mut [T]| {
                fill(&law, &stream, start, values)?;
                zero_padding(padding.clone(), start, values);
                Ok(Summary::of(values))
            };
            if let Ok(values) = bytemuck::try_cast_slice_mut::<u8, T>(out) {
                return piece(values);
            }
            // A buffer that is not aligned for its type.
            let mut values = vec![T::default(); out.len() / size_of::<T>()];
            let summary = piece(&mut values)?;
            out.copy_from_slice(bytemuck::cast_slice(&values));
            Ok(summary)
        })
    }

    /// Draws a parameter whole, on all threads of the current pool, as the little-endian bytes of its type.
    ///
    /// # Errors
    /// When a method fails at one of its sites, or gives what is not finite.
    pub fn draw_whole(&self, param: ParamId) -> Result<(Vec<u8>, Vec<Measured>), Error> {
        const PIECE: usize = 1 << 20;
        let (len, dtype) = (self.net.param(param).len(), self.net.param(param).dtype);
        let mut bytes = vec![0u8; len * dtype.bytes()];
        let first = self.first_of(param);
        if self.single_law(param).is_some() {
            let pieces: Vec<_> = bytes
                .par_chunks_mut(PIECE * dtype.bytes())
                .enumerate()
                .map(|(nth, piece)| self.draw_piece(param, nth * PIECE, piece))
                .collect::<Result<_, _>>()?;
            let mut summary = Summary::default();
            pieces.iter().for_each(|piece| summary.merge(piece));
            return Ok((bytes, vec![Measured { planned: first, summary }]));
        }
        let measured = with_element!(dtype, T => {
            let mut values = vec![T::default(); len];
            let measured = self.draw_sites::<T>(param, &mut values)?;
            bytes.copy_from_slice(bytemuck::cast_slice(&values));
            measured
        });
        Ok((bytes, measured))
    }

    fn draw_sites<T: Element>(&self, param: ParamId, values: &mut [T]) -> Result<Vec<Measured>, Error> {
        let stream = self.stream(param);
        let padding = self.padding(param);
        let mut measured = Vec::new();
        for (nth, planned) in self.sites_of(param).iter().enumerate() {
            let site = &self.net.sites()[planned.site];
            let mut dense = vec![T::default(); site.view.len()];
            match &planned.law {
                SiteLaw::Each(law) => {
                    // Each element is that of its place in the parameter, as if the law covered all of it.
                    let mut whole = vec![T::default(); values.len()];
                    fill(law, &stream, 0, &mut whole)?;
                    gather(site, &whole, &mut dense);
                }
                SiteLaw::Joint(_) => self.fill_joint(planned, site, &stream, &mut dense)?,
            }
            scatter(site, &dense, values);
            measured.push(Measured { planned: self.first_of(param) + nth, summary: Summary::of(&dense) });
        }
        zero_padding(padding, 0, values);
        Ok(measured)
    }

    fn fill_joint<T: Element>(
        &self,
        planned: &Planned,
        site: &Site,
        stream: &Stream,
        dense: &mut [T],
    ) -> Result<(), Error> {
        let at = At { net: self.net, site };
        let stream = site.part.as_ref().map_or(*stream, |part| stream.child(part));
        let check = |value: f64| {
            if value.is_finite() {
                return Ok(value);
            }
            let site = site.label();
            Err(Error::NotFinite { method: planned.method.to_owned(), site, value: value.to_string() })
        };
        if T::DTYPE == Dtype::F64 {
            let mut drawn = vec![0.0f64; dense.len()];
            planned.initializer.fill(&at, &stream, ArrayMut::F64(&mut drawn))?;
            for (out, value) in dense.iter_mut().zip(drawn) {
                *out = T::from_f64(check(value * planned.scale)?);
            }
        } else {
            let mut drawn = vec![0.0f32; dense.len()];
            planned.initializer.fill(&at, &stream, ArrayMut::F32(&mut drawn))?;
            for (out, value) in dense.iter_mut().zip(drawn) {
                *out = T::from_f64(check(f64::from(value) * planned.scale)?);
            }
        }
        Ok(())
    }

    /// Elements of the row that stays zero.
    fn padding(&self, param: ParamId) -> Option<std::ops::Range<usize>> {
        let param = self.net.param(param);
        let width = param.shape.get(1)?;
        param.padding_row.map(|row| row * width..(row + 1) * width)
    }
}

fn fill<T: Element>(law: &Law, stream: &Stream, start: usize, out: &mut [T]) -> Result<(), Error> {
    law.fill(stream, start as u64, out)
        .map_err(|error| Error::Recipe { place: law.to_string(), why: error.to_string() })
}

fn zero_padding<T: Element>(padding: Option<std::ops::Range<usize>>, start: usize, values: &mut [T]) {
    if let Some(row) = padding {
        let (from, to) = (row.start.max(start), row.end.min(start + values.len()));
        if from < to {
            values[from - start..to - start].fill(T::default());
        }
    }
}

/// Buffers of integers count from a constant.
fn constant_integers(law: Law, dtype: Dtype, out: &mut [u8]) -> Result<Summary, Error> {
    let value = law.mean();
    if law.std() != 0.0 || value.fract() != 0.0 || dtype != Dtype::I64 {
        return Err(Error::Recipe {
            place: law.to_string(),
            why: format!("an array of {dtype} can only be a constant whole number"),
        });
    }
    let bytes = (value as i64).to_le_bytes();
    out.chunks_exact_mut(bytes.len()).for_each(|element| element.copy_from_slice(&bytes));
    let n = (out.len() / bytes.len()) as u64;
    Ok(Summary::constant(value, n))
}

fn gather<T: Element>(site: &Site, stored: &[T], dense: &mut [T]) {
    site.view.runs(|canonical, storage, length, stride| {
        for step in 0..length {
            dense[canonical + step] = stored[storage + step * stride];
        }
    });
}

fn scatter<T: Element>(site: &Site, dense: &[T], stored: &mut [T]) {
    site.view.runs(|canonical, storage, length, stride| {
        for step in 0..length {
            stored[storage + step * stride] = dense[canonical + step];
        }
    });
}
