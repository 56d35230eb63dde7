//! A configuration file of any bytes.
//!
//! Holds: it is read, or each mistake has a line of the file and a column.
#![no_main]

use std::io::Write as _;
use std::path::PathBuf;

use detector_user::operate::config::{Config, ConfigError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(input).expect("it can be written");
    let path = PathBuf::from(file.path());
    let lines = input.split(|byte| *byte == b'\n').count();
    match Config::from_file(&path) {
        Ok(_) => (),
        Err(ConfigError::Wrong { problems, .. }) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!((1..=lines).contains(&problem.line), "{problem}");
                assert!(problem.column > 0, "{problem}");
            }
        }
        Err(error) => panic!("{error}"),
    }
});
