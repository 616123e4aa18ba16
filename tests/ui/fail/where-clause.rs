use prefork_rt::prefork;

#[prefork]
fn main()
where
    u8: Copy,
{
}
