//! Opus (RFC 6716, RFC 7587), encoded and decoded by libopus.
//!
//! Owns the library's settings for speech in calls; knows no time and no sequence numbers: the jitter buffer decides
//! whether a frame is decoded, recovered or concealed.
//!
//! - [`OpusEncoder`]: 20 to 120 ms of mono sound in, one packet out, with a coarse copy of the frame before for loss recovery
//! - [`OpusDecoder`]: packets of any legal length, mono or stereo, in; mono sound out

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Decoder, Encoder};

use super::CodecError;
use crate::frame::{AUDIO_FRAME_SAMPLES, AUDIO_RATE_HZ, AudioFrame, EncodedAudio};

/// Longest packet of one frame, with its leading byte (RFC 6716 §3.2).
const PACKET_LEN_MAX: usize = 1276;

/// Longest sound in one packet: 120 ms (RFC 6716 §3.2).
const PACKET_SAMPLES_MAX: usize = 5760;

/// Most frames in one packet that we make: 120 ms, the longest packet there is (RFC 6716 §3.2).
const FRAMES_MAX: usize = 6;

/// Concealed and recovered sound comes in steps of 2.5 ms, the shortest Opus frame.
const STEP_SAMPLES: usize = 120;

/// Targets that the library takes, in bits a second.
const BITRATE_BPS: std::ops::RangeInclusive<u32> = 6_000..=510_000;

/// Codes 48 kHz mono speech in packets of 20 to 120 ms.
#[derive(Debug)]
pub struct OpusEncoder(Encoder);

impl OpusEncoder {
    /// Opens an encoder that expects no loss yet, for a target of `bitrate_bps` bits a second (6000..=510000).
    ///
    /// # Errors
    /// [`CodecError`] when the library cannot be set up.
    pub fn new(bitrate_bps: u32) -> Result<Self, CodecError> {
        let set_up = || {
            let mut encoder = Encoder::new(AUDIO_RATE_HZ, Channels::Mono, Application::Voip)?;
            encoder.set_inband_fec(true)?;
            encoder.set_bitrate(bitrate(bitrate_bps))?;
            Ok(encoder)
        };
        set_up().map(Self).map_err(|error| failed("set-up", &error))
    }

    /// Codes one packet of one to six frames. The result carries `frame.at` as its capture time.
    ///
    /// # Errors
    /// [`CodecError`] when the frame is not one to six times [`AUDIO_FRAME_SAMPLES`] long, or the library refuses.
    pub fn encode(&mut self, frame: &AudioFrame) -> Result<EncodedAudio, CodecError> {
        if !(1..=FRAMES_MAX).any(|frames| frame.samples.len() == frames * AUDIO_FRAME_SAMPLES) {
            let reason = format!("{} samples in frames of {AUDIO_FRAME_SAMPLES}", frame.samples.len());
            return Err(CodecError { codec: "opus", operation: "encode", reason });
        }
        let mut packet = [0; PACKET_LEN_MAX];
        let length = self.0.encode(&frame.samples, &mut packet).map_err(|error| failed("encode", &error))?;
        let data = Bytes::copy_from_slice(&packet[..length]);
        Ok(EncodedAudio { data, samples: frame.samples.len() as u32, captured_at: frame.at })
    }

    /// Makes packets of one or two bytes of most silence (DTX, RFC 6716 §2.1.9), which need not be sent: the decoder makes
    /// noise of its own. A longer one refreshes it every 400 ms.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses; silence is then coded as any sound.
    pub fn leave_silence_out(&mut self) -> Result<(), CodecError> {
        self.0.set_dtx(true).map_err(|error| failed("silence change", &error))
    }

    /// Sets the target from the next frame on, in bits a second, clamped to 6000..=510000.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses; the old target stays.
    pub fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), CodecError> {
        self.0.set_bitrate(bitrate(bits_per_second)).map_err(|error| failed("bitrate change", &error))
    }

    /// Tells how many packets in a hundred get lost: from a few percent on, each packet also carries a coarse copy of
    /// the frame before it (RFC 6716 §2.1.7), paid for out of the same bitrate.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses; the old figure stays.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        let percent = i32::from(percent.min(100));
        self.0.set_packet_loss_perc(percent).map_err(|error| failed("loss change", &error))
    }
}

fn bitrate(bits_per_second: u32) -> Bitrate {
    Bitrate::Bits(bits_per_second.clamp(*BITRATE_BPS.start(), *BITRATE_BPS.end()).cast_signed())
}

