//! Scratch.
use tapegrad_benches::cases::Case;
use tapegrad_benches::contestants::tapegrad::Recorded;
fn go<T: tapegrad::Element>(case: &Case) {
    let r = Recorded::new(case);
    let p = r.compile::<T>();
    let mut s = p.state();
    let text = p.to_string();
    for _ in 0..200000000 / (case.matmul_flops() as usize + 20000) + 20 { p.replay(&mut s).unwrap(); }
    let mut total = 0.0;
    let mut n = 0;
    for line in text.lines() {
        let starts = line.trim_start().split(' ').next().unwrap_or("").parse::<usize>().ok() == Some(n);
        if starts {
            let t = 0.0 / 2.445;
            total += t;
            println!("{t:9.0} ns {line}");
            n += 1;
        } else { println!("{:12} {line}", ""); }
    }
    println!("total {total:.0} ns");
}
fn main() {
    let name = std::env::args().nth(1).unwrap().chars().next().unwrap();
    if std::env::args().nth(2).is_some() { go::<f64>(&Case::new(name)) } else { go::<f32>(&Case::new(name)) }
}
