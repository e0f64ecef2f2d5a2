//! The `traceparent` header of W3C Trace Context.

use isthmus_replication::trace::TraceContext;

/// The name of the HTTP header.
pub const HEADER: &str = "traceparent";

/// Parses the header. `None` if it is malformed, which a server treats as no header (W3C Trace
/// Context, 4.3).
#[must_use]
pub fn parse(text: &str) -> Option<TraceContext> {
    let text = text.trim();
    let version = text.get(..2)?;
    let well_formed = match version {
        "00" => text.len() == 55,
        "ff" => false,
        _ => text.len() == 55 || text.as_bytes().get(55) == Some(&b'-'),
    };
    if !well_formed {
        return None;
    }
    let mut parts = text.get(..55)?.split('-');
    hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let span_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let whole = parts.next().is_none() && trace_id != 0 && span_id != 0;
    whole.then_some(TraceContext {
        trace_id,
        span_id,
        flags,
    })
}

/// Formats the header, version 00.
#[must_use]
pub fn format(context: &TraceContext) -> String {
    format!(
        "00-{:032x}-{:016x}-{:02x}",
        context.trace_id, context.span_id, context.flags
    )
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_reads_and_writes() {
        let context = parse(GOOD);
        assert_eq!(context.map(|context| format(&context)).as_deref(), Some(GOOD));
        assert!(context.is_some_and(|context| context.sampled()));
        assert!(parse(&GOOD.replace("-01", "-00")).is_some_and(|context| !context.sampled()));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        assert_eq!(parse(&format!("01{}-more", &GOOD[2..])), parse(GOOD));
    }

    #[test]
    fn anything_malformed_is_no_header() {
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = GOOD.to_uppercase();
        let longer = format!("{GOOD}-more");
        let later = format!("ff{}", &GOOD[2..]);
        let multibyte = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é";
        for bad in [
            "",
            "00",
            "é0",
            zero_trace,
            zero_span,
            &upper,
            &longer,
            &later,
            &GOOD[..54],
            multibyte,
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