/// Decodes to 48 kHz mono. Call exactly one method a packet time, in playing order.
#[derive(Debug)]
pub struct OpusDecoder(Decoder);

impl OpusDecoder {
    /// Opens a decoder.
    ///
    /// # Errors
    /// [`CodecError`] when the library cannot be set up.
    pub fn new() -> Result<Self, CodecError> {
        Decoder::new(AUDIO_RATE_HZ, Channels::Mono).map(Self).map_err(|error| failed("set-up", &error))
    }

    /// Decodes one packet of 2.5 to 120 ms, mono or stereo, to mono samples.
    ///
    /// # Errors
    /// [`CodecError`] when this is no Opus packet; conceal the frame and go on.
    pub fn decode(&mut self, packet: &[u8]) -> Result<Vec<i16>, CodecError> {
        if packet.is_empty() {
            // The library takes an empty packet for a lost one.
            let reason = "the packet is empty".to_owned();
            return Err(CodecError { codec: "opus", operation: "decode", reason });
        }
        let mut samples = vec![0; PACKET_SAMPLES_MAX];
        let length = self.0.decode(packet, &mut samples, false).map_err(|error| failed("decode", &error))?;
        samples.truncate(length);
        Ok(samples)
    }

    /// Makes up `samples` samples for a lost frame from what was heard before it, fading out.
    ///
    /// # Errors
    /// [`CodecError`] above 120 ms (5760 samples): play silence then.
    pub fn conceal(&mut self, samples: usize) -> Result<Vec<i16>, CodecError> {
        self.fill("conceal", &[], samples)
    }

    /// Recovers the last `samples` samples before `next_packet`, which were lost, from the coarse copy in it; conceals
    /// what the packet does not cover. Then [`decode`](Self::decode) `next_packet` itself.
    ///
    /// # Errors
    /// [`CodecError`] when `next_packet` is no Opus packet, or above 120 ms (5760 samples).
    pub fn recover(&mut self, next_packet: &[u8], samples: usize) -> Result<Vec<i16>, CodecError> {
        self.fill("recover", next_packet, samples)
    }

    fn fill(&mut self, operation: &'static str, packet: &[u8], samples: usize) -> Result<Vec<i16>, CodecError> {
        if samples > PACKET_SAMPLES_MAX {
            let reason = format!("{samples} samples wanted, at most {PACKET_SAMPLES_MAX} at once");
            return Err(CodecError { codec: "opus", operation, reason });
        }
        let mut filled = vec![0; samples.next_multiple_of(STEP_SAMPLES)];
        if !filled.is_empty() {
            let length = self.0.decode(packet, &mut filled, true).map_err(|error| failed(operation, &error))?;
            // Less than asked for cannot come back; should it, silence fills the rest.
            filled.resize(length, 0);
        }
        filled.resize(samples, 0);
        Ok(filled)
    }
}

