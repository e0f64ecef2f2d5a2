//! The W3C trace context that a change carries from its client to every region.

/// `traceparent` in binary: 16 bytes trace id, 8 bytes span id, 1 byte flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span that caused the change; never zero.
    pub span_id: u64,
    /// W3C flags; bit 0 = sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Length of the binary form.
    pub const BYTES: usize = 25;
    /// The flag of a trace that its caller recorded.
    pub const SAMPLED: u8 = 1;

    /// Whether the caller recorded this trace.
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// The binary form.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace_id.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.span_id.to_be_bytes());
        bytes[24] = self.flags;
        bytes
    }

    /// Decodes the binary form; `None` for another length or a zero id, which a reader treats as no
    /// context.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (trace, rest) = bytes.split_at(16);
        let (span, flags) = rest.split_at(8);
        let context = Self {
            trace_id: u128::from_be_bytes(trace.try_into().ok()?),
            span_id: u64::from_be_bytes(span.try_into().ok()?),
            flags: flags[0],
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }
}
