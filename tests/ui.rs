//! What the attribute refuses, in which words and where, and what it accepts.

#[test]
fn attribute() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
