//! Two ways to do one thing, timed in turns, so that whatever slows the machine down slows both.

use std::time::{Duration, Instant};

/// Times of both ways, pair by pair.
#[derive(Default)]
pub struct Pairs(Vec<(Duration, Duration)>);

/// What a cell of a table shows.
pub struct Summary {
    /// Medians, in µs.
    pub ours: f64,
    pub by_hand: f64,
    /// Quartiles of the pairs' ratios, ours to by hand.
    pub ratio: [f64; 3],
}

impl Pairs {
    /// Runs both ways `rounds` times after a tenth as much to warm up. Who goes first alternates.
    pub fn measure<C>(
        rounds: usize,
        context: &mut C,
        prepare: impl Fn(&mut C),
        ours: impl Fn(&mut C),
        by_hand: impl Fn(&mut C),
    ) -> Self {
        let mut timed = |way: &dyn Fn(&mut C)| {
            prepare(context);
            let start = Instant::now();
            way(context);
            start.elapsed()
        };
        let mut pairs = Self::default();
        let warm_up = rounds / 10;
        for round in 0..warm_up + rounds {
            let pair = if round % 2 == 0 {
                let first = timed(&ours);
                (first, timed(&by_hand))
            } else {
                let first = timed(&by_hand);
                (timed(&ours), first)
            };
            if round >= warm_up {
                pairs.0.push(pair);
            }
        }
        pairs
    }

    pub fn summary(&self) -> Summary {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let sorted = |of: &dyn Fn(&(Duration, Duration)) -> f64| {
            let mut values: Vec<f64> = self.0.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let ours = sorted(&|pair| micros(pair.0));
        let by_hand = sorted(&|pair| micros(pair.1));
        let ratios = sorted(&|pair| pair.0.as_secs_f64() / pair.1.as_secs_f64());
        Summary {
            ours: ours[ours.len() / 2],
            by_hand: by_hand[by_hand.len() / 2],
            ratio: [1, 2, 3].map(|quarter| ratios[ratios.len() * quarter / 4]),
        }
    }
}
