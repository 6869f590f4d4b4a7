//! An estimated mean opinion score of a talk: the E-model, ITU-T G.107 (06/2015).
//!
//! R = (Ro − Is) − Idd − Ie,eff, and R → MOS by Annex B. All parameters but delay, loss and codec have the defaults of
//! the recommendation. No echo is assumed, so of the delay impairments Idte and Idle are 0. It is a planning model of a
//! talk by handset in narrow band: an estimate, and no judgement of what was said.

use std::time::Duration;

use super::concealment::Loss;

/// Ro − Is where all parameters have their defaults (G.107 §7.7).
const RATING_MAX: f64 = 93.2;

/// mT: delay that nobody notices, of the default class of sensitivity, for which sT is 1 (G.107 §7.4).
const UNNOTICED_MS: f64 = 100.0;

/// How a codec bears loss (ITU-T G.113, appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// Ie: impairment without loss.
    pub impairment: f64,
    /// Bpl: robustness against random loss.
    pub robustness: f64,
}

/// Opus with in-band FEC. G.113 has no Opus: both figures are ours, an estimate.
///
/// Without loss it is at least as good as the G.711 that has Ie = 0. Bpl is fitted to PESQ scores of Opus at 24 kbit/s
/// with in-band FEC, 3.39, 2.64, 2.30, 1.72 and 1.47 at 0, 5, 10, 20 and 30 % of random loss: relative to its start,
/// (PESQ − 1) / (3.39 − 1), the curve of (MOS − 1) / (4.41 − 1) by this model comes closest (least squares) with this
/// value. A test here computes the fit.
pub const OPUS: Codec = Codec { impairment: 0.0, robustness: 14.6 };

/// What Opus, as RTP carries it here, adds to the way: a packet of 20 ms is complete before it leaves, and the encoder
/// looks 6.5 ms ahead (RFC 6716 §2.1.4 has it as 6.5 ms at most with this frame size).
pub const OPUS_DELAY: Duration = Duration::from_micros(26_500);

/// The rating R with a delay from mouth to ear (Ta) and a loss; at most 93.2, and below 0 where nothing is understood.
#[must_use]
pub fn rating(delay: Duration, loss: Loss, codec: Codec) -> f64 {
    RATING_MAX - delay_impairment(delay) - loss_impairment(loss, codec)
}

/// Idd, the impairment by too long a delay (G.107 §7.4).
fn delay_impairment(delay: Duration) -> f64 {
    let ms = delay.as_secs_f64() * 1000.0;
    if ms <= UNNOTICED_MS {
        return 0.0;
    }
    let x = (ms / UNNOTICED_MS).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// Ie,eff, the impairment by the codec under packet loss (G.107 §7.5).
fn loss_impairment(loss: Loss, codec: Codec) -> f64 {
    codec.impairment + (95.0 - codec.impairment) * loss.percent / (loss.percent / loss.burst_ratio + codec.robustness)
}

/// The mean opinion score of a rating, 1 to 4.5 (G.107, annex B).
#[must_use]
pub fn mos(rating: f64) -> f64 {
    let r = rating.clamp(0.0, 100.0);
    // Between 0 and 6.5 the polynomial dips below the scale.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LOSS: Loss = Loss { percent: 0.0, burst_ratio: 1.0 };

    /// G.711 with packet loss concealment (G.113, table I.4).
    const G711_PLC: Codec = Codec { impairment: 0.0, robustness: 25.1 };

    fn random(percent: f64) -> Loss {
        Loss { percent, burst_ratio: 1.0 }
    }

    fn assert_near(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected}");
    }

    #[test]
    fn defaults_give_the_published_rating_and_score() {
        let r = rating(Duration::ZERO, NO_LOSS, OPUS);
        assert_near(r, 93.2, 1e-9);
        assert_near(mos(r), 4.41, 0.005);
    }

    #[test]
    fn delay_impairs_as_computed_by_hand() {
        let idd = |ms| delay_impairment(Duration::from_millis(ms));
        assert_near(idd(100), 0.0, 0.0);
        // X = 1: 25 · (2^(1/6) − 3 · (1 + 1/729)^(1/6) + 2).
        assert_near(idd(200), 3.044, 0.001);
        // X = 2: 25 · (65^(1/6) − 3 · (1 + 64/729)^(1/6) + 2).
        assert_near(idd(400), 24.07, 0.01);
        assert_near(rating(Duration::from_millis(400), NO_LOSS, OPUS), 69.13, 0.01);
        assert!(idd(101) < 0.001, "it begins without a step: {}", idd(101));
    }

    #[test]
    fn loss_impairs_as_published() {
        // G.113 has 7 at 2 % of random loss, and 95 · 2 / (2 + 25.1) is 7.01.
        assert_near(loss_impairment(random(2.0), G711_PLC), 7.01, 0.005);
        assert_near(loss_impairment(random(5.0), G711_PLC), 15.78, 0.005);
        // In bursts twice as long: 95 · 5 / (2.5 + 25.1).
        assert_near(loss_impairment(Loss { percent: 5.0, burst_ratio: 2.0 }, G711_PLC), 17.21, 0.005);
        let g729a = Codec { impairment: 11.0, robustness: 19.0 };
        assert_near(loss_impairment(random(3.0), g729a), 22.45, 0.005);
    }

    #[test]
    fn scores_stay_on_their_scale() {
        assert_near(mos(-20.0), 1.0, 0.0);
        assert_near(mos(3.0), 1.0, 0.0);
        assert_near(mos(50.0), 2.575, 1e-9);
        assert_near(mos(70.0), 3.597, 1e-9);
        assert_near(mos(120.0), 4.5, 1e-9);
        assert_near(mos(rating(Duration::from_secs(60), random(100.0), OPUS)), 1.0, 0.0);
    }

    #[test]
    fn opus_has_the_robustness_of_the_fit() {
        let measured = [(0.0, 3.39), (5.0, 2.64), (10.0, 2.30), (20.0, 1.72), (30.0, 1.47)];
        let start = mos(RATING_MAX);
        let error = |robustness: f64| -> f64 {
            let codec = Codec { robustness, ..OPUS };
            let squared = |(percent, pesq): (f64, f64)| {
                let curve = (mos(rating(Duration::ZERO, random(percent), codec)) - 1.0) / (start - 1.0);
                (curve - (pesq - 1.0) / (3.39 - 1.0)).powi(2)
            };
            measured.into_iter().map(squared).sum()
        };
        let best = (10..=400).map(|tenth| f64::from(tenth) / 10.0).min_by(|a, b| error(*a).total_cmp(&error(*b)));
        assert_eq!(best, Some(OPUS.robustness));
        // What remains is a twentieth of the scale at most.
        assert!((error(OPUS.robustness) / measured.len() as f64).sqrt() < 0.05, "{}", error(OPUS.robustness));
    }
}
