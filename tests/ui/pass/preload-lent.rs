use prefork_rt::prefork;

use std::collections::BTreeMap;

type Table = BTreeMap<&'static str, u8>;

struct Tables;

impl Tables {
    fn load() -> Result<Table, Box<dyn std::error::Error>> {
        Ok(Table::from([("four", "4".parse()?)]))
    }
}

#[prefork(workers = 2, preload = Tables::load)]
fn main(table: &'static Table, _: usize, same: &BTreeMap<&str, u8>) {
    assert_eq!(table["four"], 4);
    assert!(std::ptr::eq(table, same));
}
