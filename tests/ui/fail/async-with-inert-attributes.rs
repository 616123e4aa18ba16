use prefork_rt::prefork;

/// Serves.
#[allow(unused)]
#[prefork]
#[cfg(all())]
#[expect(dead_code)]
#[deprecated]
#[inline]
async fn main() {}
