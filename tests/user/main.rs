//! The options `user` and `group`: workers are who they were told to be, for good, and all else holds as before.

mod accounts;
mod becomes;
mod lifetime;
mod refused;
mod rights;
#[path = "../support/mod.rs"]
mod support;

use support::session::Session;

const NOBODY: u32 = 65534;

macro_rules! only_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            $crate::skip!("only root can become another user");
        }
    };
}
pub(crate) use only_root;

/// What a worker says of itself when it has become another user and there is no way back.
fn became(uid: u32, gid: u32, groups: &str) -> String {
    format!(
        "uid {uid} {uid} {uid} {uid} gid {gid} {gid} {gid} {gid} groups [{groups}] cap 0000000000000000 \
         back Err(EPERM) Err(EPERM)"
    )
}

fn stop(program: &mut Session) {
    program.stop();
    assert_eq!(program.stderr.count("had to be killed"), 0);
    program.wait_until_empty();
}
