//! Single steps of the core: events in, effects and reports compared as data.

mod attempts;
mod batches;
mod controllers;
mod environments;
mod leaving;
mod renewal;
mod workers;
mod world;