fn failed(operation: &'static str, error: &opus::Error) -> CodecError {
    CodecError { codec: "opus", operation, reason: error.description().to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::capture::tone::{STEP_SAMPLES as TONE_STEP_SAMPLES, Sweep, frequency_at};
    use crate::codec::checks::noise;
    use crate::quality::tone::detect;

    const FRAMES_A_STEP: usize = TONE_STEP_SAMPLES as usize / AUDIO_FRAME_SAMPLES;

    fn packets(count: usize, expected_loss: u8) -> Vec<Bytes> {
        let mut encoder = OpusEncoder::new(32_000).unwrap();
        encoder.set_expected_loss(expected_loss).unwrap();
        let mut sweep = Sweep::new();
        let mut code = || encoder.encode(&AudioFrame { samples: sweep.next_frame(), at: Instant::now() }).unwrap().data;
        (0..count).map(|_| code()).collect()
    }

    #[test]
    fn each_tone_comes_back_at_its_frequency() {
        for expected_loss in [0, 20] {
            let mut decoder = OpusDecoder::new().unwrap();
            let heard: Vec<i16> =
                packets(200, expected_loss).iter().flat_map(|packet| decoder.decode(packet).unwrap()).collect();
            assert_eq!(heard.len(), 200 * AUDIO_FRAME_SAMPLES);
            for middle in (12_000..heard.len()).step_by(24_000) {
                let found = detect(&heard[middle - 2_400..middle + 2_400]);
                assert_eq!(found, Some(frequency_at(middle as u64)), "loss {expected_loss} %, sample {middle}");
            }
        }
    }

    #[test]
    fn a_lost_frame_is_recovered_from_the_next_packet() {
        let packets = packets(FRAMES_A_STEP + 6, 30);
        // The first frame of a new tone gets lost: whoever only knows the past would go on with the old tone.
        let lost = FRAMES_A_STEP;
        let mut decoder = OpusDecoder::new().unwrap();
        for packet in &packets[..lost] {
            decoder.decode(packet).unwrap();
        }
        let mut heard = decoder.recover(&packets[lost + 1], AUDIO_FRAME_SAMPLES).unwrap();
        assert_eq!(heard.len(), AUDIO_FRAME_SAMPLES);
        heard.extend(decoder.decode(&packets[lost + 1]).unwrap());
        assert_eq!(detect(&heard), Some(600.0));
    }

    #[test]
    fn concealment_is_as_long_as_asked_for() {
        let mut decoder = OpusDecoder::new().unwrap();
        let packets = packets(10, 0);
        for packet in &packets[..9] {
            decoder.decode(packet).unwrap();
        }
        for samples in [0, 1, 120, 960, 1000, 5760] {
            assert_eq!(decoder.conceal(samples).unwrap().len(), samples);
            assert_eq!(decoder.recover(&packets[9], samples).unwrap().len(), samples);
        }
        assert!(decoder.conceal(5761).is_err());
        let first = OpusDecoder::new().unwrap().conceal(960).unwrap();
        assert!(first.iter().all(|&sample| sample == 0), "nothing was heard yet");
    }

    #[test]
    fn stereo_and_long_packets_come_out_as_mono() {
        let mut encoder = Encoder::new(AUDIO_RATE_HZ, Channels::Stereo, Application::Audio).unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        for samples in [120, 240, 480, 960, 1920, 2880] {
            let packet = encoder.encode_vec(&vec![1000; samples * 2], 4000).unwrap();
            assert_eq!(decoder.decode(&packet).unwrap().len(), samples);
        }
    }

    #[test]
    fn bitrate_follows_its_target() {
        let mut encoder = OpusEncoder::new(64_000).unwrap();
        let mut random = noise(7);
        let mut second = |encoder: &mut OpusEncoder| -> usize {
            let mut hiss = || (0..AUDIO_FRAME_SAMPLES).map(|_| i16::from(random().to_le_bytes()[0])).collect();
            let mut code = || encoder.encode(&AudioFrame { samples: hiss(), at: Instant::now() }).unwrap().data.len();
            (0..50).map(|_| code()).sum()
        };
        let high = second(&mut encoder);
        encoder.set_bitrate(12_000).unwrap();
        let low = second(&mut encoder);
        assert!(low * 3 < high, "{high} then {low} bytes a second");
        assert!(encoder.encode(&AudioFrame { samples: vec![0; 480], at: Instant::now() }).is_err());
    }

    #[test]
    fn silence_is_next_to_nothing_and_steady_tones_are_no_silence() {
        let mut encoder = OpusEncoder::new(32_000).unwrap();
        encoder.leave_silence_out().unwrap();
        let mut lengths = |samples: &mut dyn FnMut() -> Vec<i16>| -> Vec<usize> {
            let mut code =
                || encoder.encode(&AudioFrame { samples: samples(), at: Instant::now() }).unwrap().data.len();
            (0..500).map(|_| code()).collect()
        };
        let mut sweep = Sweep::new();
        let tones = lengths(&mut || sweep.next_frame());
        assert!(tones.iter().all(|length| *length > 2), "{tones:?}");
        let silence = lengths(&mut || vec![0; AUDIO_FRAME_SAMPLES]);
        // The first 200 ms might still be the end of a word.
        let longer = silence[20..].iter().filter(|length| **length > 2).count();
        assert!(longer <= 500 / 20, "{silence:?}");
        let mut random = noise(5);
        let hiss =
            lengths(&mut || (0..AUDIO_FRAME_SAMPLES).map(|_| i16::from(random().to_le_bytes()[0]) >> 5).collect());
        assert!(hiss[250..].iter().filter(|length| **length > 2).count() <= 50, "{hiss:?}");
    }

    #[test]
    fn random_packets_are_no_panic() {
        let mut decoder = OpusDecoder::new().unwrap();
        let mut random = noise(0xC0FF_EE11);
        for _ in 0..2_000 {
            let length = random() as usize % 80;
            let packet: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[1]).collect();
            if let Ok(samples) = decoder.decode(&packet) {
                assert!(samples.len() >= STEP_SAMPLES && samples.len() <= PACKET_SAMPLES_MAX);
            }
            drop(decoder.recover(&packet, AUDIO_FRAME_SAMPLES));
        }
        assert!(decoder.decode(&[]).is_err());
    }
}
