#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resound::fuzzing::cluster_message(data));
