//! The methods of the init family: the registry against its files, laws against reference numbers, and draws against
//! laws.

mod draws;
mod laws;
mod lsuv;
mod nets;
mod plans;
mod registry;
