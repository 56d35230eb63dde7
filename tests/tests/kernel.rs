//! The programs in this machine's kernel: that the verifier takes them, and what that costs.

use aya::programs::{ProgramInfo, SchedClassifier, Xdp};
use detector_user::tap::object::{ObjectOptions, load};
use rstest::rstest;

/// Instructions a program may have as bytecode and make the verifier process. Some way above what
/// they are (about 3,000, and 80,000 at XDP or 47,000 elsewhere): a change that doubles either
/// shows here without a clock. Older verifiers give up at a million.
const XLATED_BYTES_MAX: u32 = 32_000;
const VERIFIED_MAX: u32 = 120_000;

fn within_bounds(name: &str, info: &ProgramInfo) {
    let verified = info.verified_instruction_count().unwrap();
    let bytes = info.size_translated().unwrap();
    println!(
        "{name}: {bytes} bytes translated, {} jited, {verified} verified",
        info.size_jitted()
    );
    assert!(
        verified <= VERIFIED_MAX,
        "{name}: the verifier processed {verified} instructions"
    );
    assert!(
        bytes <= XLATED_BYTES_MAX,
        "{name}: {bytes} bytes of bytecode"
    );
}

#[rstest]
fn the_verifier_accepts_every_program(#[values(0, 5)] log_level: u8) {
    let options = ObjectOptions {
        log_level,
        ..ObjectOptions::default()
    };
    let mut object = load(&options).expect("needs root");
    let xdp: &mut Xdp = object
        .program_mut("tlswhy_xdp")
        .unwrap()
        .try_into()
        .unwrap();
    xdp.load().unwrap();
    within_bounds("tlswhy_xdp", &xdp.info().unwrap());
    for name in [
        "tlswhy_ingress",
        "tlswhy_egress",
        "tlswhy_ingress_l3",
        "tlswhy_egress_l3",
    ] {
        let classifier: &mut SchedClassifier =
            object.program_mut(name).unwrap().try_into().unwrap();
        classifier.load().unwrap();
        within_bounds(name, &classifier.info().unwrap());
    }
}
