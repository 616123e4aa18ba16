//! Random scenarios with everything at once.

use super::super::kill::KILL_TIMEOUT;
use super::clock::{NO_PROC, nonsense};
use super::*;
use std::collections::BTreeMap;

const SCENARIOS: u64 = 4000;
/// Longer than all timeouts of a scenario together, slot by slot.
const LONG: Duration = Duration::from_secs(3600);

/// Xorshift: a seed always gives the same rolls.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.roll(N as u64) as usize]
    }

    fn rules(&mut self) -> Rules {
        let (first, longest) = self.pick([(0, 0), (100, 1000), (1, 60_000), (250, 250), (0, 500)]);
        let workers = 1 + self.roll(5) as usize;
        Rules {
            workers,
            most_workers: workers + self.roll(3) as usize,
            slots_have_sockets: self.roll(2) == 0,
            max_restarts: self.pick([None, None, Some(0), Some(1), Some(10), Some(100)]),
            restart_window: self.pick([None, None, Some(ms(1000)), Some(ms(60_000))]),
            restart: self.pick([Restart::OnFailure, Restart::OnFailure, Restart::Always]),
            backoff: Backoff { first: ms(first), longest: ms(longest) },
            graceful_timeout: self.pick([ms(0), ms(1000), ms(25_000), Duration::MAX]),
            drain_delay: self.pick([ms(0), ms(0), ms(3000), ms(60_000)]),
            readiness: self.pick([
                Readiness::AtFork,
                Readiness::AtBody,
                Readiness::Announced(ms(500)),
                Readiness::Announced(ms(10_000)),
            ]),
            heartbeat_timeout: self.pick([None, None, Some(ms(100)), Some(ms(5000))]),
            max_lifetime: self.pick([None, None, Some(ms(3000)), Some(ms(60_000))]),
            max_memory: self.pick([None, None, Some(1000)]),
            reload: self.pick([Reload::Overlap, Reload::Overlap, Reload::Exclusive]),
            reload_width: self.pick([
                Width::Slots(1),
                Width::Slots(1),
                Width::Slots(2),
                Width::Slots(7),
                Width::Percent(25),
                Width::Percent(50),
                Width::Percent(100),
            ]),
            jitter_seed: self.roll(u64::MAX),
        }
    }

    fn delay(&mut self) -> Duration {
        let longest = self.pick([1, 20, 2_000, 30_000]);
        ms(self.roll(longest))
    }

    /// Normal ends are one in `of`.
    fn end(&mut self, of: u64) -> End {
        let status = match self.roll(of) {
            0 => NORMAL,
            1 if self.roll(20) == 0 => FINAL,
            _ => self.pick([FAILED, SEGFAULT, REAL_TIME_SIGNAL]),
        };
        (self.roll(8) > 0).then(|| (self.delay(), status))
    }

    fn sometimes(&mut self, one_in: u64) -> Option<Duration> {
        (self.roll(one_in) == 0).then(|| self.delay())
    }

    fn life(&mut self, fork: usize) -> Life {
        let heartbeats = self.sometimes(2).map(|from| (from, ms(1 + self.roll(120)), from + self.delay() * 20));
        Life {
            ready: if self.roll(2) == 0 { Some(Duration::ZERO) } else { Some(self.delay()).filter(|_| fork % 9 < 8) },
            heartbeats,
            recycle: self.sometimes(5),
            operator: self.sometimes(12),
            memory: (self.roll(1200), self.roll(20)),
            alone: self.end(10).filter(|_| fork % 3 < 2),
            terminated: self.end(2),
            aborted: self.end(3),
            killed: self.end(99).filter(|_| fork % 8 > 0),
        }
    }

    /// The rules of the next binary. What is fixed for the life of a pool stays as it is.
    fn next_binary(&mut self, before: &Rules) -> NextBinary {
        let rules = Rules { most_workers: before.most_workers, ..self.rules() };
        let workers = if self.roll(2) == 0 { before.workers } else { rules.workers.min(before.most_workers) };
        // The world counts failures over the whole history by one rule, so this rule stays.
        let (max_restarts, restart_window) = (before.max_restarts, before.restart_window);
        let slots_have_sockets = before.slots_have_sockets;
        NextBinary {
            rehearsal: (self.roll(5) > 0).then(|| (self.delay(), self.roll(4) > 0)),
            rules: (self.roll(5) > 0).then_some(Rules {
                workers,
                max_restarts,
                restart_window,
                slots_have_sockets,
                ..rules
            }),
            way_back: self.roll(4) > 0,
        }
    }

    fn fork(&mut self, fork: usize) -> Fork {
        match self.roll(300) {
            0 => Fork::Unsafe,
            1..25 if fork > 0 => Fork::Refused,
            25..27 => Fork::Refused,
            _ => Fork::Runs(self.life(fork)),
        }
    }
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let mut steps = 0;
    let mut exits = BTreeMap::<_, u32>::new();
    let mut seen = [0; 20];
    for seed in 1..=SCENARIOS {
        let (world, more) = play(seed);
        steps += more;
        seen[18] += world.forks_before_stop;
        *exits.entry(name(world.exit.as_ref().expect("it is over"))).or_default() += 1;
        for notice in &world.notices {
            match notice {
                Notice::Reloaded { replaced: 1.., .. } => seen[0] += 1,
                Notice::ReloadFailed { .. } => seen[1] += 1,
                Notice::ReloadQueued { .. } => seen[2] += 1,
                Notice::Recycling { .. } => seen[3] += 1,
                Notice::RecycleFailed { .. } => seen[4] += 1,
                Notice::Hung { .. } => seen[5] += 1,
                Notice::NotReady { .. } => seen[6] += 1,
                Notice::PoolReady { .. } => seen[7] += 1,
                Notice::KillingOne { .. } => seen[8] += 1,
                Notice::BudgetLow { .. } => seen[9] += 1,
                Notice::Scaled { .. } => seen[10] += 1,
                Notice::GivingUp { reason: GiveUp::Boot | GiveUp::Final, .. } => seen[11] += 1,
                Notice::UpgradeDone { replaced: 1.., .. } => seen[12] += 1,
                Notice::WentBack { .. } => seen[13] += 1,
                Notice::UpgradeFailed { .. } => seen[14] += 1,
                Notice::UpgradeQueued { .. } => seen[15] += 1,
                Notice::CannotOpen { .. } => seen[16] += 1,
                Notice::NotDrained { .. } => seen[17] += 1,
                Notice::StopDelayed { .. } => seen[19] += 1,
                _ => {}
            }
        }
    }
    assert!(steps as u64 > 100 * SCENARIOS, "{steps}");
    assert!(exits.len() == 6 && exits.values().all(|&count| count >= 30), "{exits:?}");
    assert!(seen.iter().all(|&count| count >= 100), "{seen:?}");
}

