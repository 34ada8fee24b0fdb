//! Every contestant trains every case to the same loss, and the cases are the ones meant.

use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::{ALL, Dtype, ten_steps, verify};

#[test]
fn all_contestants_have_the_same_loss_after_ten_steps() {
    for dtype in Dtype::ALL {
        for name in NAMES {
            // The textbook loops take a minute for H; the harness checks them there too, before it times anything.
            let contestants = if name == 'H' { &ALL[1..] } else { ALL };
            let case = Case::new(name);
            let loss = verify(contestants, &case, dtype).unwrap_or_else(|message| panic!("{message}"));
            assert!(loss > 0.0 && loss < 2.0, "case {name}: {loss}");
        }
    }
}

#[test]
fn random_networks_have_the_same_loss_after_ten_steps() {
    let any_net: Vec<_> = ALL.iter().filter(|c| c.any_net).copied().collect();
    assert_eq!(any_net.len(), 3);
    let cases = (0..24).map(|number| Case::random(2, number)).filter(|c| c.matmul_flops() < 1e8);
    for case in cases {
        for dtype in Dtype::ALL {
            verify(&any_net, &case, dtype).unwrap_or_else(|message| panic!("{message}"));
        }
    }
}

#[test]
fn who_trains_only_the_fixed_cases_refuses_others() {
    let random = Case::random(2, 0);
    for contestant in ALL.iter().filter(|c| !c.any_net) {
        let error = contestant.try_make(&random, Dtype::F32, 1).map(|_| ()).expect_err("these nets are not generic");
        assert!(error.contains("A to H only"), "{error}");
    }
    for contestant in ALL.iter().filter(|c| !c.threads) {
        let error = contestant.try_make(&Case::new('A'), Dtype::F32, 2).map(|_| ()).expect_err("it has one thread");
        assert!(error.contains("has one thread, not 2"), "{error}");
    }
}

#[test]
fn two_threads_train_to_the_same_loss() {
    let case = Case::new('F');
    for dtype in Dtype::ALL {
        for contestant in ALL.iter().filter(|c| c.threads) {
            let [one, two] = [1, 2].map(|threads| {
                let mut net = contestant.try_make(&case, dtype, threads).unwrap_or_else(|message| panic!("{message}"));
                ten_steps(&mut *net).after
            });
            assert!((one / two - 1.0).abs() <= dtype.tolerance(), "{}: {one} and {two}", contestant.name);
        }
    }
}

#[test]
fn f32_and_f64_stay_together() {
    for name in NAMES {
        let case = Case::new(name);
        let [single, double] = [Dtype::F32, Dtype::F64].map(|d| ALL[ALL.len() - 1].loss_after_ten_steps(&case, d));
        assert!((single / double - 1.0).abs() < 1e-5, "case {name}: {single} and {double}");
    }
}

#[test]
fn every_contestant_learns_xor() {
    let case = Case { learning_rate: 5.0, ..Case::new('A') };
    for contestant in ALL {
        for dtype in Dtype::ALL {
            let mut net = contestant.make(&case, dtype);
            for _ in 0..5000 {
                net.step();
            }
            assert!(net.loss() < 2e-3, "{} {}: {}", contestant.name, dtype.name(), net.loss());
        }
    }
}

#[test]
fn a_contestant_that_trains_otherwise_is_found_out() {
    let case = Case::new('A');
    let slower = Case { learning_rate: 0.4999, ..case.clone() };
    let [right, wrong] = [&case, &slower].map(|c| ALL[0].loss_after_ten_steps(c, Dtype::F32));
    assert!((wrong / right - 1.0).abs() > Dtype::F32.tolerance());
}

#[test]
fn cases_are_exact_in_f32_and_the_same_in_every_run() {
    for name in NAMES {
        let (case, again) = (Case::new(name), Case::new(name));
        let numbers = |c: &Case| {
            let layers = c.layers.iter().flat_map(|l| l.weights.iter().chain(&l.biases));
            layers.chain(&c.x).chain(&c.y).copied().collect::<Vec<f64>>()
        };
        assert_eq!(numbers(&case), numbers(&again));
        assert!(numbers(&case).iter().all(|&x| f64::from(x as f32) == x));
        assert_eq!(case.x.len(), case.batch * case.inputs());
        assert_eq!(case.y.len(), case.batch * case.outputs());
    }
}

#[test]
fn the_generator_gives_the_values_it_always_gave() {
    // Every figure ever recorded hangs on these.
    let first = NAMES.map(|name| Case::new(name).layers[0].weights[0]);
    let recorded = [
        0.859_865_427_017_211_9,
        0.327_699_303_627_014_16,
        -0.006_809_115_409_851_074,
        -0.372_735_381_126_403_8,
        -0.106_785_744_428_634_64,
        0.077_168_986_201_286_32,
        -0.003_945_176_023_989_916,
        0.019_018_795_341_253_28,
    ];
    assert_eq!(first, recorded);
}
