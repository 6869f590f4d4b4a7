//! Checks that hold for every video codec; the codec modules' tests run them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::capture::pattern::{self, Stamp};
use crate::codec::{EncoderConfig, Want, video_decoder, video_encoder};
use crate::frame::{EncodedVideo, Size, VideoCodec, VideoFrame};

pub(crate) const VGA: Size = Size { width: 640, height: 480 };
const FPS: u32 = 30;

/// The picture with this number, of [`FPS`] a second.
pub(crate) fn picture(size: Size, counter: u32) -> VideoFrame {
    picture_at(size, counter, started() + Duration::from_secs(1) / FPS * counter)
}

/// One time for all pictures to count from.
fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

fn picture_at(size: Size, counter: u32, at: Instant) -> VideoFrame {
    let mut frame = VideoFrame::black(size, at);
    pattern::draw(&mut frame, Stamp { counter, sent_ms: counter.wrapping_mul(0x9E37_79B9) });
    frame
}

/// Codes pictures `0..count`; `want` and `rate` are asked before each one.
pub(crate) fn encode(
    codec: VideoCodec,
    size: Size,
    count: u32,
    mut want: impl FnMut(u32) -> Want,
    mut rate: impl FnMut(u32) -> Option<u32>,
) -> Vec<EncodedVideo> {
    let first = rate(0).expect("a first bitrate");
    let mut encoder = video_encoder(codec, EncoderConfig { size, fps: FPS, bitrate_bps: first }).unwrap();
    let code = |n: u32| {
        if let Some(bits_per_second) = rate(n).filter(|_| n > 0) {
            encoder.set_bitrate(bits_per_second).unwrap();
        }
        encoder.encode(&picture(size, n), want(n)).unwrap().expect("no picture is left out")
    };
    (0..count).map(code).collect()
}

fn bits_per_second(coded: &[EncodedVideo]) -> usize {
    coded.iter().map(|picture| picture.data.len() * 8).sum::<usize>() * FPS as usize / coded.len()
}

/// Luma peak signal-to-noise ratio in dB.
fn psnr(a: &VideoFrame, b: &VideoFrame) -> f64 {
    let squares: u64 = a.y().iter().zip(b.y()).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    10.0 * (255.0 * 255.0 * a.y().len() as f64 / squares.max(1) as f64).log10()
}

pub(crate) fn round_trip(codec: VideoCodec, bitrate_bps: u32, psnr_min_db: f64) {
    let coded = encode(codec, VGA, 60, |_| Want::Any, |n| (n == 0).then_some(bitrate_bps));
    let mut decoder = video_decoder(codec).unwrap();
    for (n, unit) in (0..).zip(&coded) {
        let frame = decoder.decode(&unit.data).unwrap().expect("a picture at once");
        let source = picture(VGA, n);
        assert_eq!(frame.size(), VGA);
        assert_eq!(pattern::read(&frame), pattern::read(&source), "stamp of picture {n}");
        if n % 5 == 4 {
            let quality = psnr(&source, &frame);
            assert!(quality > psnr_min_db, "picture {n}: {quality:.1} dB");
        }
    }
    assert!(coded[0].keyframe && coded[1..].iter().all(|unit| !unit.keyframe));
    let rate = bits_per_second(&coded[15..]);
    assert!(rate < bitrate_bps as usize * 13 / 10, "{rate} bit/s for a target of {bitrate_bps}");
}

pub(crate) fn keyframe_on_request(codec: VideoCodec) {
    let want = |n| if n == 7 { Want::Keyframe } else { Want::Any };
    let coded = encode(codec, VGA, 12, want, |n| (n == 0).then_some(500_000));
    let keyframes: Vec<usize> = (0..coded.len()).filter(|&n| coded[n].keyframe).collect();
    assert_eq!(keyframes, [0, 7]);
    let mut late = video_decoder(codec).unwrap();
    assert!(!matches!(late.decode(&coded[6].data), Ok(Some(_))), "nothing to see before a keyframe");
    assert!(late.decode(&coded[7].data).unwrap().is_some());
    assert!(late.decode(&coded[8].data).unwrap().is_some());
}

