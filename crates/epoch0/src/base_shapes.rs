//! A network's widths against those of a base network.

use epoch0_format::BaseShapes;
use epoch0_init::spectral::read_width;
use epoch0_net::Network;

use crate::Error;

/// The base shapes of two networks that are one at two widths: sizes that differ are widths.
///
/// # Errors
/// When they have other parameters.
pub fn base_shapes(base: &Network, wider: &Network) -> Result<BaseShapes, Error> {
    let trained = |net: &Network| -> Vec<(String, Vec<usize>)> {
        let own = net.params().iter().filter(|param| !param.role.is_buffer());
        own.map(|param| (param.name.clone(), param.shape.clone())).collect()
    };
    let (of_base, of_wider) = (trained(base), trained(wider));
    let is_alike = of_base.len() == of_wider.len()
        && of_base.iter().zip(&of_wider).all(|((a, of_a), (b, of_b))| a == b && of_a.len() == of_b.len());
    if !is_alike {
        let why =
            format!("it and {} have other parameters, and are not one network at two widths", wider.name());
        return Err(Error::Width { given: base.name().to_owned(), why });
    }
    let sizes = |(base, wider): (&Vec<usize>, &Vec<usize>)| {
        base.iter().zip(wider).map(|(base, wider)| (base != wider).then_some(*base)).collect()
    };
    let all = of_base.iter().zip(&of_wider);
    Ok(BaseShapes::new(all.map(|((name, base), (_, wider))| (name.clone(), sizes((base, wider))))))
}

/// The width that the readout reads in the base network: what `spectral` takes as `base`.
///
/// # Errors
/// When the shapes are not those of this network at another width: names differ, a size that stays does not, or widths have
/// not grown alike.
pub fn base_width(net: &Network, shapes: &BaseShapes) -> Result<u32, Error> {
    let wrong = |why: String| Error::Width { given: net.name().to_owned(), why };
    let mut ratio: Option<(usize, usize, &str)> = None;
    for param in net.params().iter().filter(|param| !param.role.is_buffer()) {
        let Some(base) = shapes.of(&param.name) else {
            return Err(wrong(format!("the base shapes have no {}", param.name)));
        };
        if base.len() != param.shape.len() {
            let (found, own) = (base.len(), param.shape.len());
            return Err(wrong(format!(
                "{} has {own} dimensions, and {found} in the base shapes",
                param.name
            )));
        }
        for (&size, &base) in param.shape.iter().zip(base) {
            let Some(base) = base else { continue };
            let (a, b, first) = *ratio.get_or_insert((size, base, &param.name));
            if a as u128 * base as u128 != b as u128 * size as u128 {
                return Err(wrong(format!(
                    "{} has grown from {base} to {size} and {first} from {b} to {a}: widths have to grow alike",
                    param.name
                )));
            }
        }
    }
    let (size, base, _) = ratio.ok_or_else(|| wrong("the base shapes have no width".to_owned()))?;
    let width = read_width(net).unwrap_or(size) as u128 * base as u128 / size as u128;
    u32::try_from(width)
        .ok()
        .filter(|width| *width > 0)
        .ok_or_else(|| wrong(format!("a base width of {width}")))
}

#[cfg(test)]
mod tests {
    use epoch0_net::zoo::build;

    use super::*;

    #[test]
    fn widths_are_what_differs() {
        let (base, wider) = (build("mlp:8-16-16-3").unwrap(), build("mlp:8-64-64-3").unwrap());
        let shapes = base_shapes(&base, &wider).unwrap();
        assert_eq!(shapes.of("0.weight"), Some(&[Some(16), None][..]));
        assert_eq!(shapes.of("4.weight"), Some(&[None, Some(16)][..]));
        assert_eq!(base_width(&wider, &shapes).unwrap(), 16);
        let uneven = build("mlp:8-64-32-3").unwrap();
        assert!(base_width(&uneven, &shapes).unwrap_err().to_string().contains("alike"));
        assert!(base_shapes(&base, &build("mlp:8-64-3").unwrap()).is_err());
    }
}
