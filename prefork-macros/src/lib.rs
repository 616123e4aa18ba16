//! The attribute of `prefork-rt`. Not for direct use:
//! depend on `prefork-rt` and write `use prefork_rt::prefork;`.
//! What the attribute does and takes is documented there.
#![forbid(unsafe_code)]

mod args;
mod expand;
mod grammar;

use proc_macro::TokenStream;

/// See `prefork_rt::prefork`.
#[proc_macro_attribute]
pub fn prefork(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(args.into(), item.into()).into()
}
