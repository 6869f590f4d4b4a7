//! Sound from one sample rate to another, for devices that cannot do 48 kHz.
//!
//! Cubic Hermite interpolation over four samples: no delay worth naming and good enough for speech between 44.1 and
//! 48 kHz, the case that occurs. From higher rates it folds back what is above the new Nyquist frequency.
//! Pure: samples in, samples out.

/// Converts one mono stream, block by block.
#[derive(Clone, Debug)]
pub(crate) struct Resampler {
    from_hz: u64,
    to_hz: u64,
    /// The last four input samples, oldest first. The output lies between the two in the middle.
    window: [f32; 4],
    /// Where the next output sample lies after `window[1]`, in units of 1/`to_hz` of an input sample.
    phase: u64,
}

impl Resampler {
    /// From `from_hz` to `to_hz` samples a second, both at least 1.
    pub(crate) fn new(from_hz: u32, to_hz: u32) -> Self {
        Self { from_hz: u64::from(from_hz.max(1)), to_hz: u64::from(to_hz.max(1)), window: [0.0; 4], phase: 0 }
    }

    /// Appends what `input` becomes to `output`.
    pub(crate) fn process(&mut self, input: &[i16], output: &mut Vec<i16>) {
        if self.from_hz == self.to_hz {
            output.extend_from_slice(input);
            return;
        }
        for &sample in input {
            self.window.rotate_left(1);
            self.window[3] = f32::from(sample);
            while self.phase < self.to_hz {
                let position = self.phase as f32 / self.to_hz as f32;
                // A float to integer cast saturates, so overshoot clips instead of wrapping.
                output.push(hermite(self.window, position).round() as i16);
                self.phase += self.from_hz;
            }
            self.phase -= self.to_hz;
        }
    }
}

/// The Catmull-Rom curve through `samples`, at `position` from 0 (`samples[1]`) to 1 (`samples[2]`).
fn hermite([before, left, right, after]: [f32; 4], position: f32) -> f32 {
    let slope = 0.5 * (right - before);
    let square = before - 2.5 * left + 2.0 * right - 0.5 * after;
    let cube = 0.5 * (after - before) + 1.5 * (left - right);
    ((cube * position + square) * position + slope) * position + left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: f32, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (10_000.0 * (n as f32 * 440.0 * std::f32::consts::TAU / rate).sin()) as i16).collect()
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_height_whatever_the_block_size() {
        for rate in [44_100_u16, 32_000, 16_000] {
            let mut resampler = Resampler::new(u32::from(rate), 48_000);
            let mut output = Vec::new();
            for block in sine(f32::from(rate), usize::from(rate)).chunks(441) {
                resampler.process(block, &mut output);
            }
            assert!(output.len().abs_diff(48_000) <= 2, "{rate}: {} samples", output.len());
            // Three input samples of delay, in output samples.
            let delay = 2.0 * 48_000.0 / f32::from(rate);
            let worst = (1_000..40_000)
                .map(|n| {
                    let wanted = 10_000.0 * ((n as f32 - delay) * 440.0 * std::f32::consts::TAU / 48_000.0).sin();
                    (f32::from(output[n]) - wanted).abs()
                })
                .fold(0.0, f32::max);
            assert!(worst < 60.0, "{rate}: off by {worst}");
        }
    }

    #[test]
    fn the_same_rate_changes_nothing_and_full_scale_does_not_wrap() {
        let mut output = Vec::new();
        Resampler::new(48_000, 48_000).process(&[1, -2, 3], &mut output);
        assert_eq!(output, [1, -2, 3]);
        output.clear();
        let edge: Vec<i16> = [i16::MIN; 20].into_iter().chain([i16::MAX; 20]).collect();
        Resampler::new(44_100, 48_000).process(&edge, &mut output);
        assert!(output[30..].iter().all(|&sample| sample > 0));
    }
}
