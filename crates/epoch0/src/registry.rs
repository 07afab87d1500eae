//! The methods of all families.

use epoch0_method::{Claim, Error, Info};

/// A method of any family: what is said about it, and its claims.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Description.
    pub info: &'static Info,
    /// What its papers claim.
    pub claims: &'static [Claim],
}

/// Every method, family by family, each by id. Ids are unique over all families.
pub fn methods() -> Vec<Method> {
    let init = epoch0_init::METHODS.iter().map(|entry| Method { info: entry.info, claims: entry.claims });
    let examine =
        epoch0_examine::METHODS.iter().map(|entry| Method { info: entry.info, claims: entry.claims });
    init.chain(examine).collect()
}

/// The method of that id or alias, of whatever family.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<Method, Error> {
    let init = epoch0_init::find(name).map(|entry| Method { info: entry.info, claims: entry.claims });
    init.or_else(|error| match (error, epoch0_examine::find(name)) {
        (_, Ok(entry)) => Ok(Method { info: entry.info, claims: entry.claims }),
        (Error::UnknownMethod { name, near }, Err(Error::UnknownMethod { near: more, .. })) => {
            Err(Error::UnknownMethod { name, near: near.into_iter().chain(more).take(3).collect() })
        }
        (error, Err(_)) => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_over_all_families() {
        let mut seen = BTreeSet::new();
        for method in methods() {
            for name in method.info.aliases.iter().chain([&method.info.id]) {
                assert!(seen.insert(*name), "`{name}` names two methods");
                assert_eq!(find(name).unwrap().info.id, method.info.id);
            }
        }
    }
}
