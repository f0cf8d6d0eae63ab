#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| machineauth_fuzz::issuer::imports(data));
