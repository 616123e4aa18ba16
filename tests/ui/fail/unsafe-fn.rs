use prefork_rt::prefork;

/// # Safety
#[prefork]
unsafe fn main() {}
