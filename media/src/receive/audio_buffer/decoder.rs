//! What the buffer needs of a decoder.

use crate::codec::CodecError;
use crate::codec::opus::OpusDecoder;

/// Decodes one stream, in playing order; lengths are samples at 48 kHz, mono.
pub trait Decoder {
    /// Appends the sound of one packet to `out`.
    ///
    /// # Errors
    /// [`CodecError`] when it is no packet of the codec.
    fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<(), CodecError>;

    /// Appends the last so many samples before `next_packet`, which were lost, from the coarse copy in it.
    ///
    /// # Errors
    /// [`CodecError`] when it is no packet of the codec.
    fn recover(&mut self, next_packet: &[u8], samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError>;

    /// Appends so many made-up samples: what was heard before goes on and fades, or becomes comfort noise.
    ///
    /// # Errors
    /// [`CodecError`] when the codec cannot.
    fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError>;
}

impl Decoder for OpusDecoder {
    fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<(), CodecError> {
        out.extend(Self::decode(self, packet)?);
        Ok(())
    }

    fn recover(&mut self, next_packet: &[u8], samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError> {
        out.extend(Self::recover(self, next_packet, samples)?);
        Ok(())
    }

    fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError> {
        out.extend(Self::conceal(self, samples)?);
        Ok(())
    }
}

/// Decodes nothing: all sound is silence. For calls that only count.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDecoder;

impl Decoder for NoDecoder {
    /// Appends nothing: the buffer fills up what is missing.
    fn decode(&mut self, _packet: &[u8], _out: &mut Vec<i16>) -> Result<(), CodecError> {
        Ok(())
    }

    fn recover(&mut self, _next_packet: &[u8], _samples: usize, _out: &mut Vec<i16>) -> Result<(), CodecError> {
        Ok(())
    }

    fn conceal(&mut self, _samples: usize, _out: &mut Vec<i16>) -> Result<(), CodecError> {
        Ok(())
    }
}
