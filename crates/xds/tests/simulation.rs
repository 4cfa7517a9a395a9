//! The pair of sessions under random edits, losses, reconnections and NACKs, checked against a model.
//!
//! Each seed is one run; `MIZZEN_SEED=n` replays one. Invariants, checked after each step:
//! - what the client has in force never names a cluster, or holds a cluster whose endpoints were taken away, that it
//!   does not have (unless the client itself refused it);
//! - a resource that the client refused is not sent again with the same bytes in the same stream;
//! - when the server says that the last generation is applied, the client holds exactly that.
//!
//! At the end everything is delivered: the client holds the world's resources, or the last good ones of those it
//! refuses; when the bad ones are mended, it holds the world.

mod model;

use model::{Link, Options, Plant};

const SEEDS: u64 = 1200;

fn run(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let options = Options::random(&mut rng);
    let mut plant = Plant::new(rng.fork());
    let mut link = Link::new(&options, &plant);
    for step in 0..200 {
        match rng.u32(0..100) {
            0..15 => plant.edit(options.poison),
            15..19 => link.disconnect(),
            19..22 => link.change_mind(&mut rng),
            _ => link.step(&plant, &mut rng),
        }
        link.check(&plant).unwrap_or_else(|broken| panic!("seed {seed}, step {step}: {broken}"));
    }
    link.settle(&plant, &mut rng).unwrap_or_else(|broken| panic!("seed {seed}, settling: {broken}"));
    link.check_last_good(&plant).unwrap_or_else(|broken| panic!("seed {seed}, settled: {broken}"));
    plant.mend();
    link.settle(&plant, &mut rng).unwrap_or_else(|broken| panic!("seed {seed}, mending: {broken}"));
    link.check_equal(&plant).unwrap_or_else(|broken| panic!("seed {seed}, mended: {broken}"));
    link.disconnect();
    let sent = link.sent;
    link.settle(&plant, &mut rng).unwrap_or_else(|broken| panic!("seed {seed}, back again: {broken}"));
    assert_eq!(link.sent, sent, "seed {seed}: a reconnection without a change sent resources again");
    link.check_equal(&plant).unwrap_or_else(|broken| panic!("seed {seed}, back again: {broken}"));
}

#[test]
fn pair_converges_and_never_dangles() {
    if let Ok(seed) = std::env::var("MIZZEN_SEED") {
        return run(seed.parse().expect("MIZZEN_SEED is a number"));
    }
    (0..SEEDS).for_each(run);
}
