use prefork_rt::prefork;

#[prefork(max_memory = 512)]
fn main() {}

mod unit {
    use prefork_rt::prefork;

    #[prefork(max_memory = "512M")]
    pub fn main() {}
}

mod decimal_unit {
    use prefork_rt::prefork;

    #[prefork(max_memory = "512MB")]
    pub fn main() {}
}

mod fraction {
    use prefork_rt::prefork;

    #[prefork(max_memory = "1.5GiB")]
    pub fn main() {}
}

mod too_large {
    use prefork_rt::prefork;

    #[prefork(max_memory = "16777216TiB")]
    pub fn main() {}
}

mod without_quotes {
    use prefork_rt::prefork;

    #[prefork(max_memory = 512MiB)]
    pub fn main() {}
}

mod negative {
    use prefork_rt::prefork;

    #[prefork(max_memory = -1)]
    pub fn main() {}
}

mod word {
    use prefork_rt::prefork;

    #[prefork(max_memory = "unlimited")]
    pub fn main() {}
}
