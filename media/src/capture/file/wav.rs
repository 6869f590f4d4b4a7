//! WAV: 8 to 32 bit integers or 32 bit floats of any rate and channel count, mixed to mono at 48 kHz.
//!
//! Streams a few milliseconds a call. The length of the sound is that of the file: programs that write to a pipe, or that
//! were killed, leave a wrong one in the header.

use std::fs::File;
use std::io::{BufReader, Chain, Cursor, Read, Seek, SeekFrom, Take};

use hound::{SampleFormat, WavReader};

use super::{Progress, ReadError, Sounds};
use crate::frame::AUDIO_RATE_HZ;
use crate::voice::resample::Resampler;

/// Samples of all channels that are read in one call, about 20 ms of 48 kHz stereo.
const SAMPLES_A_READ: usize = 2048;

/// Input rates that are believed, Hz.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=768_000;

/// Largest `fmt ` chunk; the longest one that means something has 40 bytes.
const FORMAT_BYTES_MAX: u32 = 256;

/// Where the sound lies in a file.
struct Layout {
    /// The `fmt ` chunk with its header.
    format: Vec<u8>,
    data_at: u64,
    /// Whole samples of all channels, in bytes.
    data_bytes: u32,
}

/// A header that tells the truth, then the sound.
type Source = Chain<Cursor<Vec<u8>>, Take<BufReader<File>>>;

/// Reads one WAV file.
pub(super) struct Reader {
    file: File,
    layout: Layout,
    wav: WavReader<Source>,
    resampler: Resampler,
}

impl Layout {
    fn find(file: &File) -> Result<Self, ReadError> {
        let file_len = file.metadata()?.len();
        let mut file = BufReader::new(file);
        // Behind RIFF, its length and WAVE.
        let mut at = file.seek(SeekFrom::Start(12))?;
        let mut format = Vec::new();
        loop {
            let mut head = [0; 8];
            file.read_exact(&mut head)?;
            let [a, b, c, d, length @ ..] = head;
            let length = u32::from_le_bytes(length);
            at += 8;
            match &[a, b, c, d] {
                b"fmt " if length > FORMAT_BYTES_MAX => {
                    return Err(ReadError::Broken("its format is too long".to_owned()));
                }
                b"fmt " => {
                    format = head.to_vec();
                    file.by_ref().take(u64::from(length)).read_to_end(&mut format)?;
                }
                b"data" => {
                    // Behind the chunk's header, format tag, channels and two rates: bytes of one instant.
                    let block = match format.get(20..22) {
                        Some(&[low, high]) => u32::from(u16::from_le_bytes([low, high])).max(1),
                        _ => return Err(ReadError::Broken("its format is missing".to_owned())),
                    };
                    let there = u32::try_from(file_len.saturating_sub(at)).unwrap_or(u32::MAX);
                    let data_bytes = length.min(there) / block * block;
                    return Ok(Self { format, data_at: at, data_bytes });
                }
                _ => {}
            }
            // Chunks begin at even places.
            at += u64::from(length) + u64::from(length % 2);
            file.seek(SeekFrom::Start(at))?;
        }
    }

    fn open(&self, file: &File) -> Result<WavReader<Source>, ReadError> {
        let riff_bytes = self.data_bytes.saturating_add(self.format.len() as u32 + 12);
        let header =
            [b"RIFF", &riff_bytes.to_le_bytes()[..], b"WAVE", &self.format, b"data", &self.data_bytes.to_le_bytes()];
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(self.data_at))?;
        let data = BufReader::new(file).take(u64::from(self.data_bytes));
        WavReader::new(Cursor::new(header.concat()).chain(data)).map_err(read_error)
    }
}

impl Reader {
    /// Reads the header.
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let layout = Layout::find(&file)?;
        let wav = layout.open(&file)?;
        let spec = wav.spec();
        if !RATES.contains(&spec.sample_rate) {
            let (low, high) = RATES.into_inner();
            return Err(ReadError::Broken(format!("its rate is {} Hz, not {low} to {high}", spec.sample_rate)));
        }
        if !matches!(
            (spec.sample_format, spec.bits_per_sample),
            (SampleFormat::Int, 1..=32) | (SampleFormat::Float, 32)
        ) {
            return Err(ReadError::Unsupported(format!("a {}-bit WAV", spec.bits_per_sample)));
        }
        Ok(Self { file, layout, wav, resampler: Resampler::for_file(spec.sample_rate, AUDIO_RATE_HZ) })
    }

    /// The mean of all channels at one instant; `None` at the end.
    fn next_mono(&mut self) -> Result<Option<f32>, ReadError> {
        let spec = self.wav.spec();
        let mut sum = 0.0;
        for _ in 0..spec.channels {
            let sample = match spec.sample_format {
                SampleFormat::Float => self.wav.samples::<f32>().next(),
                SampleFormat::Int => {
                    let full_scale = (1_u64 << (spec.bits_per_sample - 1)) as f32;
                    self.wav.samples::<i32>().next().map(|sample| sample.map(|sample| sample as f32 / full_scale))
                }
            };
            match sample {
                Some(sample) => sum += sample.map_err(read_error)?,
                None => return Ok(None),
            }
        }
        let mean = sum / f32::from(spec.channels);
        Ok(Some(if mean.is_finite() { mean } else { 0.0 }))
    }
}

