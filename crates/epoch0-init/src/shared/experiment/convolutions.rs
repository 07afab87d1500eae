//! A convolutional network of digits for claims about filters.

use epoch0_method::Error;
use epoch0_net::{Builder, Extent, Linear, Network, Pool, Role, Source, Window};
use epoch0_num::{Activation, Dtype};

use super::of;

/// Digits given as rows of 784 numbers, convolutions of 5 × 5 and then of 3 × 3 with pools behind them, and a readout.
pub(crate) fn convolutions(filters: &[usize]) -> Result<Network, Error> {
    let mut b = Builder::new("convolutions", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(784)]);
    let image = [Extent::Like { input: 0, dim: 0 }, Extent::Fixed(1), Extent::Fixed(28), Extent::Fixed(28)];
    let mut x = b.reshape(x, &[], &image);
    for (nth, &n) in filters.iter().enumerate() {
        let (side, padding) = if nth == 0 { (5, 2) } else { (3, 1) };
        x = b.conv(x, &format!("conv{nth}"), n, Window::square(side, 1, padding), 1, true);
        x = b.activation(x, Activation::Relu);
        x = b.pool(x, Pool::Max(Window::square(2, 2, 0)));
    }
    let x = b.flatten(x);
    let x = b.linear(x, "readout", Linear::new(10).role(Role::Readout));
    b.output(x, "y");
    of(b.finish())
}
