//! Tensors whose elements do not follow each other: transposed, cut out of larger ones, repeated.

/// How elements lie in a range of bytes that begins with the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Strided {
    shape: Vec<usize>,
    /// Bytes from one place of a dimension to the next.
    strides: Vec<usize>,
    /// Bytes of an element.
    size: usize,
}

impl Strided {
    /// None where elements follow each other. Strides are in elements.
    pub(crate) fn of(shape: &[usize], strides: &[usize], size: usize) -> Option<Self> {
        if shape.contains(&0) {
            return None;
        }
        let mut expected = 1;
        for (&dim, &stride) in shape.iter().zip(strides).rev() {
            if dim != 1 && stride != expected {
                let strides = strides.iter().map(|stride| stride * size).collect();
                return Some(Self { shape: shape.to_vec(), strides, size });
            }
            expected *= dim;
        }
        None
    }

    /// The elements in row-major order.
    pub(crate) fn gather(&self, bytes: &[u8]) -> Box<[u8]> {
        let n: usize = self.shape.iter().product();
        let mut out = vec![0; n * self.size];
        match self.size {
            1 => self.fill::<1>(bytes, &mut out),
            2 => self.fill::<2>(bytes, &mut out),
            4 => self.fill::<4>(bytes, &mut out),
            _ => self.fill::<8>(bytes, &mut out),
        }
        out.into()
    }

    fn fill<const SIZE: usize>(&self, bytes: &[u8], out: &mut [u8]) {
        let Some((&width, outer)) = self.shape.split_last() else { return };
        let step = self.strides[outer.len()];
        let mut places = vec![0; outer.len()];
        let mut base = 0;
        for row in out.chunks_exact_mut(width * SIZE) {
            for (nth, to) in row.chunks_exact_mut(SIZE).enumerate() {
                let at = base + nth * step;
                to.copy_from_slice(&bytes[at..at + SIZE]);
            }
            // The next row: the last dimension that is not at its end goes on, those after it begin again.
            for dim in (0..outer.len()).rev() {
                places[dim] += 1;
                base += self.strides[dim];
                if places[dim] < outer[dim] {
                    break;
                }
                base -= places[dim] * self.strides[dim];
                places[dim] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_follow_each_other_need_nothing() {
        assert_eq!(Strided::of(&[2, 3], &[3, 1], 4), None);
        // Places of a dimension of one are never stepped over.
        assert_eq!(Strided::of(&[2, 1, 3], &[3, 77, 1], 4), None);
        assert_eq!(Strided::of(&[], &[], 4), None);
        assert_eq!(Strided::of(&[2, 0, 3], &[9, 9, 9], 4), None);
        assert!(Strided::of(&[2, 3], &[4, 1], 4).is_some());
    }

    #[test]
    fn a_cube_is_turned() {
        let bytes: Vec<u8> = (0..24).collect();
        // What was (2, 3, 4) as (4, 2, 3).
        let strided = Strided::of(&[4, 2, 3], &[1, 12, 4], 1).unwrap();
        let wanted: Vec<u8> =
            (0..4).flat_map(|c| (0..2).flat_map(move |a| (0..3).map(move |b| 12 * a + 4 * b + c))).collect();
        assert_eq!(strided.gather(&bytes)[..], wanted[..]);
        let repeated = Strided::of(&[3, 2], &[0, 1], 2).unwrap();
        assert_eq!(repeated.gather(&bytes[..4])[..], [0, 1, 2, 3].repeat(3)[..]);
    }
}