impl Sounds for Reader {
    fn read(&mut self, out: &mut Vec<i16>) -> Result<Progress, ReadError> {
        let instants = (SAMPLES_A_READ / usize::from(self.wav.spec().channels)).max(1);
        let mut mono = Vec::with_capacity(instants);
        let mut end = Ok(Progress::More);
        while mono.len() < instants {
            match self.next_mono() {
                Ok(Some(sample)) => mono.push(sample),
                Ok(None) => {
                    end = Ok(Progress::End);
                    break;
                }
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        // What came before a damaged place is heard.
        let heard = !mono.is_empty();
        self.resampler.push_floats(mono.into_iter(), out);
        match end {
            Err(_) if heard => Ok(Progress::More),
            end => end,
        }
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.wav = self.layout.open(&self.file)?;
        Ok(())
    }
}

fn read_error(error: hound::Error) -> ReadError {
    match error {
        // hound's own word for a file that ends too early.
        hound::Error::IoError(error) if error.kind() == std::io::ErrorKind::Other => {
            ReadError::Broken("it ends before its header says".to_owned())
        }
        hound::Error::IoError(error) => error.into(),
        hound::Error::Unsupported => ReadError::Unsupported("a compressed WAV".to_owned()),
        error => ReadError::Broken(error.to_string().to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TempFile;
    use super::*;

    fn read_all(reader: &mut Reader) -> (Vec<i16>, Result<(), ReadError>) {
        let mut out = Vec::new();
        loop {
            match reader.read(&mut out) {
                Ok(Progress::More) => {}
                Ok(Progress::End) => return (out, Ok(())),
                Err(error) => return (out, Err(error)),
            }
        }
    }

    fn write<S: hound::Sample + Copy>(spec: hound::WavSpec, samples: &[S]) -> TempFile {
        let file = TempFile::new("wav");
        let mut writer = hound::WavWriter::create(file.path(), spec).unwrap();
        samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        writer.finalize().unwrap();
        file
    }

    #[test]
    fn every_depth_is_mixed_to_the_same_mono() {
        let spec = |bits_per_sample, sample_format| hound::WavSpec {
            channels: 2,
            sample_rate: 48_000,
            bits_per_sample,
            sample_format,
        };
        let stereo = |scale: i32| [64 * scale, 0, -64 * scale, -64 * scale];
        let files = [
            write(spec(8, SampleFormat::Int), &stereo(1)),
            write(spec(16, SampleFormat::Int), &stereo(1 << 8)),
            write(spec(24, SampleFormat::Int), &stereo(1 << 16)),
            write(spec(32, SampleFormat::Int), &stereo(1 << 24)),
            write(spec(32, SampleFormat::Float), &[0.5_f32, 0.0, -0.5, -0.5]),
        ];
        for file in files {
            let mut reader = Reader::open(file.open()).unwrap();
            let (samples, end) = read_all(&mut reader);
            assert_eq!((samples, end.is_ok()), (vec![8192, -16_384], true));
            reader.rewind().unwrap();
            assert_eq!(read_all(&mut reader).0.len(), 2);
        }
    }

    #[test]
    fn the_files_length_counts_not_the_headers() {
        let spec =
            hound::WavSpec { channels: 1, sample_rate: 48_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let file = write(spec, &[7_i16; 1000]);
        let whole = std::fs::read(file.path()).unwrap();
        assert_eq!(&whole[36..40], b"data");
        std::fs::write(file.path(), &whole[..whole.len() - 1001]).unwrap();
        let (samples, end) = read_all(&mut Reader::open(file.open()).unwrap());
        assert_eq!((samples, end.is_ok()), (vec![7; 499], true));
        // What a program leaves that writes to a pipe, with a list of tags before the sound.
        let piped = [&whole[..36], b"LIST\x03\0\0\0abc\0data\xff\xff\xff\xff", &whole[44..]].concat();
        std::fs::write(file.path(), piped).unwrap();
        let (samples, end) = read_all(&mut Reader::open(file.open()).unwrap());
        assert_eq!((samples, end.is_ok()), (vec![7; 1000], true));
        for cut in 0..44 {
            std::fs::write(file.path(), &whole[..cut]).unwrap();
            assert!(Reader::open(file.open()).is_err(), "{cut}");
        }
    }
}
