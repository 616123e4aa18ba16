//! placeholder
use proc_macro::TokenStream;
/// placeholder
#[proc_macro_attribute]
pub fn prefork(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