/// Plays a scenario to its end. Says how many steps there were before it was told to end.
pub(super) fn play(seed: u64) -> (World, usize) {
    let mut steps = 0;
    let mut world = scenario(seed, &mut steps);
    // The next binary may wait for ever, too.
    let is_over = world.may_take_for_ever() || world.comes_to_rest(LONG) || world.may_take_for_ever();
    assert!(is_over, "an upgrade, a reload, a turn or a drain is in progress for ever");
    let asked_at = world.now;
    world.ask(Ask::StopNow);
    world.run();
    assert!(world.now - asked_at <= KILL_TIMEOUT, "an immediate stop takes no longer");
    (world, steps)
}

/// A random pool and what happens to it for a while.
fn scenario(seed: u64, steps: &mut usize) -> World {
    // An odd factor: two seeds are never the same dice.
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9).max(1));
    let mut fate = Dice(seed.wrapping_mul(0x85eb_ca6b).max(1));
    let rules = dice.rules();
    let mut world = World::new(rules, move |_, fork| fate.fork(fork));
    world.seed = seed;
    world.queue_lasts = dice.delay();
    for _ in 0..dice.roll(800) {
        if world.exit.is_some() {
            break;
        }
        *steps += 1;
        match dice.roll(1000) {
            0 => world.ask(Ask::Stop),
            1 if dice.roll(3) == 0 => world.ask(dice.pick([Ask::StopNow, Ask::HangUp, Ask::Interrupt, Ask::CtrlC])),
            2..10 => world.ask(Ask::Reload),
            10..15 => world.ask(Ask::More),
            15..20 => world.ask(Ask::Fewer),
            37..42 => {
                world.next = dice.next_binary(&world.policy.rules);
                world.ask(Ask::Upgrade);
            }
            20 => world.sleep(YEAR),
            42..44 => world.sockets_are_refused = !world.sockets_are_refused,
            21..27 => world.sleep(dice.delay()),
            27..30 => world.policy.handle(Time(world.now / 2), Event::Tick),
            30..37 => {
                let living = world.alive.keys().next().copied().unwrap_or(NO_PROC);
                let dead = ProcId { task_id: dice.roll(5) as usize, fork: dice.roll(4) };
                let dead = if world.alive.contains_key(&dead) { NO_PROC } else { dead };
                nonsense(living, dead).into_iter().for_each(|event| world.policy.handle(Time(world.now), event));
            }
            _ => drop(world.step(FOREVER)),
        }
    }
    world
}
