//! Any text as an annotation: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vertebrae::annotation::lml;

fuzz_target!(|bytes: &[u8]| {
    let _ = lml::parse(&String::from_utf8_lossy(bytes));
});
