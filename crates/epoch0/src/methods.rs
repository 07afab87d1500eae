//! Methods of all families.

use epoch0_method::{Claim, Entry, Error, Info, near};

/// A method, whatever its family.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// What it says about itself.
    pub info: &'static Info,
    /// What its papers claim.
    pub claims: &'static [Claim],
}

impl Method {
    fn of<T: ?Sized>(entry: &'static Entry<T>) -> Self {
        Self { info: entry.info, claims: entry.claims }
    }
}

/// Every method of every family, by id.
pub fn methods() -> Vec<Method> {
    let init = epoch0_init::METHODS.iter().map(|&entry| Method::of(entry));
    let calibrate = epoch0_init::CALIBRATORS.iter().map(|&entry| Method::of(entry));
    let examine = epoch0_examine::METHODS.iter().map(|&entry| Method::of(entry));
    let inherit = epoch0_inherit::METHODS.iter().map(|&entry| Method::of(entry));
    let adapters = epoch0_inherit::adapter::ADAPTERS.iter().map(|&entry| Method::of(entry));
    let merge = epoch0_inherit::merge::METHODS.iter().map(|&entry| Method::of(entry));
    let align = epoch0_inherit::merge::ALIGNERS.iter().map(|&entry| Method::of(entry));
    let mut methods: Vec<_> = init
        .chain(calibrate)
        .chain(examine)
        .chain(inherit)
        .chain(adapters)
        .chain(merge)
        .chain(align)
        .chain([
            Method::of(&epoch0_inherit::codebook::ENTRY),
            Method::of(&epoch0_inherit::learngene_pool::ENTRY),
        ])
        .collect();
    methods.sort_by_key(|method| method.info.id);
    methods
}

/// The method of that id or alias, in any family.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn method(name: &str) -> Result<Method, Error> {
    let found = epoch0_init::find(name).map(Method::of);
    let found = found.or_else(|_| epoch0_init::calibrate::find(name).map(Method::of));
    let found = found.or_else(|_| epoch0_examine::find(name).map(Method::of));
    let found = found.or_else(|_| epoch0_inherit::find(name).map(Method::of));
    let found = found.or_else(|_| epoch0_inherit::adapter::find(name).map(Method::of));
    let found = found.or_else(|_| epoch0_inherit::merge::find(name).map(Method::of));
    let align = || epoch0_method::find(epoch0_inherit::merge::ALIGNERS, name).map(Method::of);
    let found = found.or_else(|_| align());
    let compress = || epoch0_method::find(&[&epoch0_inherit::codebook::ENTRY], name).map(Method::of);
    let pool = || epoch0_method::find(&[&epoch0_inherit::learngene_pool::ENTRY], name).map(Method::of);
    found.or_else(|_| compress()).or_else(|_| pool()).map_err(|_| {
        let methods = methods();
        let known =
            methods.iter().flat_map(|method| method.info.aliases.iter().copied().chain([method.info.id]));
        Error::UnknownMethod { name: name.to_owned(), near: near(name, known) }
    })
}
