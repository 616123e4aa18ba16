//! prefork, in a program as a user would write it: nothing is linked but prefork, and no feature of it is asked for.

mod with_prefork;

fn main() -> std::process::ExitCode {
    with_prefork::main()
}
