//! The programs in this machine's kernel.

use aya::programs::{SchedClassifier, Xdp};
use detector_user::tap::object::{ObjectOptions, load};

#[test]
fn the_verifier_accepts_every_program() {
    let mut object = load(&ObjectOptions::default()).expect("needs root");
    let xdp: &mut Xdp = object
        .program_mut("tlswhy_xdp")
        .unwrap()
        .try_into()
        .unwrap();
    xdp.load().unwrap();
    println!(
        "xdp: {:?} verified",
        xdp.info().unwrap().verified_instruction_count()
    );
    for name in [
        "tlswhy_ingress",
        "tlswhy_egress",
        "tlswhy_ingress_l3",
        "tlswhy_egress_l3",
    ] {
        let tc: &mut SchedClassifier = object.program_mut(name).unwrap().try_into().unwrap();
        tc.load().unwrap();
        println!(
            "{name}: {:?} verified",
            tc.info().unwrap().verified_instruction_count()
        );
    }
}
