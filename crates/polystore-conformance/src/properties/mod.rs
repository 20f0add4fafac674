//! The properties, by what they are about.

pub use self::hostile::HOSTILE;
use crate::property::Property;

mod add;
mod basics;
mod batches;
mod close;
mod errors;
mod expired;
mod expiry;
mod handles;
mod hostile;
mod insert;
mod keys;
mod listing;
mod model;
mod prefixes;
mod replace;
mod tasks;
mod touch;
mod values;

/// All of them, in the order in which they are reported.
pub(crate) fn all() -> Vec<Property> {
    [
        basics::all(),
        values::all(),
        add::all(),
        insert::all(),
        replace::all(),
        expiry::all(),
        touch::all(),
        expired::all(),
        keys::all(),
        prefixes::all(),
        batches::all(),
        listing::all(),
        tasks::all(),
        handles::all(),
        errors::all(),
        close::all(),
        model::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The names of all properties, in the order in which they are reported.
#[must_use]
pub fn names() -> Vec<String> {
    all().into_iter().map(|property| property.name).collect()
}