pub(crate) fn bitrate_follows(codec: VideoCodec) {
    let rate = |n| match n {
        0 => Some(1_000_000),
        60 => Some(200_000),
        120 => Some(1_000_000),
        _ => None,
    };
    let coded = encode(codec, VGA, 180, |_| Want::Any, rate);
    let [high, low, again] = [30..60, 90..120, 150..180].map(|range| bits_per_second(&coded[range]));
    assert!(low < 260_000, "{high} then {low} bit/s");
    assert!(low * 2 < high && low * 2 < again, "{high}, {low}, {again} bit/s");
}

/// A camera that gives fewer pictures than it was asked for, and another number later, is coded at the whole bitrate.
pub(crate) fn bitrate_holds_at_every_rate(codec: VideoCodec) {
    let bitrate_bps = 400_000;
    let mut encoder = video_encoder(codec, EncoderConfig { size: VGA, fps: FPS, bitrate_bps }).unwrap();
    let (mut at, mut counter) = (started(), 0);
    for fps in [15, 8, 30] {
        let pictures = fps * 6;
        let mut bits = 0;
        for n in 0..pictures {
            at += Duration::from_secs(1) / fps;
            counter += 1;
            let unit = encoder.encode(&picture_at(VGA, counter, at), Want::Any).unwrap().unwrap();
            if n >= pictures / 2 {
                bits += unit.data.len() * 8;
            }
        }
        let share = bits as f64 / 3.0 / f64::from(bitrate_bps);
        assert!((0.75..1.25).contains(&share), "{fps} pictures a second take {share:.2} of the bitrate");
    }
}

pub(crate) fn size_changes(codec: VideoCodec) {
    let config = EncoderConfig { size: VGA, fps: FPS, bitrate_bps: 800_000 };
    let mut encoder = video_encoder(codec, config).unwrap();
    encoder.set_bitrate(700_000).expect("a new target before the first picture");
    let mut decoder = video_decoder(codec).unwrap();
    let sizes = [(640, 480), (320, 240), (64, 48), (1280, 720), (480, 640)];
    for (n, (width, height)) in (0..).zip(sizes) {
        let size = Size { width, height };
        let unit = encoder.encode(&picture(size, n), Want::Any).unwrap().unwrap();
        assert!(unit.keyframe);
        let frame = decoder.decode(&unit.data).unwrap().unwrap();
        assert_eq!((frame.size(), pattern::read(&frame).unwrap().counter), (size, n));
    }
    let odd = EncoderConfig { size: Size { width: 641, height: 480 }, ..config };
    assert!(video_encoder(codec, odd).is_err());
}

/// Numbers that look random and are the same in each run (xorshift32).
pub(crate) fn noise(seed: u32) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    }
}

/// Feeds truncated, flipped and random data, each piece opened by `prefix`; a keyframe must mend the decoder.
pub(crate) fn survives_broken_data(codec: VideoCodec, prefix: &[u8]) {
    let size = Size { width: 320, height: 240 };
    let coded = encode(codec, size, 12, |_| Want::Any, |n| (n == 0).then_some(400_000));
    let mut decoder = video_decoder(codec).unwrap();
    let mut random = noise(0x1234_5678);
    let mut feed = |data: &[u8]| drop(decoder.decode(data));
    for round in 0..20 {
        // Without a whole keyframe now and then, nearly everything would be refused at the door.
        feed(&coded[0].data);
        for unit in &coded[round % 2..] {
            let mut data = unit.data.to_vec();
            if round % 2 == 0 {
                data.truncate(random() as usize % data.len());
            } else {
                for _ in 0..1 + round / 4 {
                    let at = random() as usize % data.len();
                    data[at] ^= 1 << (random() % 8);
                }
            }
            feed(&data);
            let length = random() as usize % 200;
            let junk: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[1]).collect();
            feed(&junk);
            feed(&[prefix, &junk].concat());
        }
    }
    feed(&[]);
    let mended = decoder.decode(&coded[0].data).unwrap().expect("a keyframe mends the decoder");
    assert_eq!(pattern::read(&mended), pattern::read(&picture(size, 0)));
}
