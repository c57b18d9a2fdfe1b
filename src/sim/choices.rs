//! Everything that is left open in a simulation is a choice between `n` possibilities, made one
//! after the other. So a list of numbers determines a run: it can be printed, repeated, and
//! enumerated.

/// The choices of one run: a given list, then zeros or random numbers.
pub(crate) struct Choices {
    script: Vec<usize>,
    /// What was chosen, and out of how many.
    made: Vec<(usize, usize)>,
    random: Option<u64>,
}

impl Choices {
    fn scripted(script: Vec<usize>) -> Self {
        Self {
            script,
            made: Vec::new(),
            random: None,
        }
    }

    fn random(seed: u64) -> Self {
        Self {
            random: Some(seed),
            ..Self::scripted(Vec::new())
        }
    }

    /// A number below `n`.
    pub(crate) fn choose(&mut self, n: usize) -> usize {
        let chosen = match (self.script.get(self.made.len()), &mut self.random) {
            (Some(chosen), _) => *chosen,
            (None, Some(state)) => below(state, n),
            (None, None) => 0,
        };
        assert!(chosen < n, "not the run that these choices are of");
        self.made.push((chosen, n));
        chosen
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.choose(times) == 1
    }

    fn list(&self) -> Vec<usize> {
        self.made.iter().map(|(chosen, _)| *chosen).collect()
    }

    /// The next list in order: increments the last choice that can be incremented.
    fn next(mut self) -> Option<Vec<usize>> {
        while let Some((chosen, n)) = self.made.pop() {
            if chosen + 1 < n {
                let mut list = self.list();
                list.push(chosen + 1);
                return Some(list);
            }
        }
        None
    }
}

/// SplitMix64: the same numbers on every machine.
fn below(state: &mut u64, n: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % n as u64) as usize
}

/// Runs with every list of choices. Returns their number, or the first failure. More than `bound`
/// runs are a bug of the test.
pub(crate) fn every(
    bound: u64,
    mut run: impl FnMut(&mut Choices) -> Result<(), String>,
) -> Result<u64, String> {
    let (mut script, mut runs) = (Vec::new(), 0);
    loop {
        let mut choices = Choices::scripted(script);
        runs += 1;
        run(&mut choices).map_err(|why| format!("choices {:?}: {why}", choices.list()))?;
        script = match choices.next() {
            Some(next) => next,
            None => return Ok(runs),
        };
        assert!(runs < bound, "more than {bound} runs");
    }
}

/// Runs with the random choices of `runs` seeds. `CACHETX_SIM_SEED` repeats one of them;
/// `CACHETX_SIM_RUNS` overrides their number.
pub(crate) fn some(
    runs: u64,
    mut run: impl FnMut(&mut Choices) -> Result<(), String>,
) -> Result<u64, String> {
    let number = |name| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let (first, runs) = match number("CACHETX_SIM_SEED") {
        Some(seed) => (seed, 1),
        // New seeds each time; below 2^53, so that they can be typed anywhere.
        None => (
            getrandom::u64().unwrap_or_default() >> 11,
            number("CACHETX_SIM_RUNS").unwrap_or(runs),
        ),
    };
    for seed in first..first + runs {
        let mut choices = Choices::random(seed);
        run(&mut choices).map_err(|why| format!("CACHETX_SIM_SEED={seed}: {why}"))?;
    }
    Ok(runs)
}

#[test]
fn every_list_of_choices_comes_once_and_a_failing_one_is_named() {
    let mut seen = Vec::new();
    let runs = every(100, |choices| {
        let first = choices.choose(2);
        let second = if first == 0 { choices.choose(3) } else { 9 };
        seen.push((first, second));
        Ok(())
    });
    assert_eq!(runs, Ok(4));
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 9)]);
    let failed = every(100, |choices| match choices.choose(3) {
        1 => Err("no".to_owned()),
        _ => Ok(()),
    });
    assert_eq!(failed, Err("choices [1]: no".to_owned()));
}
