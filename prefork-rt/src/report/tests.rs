use super::*;

#[test]
fn every_end_is_named() {
    assert_eq!(how(Status::Exited(3)).to_string(), "exited with status 3");
    assert_eq!(how(Status::Killed { signal: libc::SIGSEGV, dumped_core: false }).to_string(), "killed by SIGSEGV");
    assert_eq!(
        how(Status::Killed { signal: libc::SIGRTMIN() + 3, dumped_core: true }).to_string(),
        "killed by SIGRTMIN+3 (core dumped)"
    );
}

#[test]
fn an_end_of_a_worker_that_hung_is_a_sentence() {
    let killed = Status::Killed { signal: libc::SIGABRT, dumped_core: false };
    assert_eq!(what(Failure::Hung(killed)).to_string(), "hung and was ended by SIGABRT");
    assert_eq!(
        what(Failure::Hung(Status::KilledByOthers(Killer::Unknown))).to_string(),
        "hung and was ended by SIGKILL"
    );
    assert_eq!(what(Failure::Hung(Status::Exited(77))).to_string(), "hung and exited with status 77");
}
