#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resound::fuzzing::event_body(data));
