//! Every promise of the policy, in a world whose clock, processes and deaths are made up.

use super::*;
use crate::grammar::{Backoff, Reload, Restart, Width};
use world::*;

mod adoption;
mod backoff;
mod boot;
mod budget;
mod clock;
mod drain_delay;
mod hangs;
mod heartbeat;
mod hold;
mod intake;
mod interplay;
mod liveness;
mod prospects;
mod random;
mod readiness;
mod recycling;
mod refusals;
mod reload;
mod replacement;
mod restarts;
mod roll_back;
mod scaling;
mod search;
mod size;
mod stand_still;
mod stop;
mod upgrade;
mod width;
mod world;
