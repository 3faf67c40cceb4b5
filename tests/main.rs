//! The real command on real suites: each case runs the binary with a real pytest on a copy of a small suite, and
//! compares every verdict and the exit code with what is expected.

mod around;
mod attachments;
mod branches;
mod changed;
mod chaos;
mod containers;
mod controllers;
mod corners;
mod coverage;
mod dashboards;
mod doctor;
mod drain;
mod environment;
mod environments;
mod frameworks;
mod had_back;
mod harness;
mod images;
mod index;
mod keep;
mod live;
mod losses;
mod options;
mod outcomes;
mod plan;
mod plugins;
mod processes;
mod remote;
mod renewal;
mod rust;
mod scenarios;
mod services;
mod stores;
mod structure;
mod tls;
