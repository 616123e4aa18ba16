use prefork_rt::prefork;

#[prefork(restart_window = "0s", ready_timeout = "0s", heartbeat_timeout = "0s", max_lifetime = "0s")]
fn main() {}

mod heartbeats {
    use prefork_rt::prefork;

    #[prefork(restart_window = 30, ready_timeout = "soon", heartbeat_timeout = "99ms", max_lifetime = 1h)]
    pub fn main() {}
}

mod others {
    use prefork_rt::prefork;

    #[prefork(restart_window = "1d", ready_timeout = "1.5s", heartbeat_timeout = "501h", max_lifetime = "")]
    pub fn main() {}
}
