//! How a reader handles frames that are too large, truncated or slow.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use isthmus_link::{FrameError, FrameReader, FrameWriter, LinkLimits};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, advance, timeout};

const LIMITS: LinkLimits = LinkLimits {
    connect: Duration::from_secs(1),
    handshake: Duration::from_secs(1),
    frame: Duration::from_secs(10),
    frame_bytes: 1000,
    handshakes: 1,
    keepalive: Duration::from_secs(1),
};

fn pipe() -> (DuplexStream, FrameReader<DuplexStream>) {
    let (near, far) = duplex(4096);
    (near, FrameReader::new(far, &LIMITS))
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_however_they_are_cut_up() {
    let (mut peer, mut reader) = pipe();
    let bytes = [&[0, 0, 0, 3][..], b"one", &[0, 0, 0, 0], &[0, 0, 0, 3], b"two"].concat();
    let write = async {
        for byte in bytes {
            peer.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        peer.shutdown().await.unwrap();
    };
    let read = async {
        let mut frames = Vec::new();
        while let Some(frame) = reader.next().await {
            frames.push(frame.unwrap());
        }
        frames
    };
    let ((), frames) = tokio::join!(write, read);
    assert_eq!(frames, [&b"one"[..], b"", b"two"]);
}

#[tokio::test]
async fn an_oversized_frame_is_refused_at_its_length_before_its_bytes() {
    for length in [1001_u32, u32::MAX] {
        let (mut peer, mut reader) = pipe();
        peer.write_all(&length.to_be_bytes()).await.unwrap();
        let error = reader.next().await.unwrap().unwrap_err();
        assert!(
            matches!(error, FrameError::Oversized { limit: 1000 }),
            "{error:?}"
        );
        assert!(reader.next().await.is_none());
    }
}

#[tokio::test]
async fn an_oversized_frame_is_not_sent_and_the_link_goes_on() {
    let (near, far) = duplex(4096);
    let (mut writer, mut reader) = (FrameWriter::new(near, &LIMITS), FrameReader::new(far, &LIMITS));
    let error = writer.send(Bytes::from(vec![0; 1001])).await.unwrap_err();
    assert_eq!(error.label(), "oversized_frame");
    writer.send(Bytes::from_static(b"fits")).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "fits");
}

#[tokio::test]
async fn an_end_within_a_frame_is_not_an_end_between_frames() {
    for partial in [&[0][..], &[0, 0, 0, 5], &[0, 0, 0, 5, b'x']] {
        let (mut peer, mut reader) = pipe();
        peer.write_all(partial).await.unwrap();
        drop(peer);
        let error = reader.next().await.unwrap().unwrap_err();
        assert!(matches!(error, FrameError::Truncated), "{partial:?}: {error:?}");
    }
    let (peer, mut reader) = pipe();
    drop(peer);
    assert!(reader.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_trickling_frame_times_out_and_silence_does_not() {
    for partial in [&[0][..], &[0, 0, 0, 5], &[0, 0, 0, 5, b'x']] {
        let (mut peer, mut reader) = pipe();
        let silence = timeout(Duration::from_secs(3600), reader.next()).await;
        assert!(silence.is_err(), "{silence:?}");

        peer.write_all(partial).await.unwrap();
        let began = Instant::now();
        let error = reader.next().await.unwrap().unwrap_err();
        assert!(matches!(error, FrameError::Slow { .. }), "{error:?}");
        assert_eq!(began.elapsed().as_secs(), LIMITS.frame.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn an_often_interrupted_reader_still_detects_a_slow_frame() {
    let (mut peer, mut reader) = pipe();
    peer.write_all(&[0, 0, 0, 5]).await.unwrap();
    let began = Instant::now();
    let error = loop {
        if let Ok(outcome) = timeout(Duration::from_secs(1), reader.next()).await {
            break outcome.unwrap().unwrap_err();
        }
        assert!(began.elapsed() < 2 * LIMITS.frame);
    };
    assert!(matches!(error, FrameError::Slow { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nobody_reads_is_not_held_against_the_peer() {
    let (mut peer, mut reader) = pipe();
    peer.write_all(&[0, 0, 0, 5]).await.unwrap();
    assert!(timeout(Duration::from_secs(9), reader.next()).await.is_err());
    advance(Duration::from_secs(3600)).await;
    assert!(timeout(Duration::from_millis(500), reader.next()).await.is_err());
    peer.write_all(b"there").await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "there");
}

#[tokio::test]
async fn bytes_beyond_one_frame_wait_in_the_pipe() {
    let (near, far) = duplex(64 * 1024);
    let mut reader = FrameReader::new(far, &LIMITS);
    let mut writer = FrameWriter::new(near, &LIMITS);
    for _ in 0..32 {
        writer.send(Bytes::from(vec![1; 1000])).await.unwrap();
    }
    drop(writer);
    let mut frames = 0;
    while let Some(frame) = reader.next().await {
        assert_eq!(frame.unwrap().len(), 1000);
        frames += 1;
    }
    assert_eq!(frames, 32);
}
