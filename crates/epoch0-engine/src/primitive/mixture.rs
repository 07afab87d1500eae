//! Weights that are sums of templates (Pham et al. 2023).

use crate::var::Var;

impl Var {
    /// `Σ_j α_j T_j`: templates of one shape, and a coefficient of each.
    ///
    /// # Panics
    ///
    /// When there is no template, or another number of coefficients.
    #[must_use]
    pub fn mixed(templates: &[&Self], coefficients: &Self) -> Self {
        assert_eq!(coefficients.shape(), [templates.len()], "a coefficient for each template");
        let term = |(nth, template): (usize, &&Self)| {
            let coefficient = coefficients.slice(0, nth, nth + 1, 1).reshape(&vec![1; template.rank()]);
            template.mul(&coefficient)
        };
        let sum = templates.iter().enumerate().map(term).reduce(|sum, term| sum.add(&term));
        sum.expect("at least one template")
    }
}
