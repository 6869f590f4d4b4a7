//! Files through the whole reader, and the readers against files that lie.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::sample_table::{Codec, Media, Sample, read_track};
use super::*;
use crate::codec::{EncoderConfig, Want, video_encoder};
use crate::container::h264::AvcConfig;
use crate::container::opus::OpusConfig;
use crate::existing::Existing;
use crate::frame::Size;
use crate::record::{Picture, PictureKind, Recorder, Tracks};

const FORMAT: VideoFormat = VideoFormat { size: Size { width: 64, height: 48 }, fps: 30 };

/// A file that is removed at the end of a test.
pub(super) struct TempFile(tempfile::TempPath);

impl TempFile {
    pub(super) fn new(extension: &str) -> Self {
        Self(tempfile::Builder::new().suffix(&format!(".{extension}")).tempfile().unwrap().into_temp_path())
    }

    pub(super) fn with(extension: &str, content: &[u8]) -> Self {
        let file = Self::new(extension);
        std::fs::write(file.path(), content).unwrap();
        file
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn open(&self) -> File {
        File::open(&self.0).unwrap()
    }
}

fn video_error(file: &TempFile) -> String {
    let (out, _in) = queue::bounded(4);
    open_video(file.path(), FORMAT, out).expect_err("it must not open").to_string()
}

fn audio_error(file: &TempFile) -> String {
    let (out, _in) = queue::bounded(4);
    open_audio(file.path(), out).expect_err("it must not open").to_string()
}

/// Pictures of 4x2 whose luma is their number.
fn y4m(pictures: u8) -> Vec<u8> {
    let mut file = b"YUV4MPEG2 W4 H2 F50:1 C420jpeg\n".to_vec();
    for n in 0..pictures {
        file.extend_from_slice(b"FRAME\n");
        file.extend_from_slice(&[[n; 8].as_slice(), &[128; 4]].concat());
    }
    file
}

#[test]
fn a_y4m_is_repeated_and_its_damaged_end_left_out() {
    let mut content = y4m(3);
    content.truncate(content.len() - 1);
    let file = TempFile::with("txt", &content);
    let (out, pictures) = queue::bounded(64);
    let capture = open_video(file.path(), FORMAT, out).unwrap();
    let shown: Vec<_> = (0..5).map(|_| pictures.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    assert_eq!(shown.iter().map(|frame| frame.y()[0]).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
    assert_eq!(shown[0].size(), Size { width: 4, height: 2 });
    assert!(shown.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert_eq!(capture.description, file.path().display().to_string());
    capture.close();
    while pictures.try_recv().is_some() {}
    assert_eq!(pictures.recv_timeout(Duration::ZERO).err(), Some(queue::RecvError::Closed));
}

#[test]
fn a_wav_is_repeated_without_a_gap() {
    let file = TempFile::new("wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file.path(), spec).unwrap();
    (0..1000_i16).for_each(|n| writer.write_sample(n).unwrap());
    writer.finalize().unwrap();
    let (out, frames) = queue::bounded(64);
    let _capture = open_audio(file.path(), out).unwrap();
    let heard: Vec<i16> = (0..3).flat_map(|_| frames.recv_timeout(Duration::from_secs(20)).unwrap().samples).collect();
    assert_eq!(heard, (0..2880).map(|n| n % 1000).collect::<Vec<i16>>());
}

#[test]
fn other_kinds_are_named_with_the_line_that_converts() {
    let ogg = TempFile::with("ogg", b"OggS\0\0\0\0\0\0\0\0\0\0\0\0");
    let error = audio_error(&ogg);
    assert!(
        error.contains("an Ogg file")
            && error.contains(&format!("ffmpeg -i {} -ac 1 -ar 48000 ", ogg.path().display()))
    );
    let yuv444 = TempFile::with("y4m", b"YUV4MPEG2 W4 H2 F30:1 C444\nFRAME\n");
    let error = video_error(&yuv444);
    assert!(
        error.contains("C444") && error.contains("-pix_fmt yuv420p") && error.contains(".converted.y4m"),
        "{error}"
    );
    let wav = TempFile::with("y4m", b"RIFF\0\0\0\0WAVEfmt ");
    assert!(video_error(&wav).contains("no picture"));
}

#[test]
fn missing_empty_and_cut_files_are_errors() {
    let (out, _in) = queue::bounded(4);
    let error = open_video(Path::new("/nonexistent/film.y4m"), FORMAT, out).expect_err("missing").to_string();
    assert!(error.contains("/nonexistent/film.y4m cannot be opened"), "{error}");
    assert!(video_error(&TempFile::with("y4m", b"")).contains("it is empty"));
    for head in [
        &b"YUV4MPEG2 W4 H2\n"[..],
        b"YUV4MPEG2 W4 H2\nFRAME\n123",
        b"YUV4MPEG2 W4 H2",
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\x18ftypisom",
        b"?",
    ] {
        video_error(&TempFile::with("bin", head));
    }
    for head in [&b"RIFF\0\0\0\0WAVE"[..], b"\x1a\x45\xdf\xa3\x80", b"\0\0\0\x08moov", b"ID3"] {
        audio_error(&TempFile::with("bin", head));
    }
    let folder = tempfile::tempdir().unwrap();
    let (out, _in) = queue::bounded(4);
    assert!(open_video(folder.path(), FORMAT, out).is_err());
}

#[test]
fn names_are_quoted_for_the_shell() {
    assert_eq!(
        conversion(Path::new("a b's.mov"), Target::Video),
        r"ffmpeg -i 'a b'\''s.mov' -pix_fmt yuv420p 'a b'\''s.y4m'"
    );
    assert_eq!(conversion(Path::new("-x.mp3"), Target::Audio), "ffmpeg -i './-x.mp3' -ac 1 -ar 48000 './-x.wav'");
}

/// A recording of two fragments: 30 pictures of 40 ms, 60 packets of 20 ms.
fn recorded(extension: &str) -> TempFile {
    let file = TempFile::new(extension);
    let mut recorder = Recorder::create(file.path(), Tracks::AudioAndVideo, Existing::Keep).unwrap();
    for n in 0..30_u64 {
        let kind = if n % 20 == 0 { PictureKind::Key } else { PictureKind::Delta };
        let data: &[u8] = match kind {
            PictureKind::Key => &[0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65, 0x88],
            PictureKind::Delta => &[0, 0, 1, 0x41, 0x9a],
        };
        let pts = Duration::from_millis(n * 40);
        recorder.write_video(Picture { data, kind, size: FORMAT.size, pts }).unwrap();
        for late in [0, 20] {
            recorder.write_audio(&[0xfc, n as u8], pts + Duration::from_millis(late)).unwrap();
        }
    }
    recorder.finish().unwrap();
    file
}

#[test]
fn a_fragmented_mp4_lists_every_sample() {
    let file = recorded("mp4");
    let video = read_track(&mut file.open(), Media::Video).unwrap().unwrap();
    let Codec::H264(avc) = &video.codec else { panic!("{:?}", video.codec) };
    let sets = [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0, 0, 0, 1, 0x68, 0xce];
    assert_eq!((avc.profile_idc(), Some(avc)), (0x42, AvcConfig::of_keyframe(&sets).as_ref()));
    let keyframe = avc.to_byte_stream(&[0, 0, 0, 2, 0x65, 0x88]).unwrap();
    assert_eq!(keyframe, [&sets[..], &[0, 0, 0, 1, 0x65, 0x88]].concat());
    let times: Vec<_> = video.samples.iter().map(|sample| sample.at).collect();
    assert_eq!(times, (0..30).map(|n| n * 3600).collect::<Vec<_>>());
    assert_eq!((video.timescale, video.length), (90_000, 30 * 3600));
    let content = std::fs::read(file.path()).unwrap();
    let bytes = |sample: &Sample| &content[sample.offset as usize..][..sample.size as usize];
    assert_eq!(bytes(&video.samples[1]), [0, 0, 0, 2, 0x41, 0x9a]);
    assert_eq!(bytes(&video.samples[20])[14..], [0, 0, 0, 2, 0x65, 0x88]);
    let audio = read_track(&mut file.open(), Media::Audio).unwrap().unwrap();
    assert_eq!(
        (audio.codec, audio.samples.len(), audio.length),
        (Codec::Opus(OpusConfig { channels: 2, pre_skip: 0, input_rate_hz: 48_000 }), 60, 60 * 960)
    );
    assert_eq!(bytes(&audio.samples[59]), [0xfc, 29]);
}

#[test]
fn a_cut_mp4_lists_its_whole_fragments() {
    let file = recorded("mp4");
    let content = std::fs::read(file.path()).unwrap();
    let second = content.windows(4).enumerate().filter(|(_, kind)| kind == b"moof").nth(1).unwrap().0;
    let cut = TempFile::with("mp4", &content[..second + 20]);
    let video = read_track(&mut cut.open(), Media::Video).unwrap().unwrap();
    assert_eq!(video.samples.len(), 20);
}

/// Twelve grey pictures that brighten, with a tone, coded and recorded 20 ms apart.
fn recorded_media(extension: &str) -> TempFile {
    let file = TempFile::new(extension);
    let mut recorder = Recorder::create(file.path(), Tracks::AudioAndVideo, Existing::Keep).unwrap();
    let config = EncoderConfig { size: FORMAT.size, fps: 50, bitrate_bps: 2_000_000 };
    let mut video = video_encoder(recorder.container().video_codec(), config).unwrap();
    let mut audio = ::opus::Encoder::new(48_000, ::opus::Channels::Mono, ::opus::Application::Voip).unwrap();
    let tone: Vec<i16> = (0..960).map(|n| if n / 48 % 2 == 0 { 8000 } else { -8000 }).collect();
    for n in 0..12_u8 {
        let mut frame = VideoFrame::black(FORMAT.size, Instant::now());
        frame.planes_mut().0.fill(40 + 15 * n);
        let want = if n == 0 { Want::Keyframe } else { Want::Any };
        let pts = Duration::from_millis(u64::from(n) * 20);
        if let Some(coded) = video.encode(&frame, want).unwrap() {
            let kind = if coded.keyframe { PictureKind::Key } else { PictureKind::Delta };
            recorder.write_video(Picture { data: &coded.data, kind, size: FORMAT.size, pts }).unwrap();
        }
        recorder.write_audio(&audio.encode_vec(&tone, 400).unwrap(), pts).unwrap();
    }
    recorder.finish().unwrap();
    file
}

#[test]
fn recordings_play_again_and_again() {
    for extension in ["webm", "mp4"] {
        let file = recorded_media(extension);
        let (out, pictures) = queue::bounded(64);
        let _video = open_video(file.path(), FORMAT, out).unwrap();
        let mut levels = Vec::new();
        while levels.len() < 40 && levels.windows(2).filter(|pair| pair[1] < pair[0]).count() < 2 {
            let frame = pictures.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(frame.size(), FORMAT.size);
            levels.push(frame.y()[32 * 25]);
        }
        assert!(levels[0].abs_diff(40) < 8, "{extension}: {levels:?}");
        assert_eq!(levels.windows(2).filter(|pair| pair[1] < pair[0]).count(), 2, "{extension}: {levels:?}");
        assert!(levels.iter().any(|level| *level > 150), "{extension}: {levels:?}");

        let (out, frames) = queue::bounded(64);
        let _audio = open_audio(file.path(), out).unwrap();
        let heard: Vec<_> = (0..20).map(|_| frames.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        let loud = |frame: &AudioFrame| frame.samples.iter().any(|sample| sample.abs() > 4000);
        // The first frame of each pass may be the codec fading in.
        assert!(heard.iter().filter(|frame| loud(frame)).count() >= 16, "{extension}");
    }
}

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes(), &kind[..], content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A plain MP4 of one AAC track: three samples in two chunks, the first shown last.
fn plain_mp4() -> Vec<u8> {
    let stsd = boxed(b"stsd", &[words(&[0, 1]), boxed(b"mp4a", &[0; 28])].concat());
    let stbl = [
        stsd,
        boxed(b"stts", &words(&[0, 2, 2, 10, 1, 20])),
        boxed(b"ctts", &words(&[0, 2, 1, 40, 2, 5])),
        boxed(b"stsc", &words(&[0, 2, 1, 2, 1, 2, 1, 1])),
        boxed(b"stsz", &words(&[0, 0, 3, 7, 8, 9])),
        boxed(b"stco", &words(&[0, 2, 100, 200])),
    ];
    let mdia = [
        boxed(b"mdhd", &words(&[0, 0, 0, 1000, 0])),
        boxed(b"hdlr", &[&words(&[0, 0])[..], b"soun"].concat()),
        boxed(b"minf", &boxed(b"stbl", &stbl.concat())),
    ];
    let trak = [boxed(b"tkhd", &words(&[0, 0, 0, 1])), boxed(b"mdia", &mdia.concat())].concat();
    [boxed(b"ftyp", b"isom"), boxed(b"moov", &boxed(b"trak", &trak))].concat()
}

#[test]
fn a_plain_mp4_lists_its_chunks() {
    let file = TempFile::with("mp4", &plain_mp4());
    let track = read_track(&mut file.open(), Media::Audio).unwrap().unwrap();
    let listed: Vec<_> = track.samples.iter().map(|sample| (sample.offset, sample.size, sample.at)).collect();
    assert_eq!((listed, track.length), (vec![(100, 7, 25), (107, 8, 0), (200, 9, 10)], 35));
    assert_eq!(track.codec, Codec::Other("mp4a".to_owned()));
    assert!(read_track(&mut file.open(), Media::Video).unwrap().is_none());
    assert!(audio_error(&file).contains("AAC"), "{}", audio_error(&file));
}

#[test]
fn damaged_containers_never_panic() {
    let fragmented = std::fs::read(recorded("mp4").path()).unwrap();
    for content in [plain_mp4(), fragmented] {
        for at in 0..content.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = content.clone();
                damaged[at] = value;
                for media in [Media::Video, Media::Audio] {
                    // Any answer is right, as long as there is one.
                    let _ = read_track(&mut std::io::Cursor::new(&damaged), media);
                }
            }
            let _ = read_track(&mut std::io::Cursor::new(&content[..at]), Media::Audio);
        }
    }
}

#[test]
fn damaged_webm_and_wav_files_never_panic() {
    let webm = std::fs::read(recorded("webm").path()).unwrap();
    let wav = [
        &b"RIFF\x34\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x80\xbb\0\0\0\xee\x02\0\x04\0\x10\0data\x10\0\0\0"[..],
        &[1; 16],
    ];
    let file = TempFile::new("bin");
    for content in [webm, wav.concat()] {
        for at in 0..content.len() {
            for value in [0, content[at] ^ 0x80, 0xff] {
                let mut damaged = content.clone();
                damaged[at] = value;
                std::fs::write(file.path(), &damaged).unwrap();
                // Any answer is right, as long as there is one.
                if let Ok(mut sounds) = sounds(file.path()) {
                    let mut out = Vec::new();
                    while let Ok(Progress::More) = sounds.read(&mut out) {
                        assert!(out.len() < 48_000 * 100);
                    }
                }
            }
        }
    }
}
