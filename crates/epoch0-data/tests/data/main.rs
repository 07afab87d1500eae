//! Data sets: formats, hostile files, generators, preparation, specifications.

mod formats;
mod generators;
mod hostile;
mod preparation;
mod specs;
