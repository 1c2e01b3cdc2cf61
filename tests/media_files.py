"""Media files as others write them, small, each frame numbered in its pixels, each click at a known instant."""

from fractions import Fraction

import av
import numpy as np

BITS = 8
CLICK = 0.003  # s


def numbered(number, width=64, height=48):
    """A picture uint8 (h w 3) that survives compression: eight upright stripes spell the number."""
    bits = (number >> np.arange(BITS)) & 1
    stripes = np.repeat(bits, -(-width // BITS))[:width]
    return np.broadcast_to((40 + 170 * stripes)[None, :, None], (height, width, 3)).astype(np.uint8)


def number_of(picture):
    """The number in a picture, of whatever size."""
    height, width = picture.shape[:2]
    stripe = -(-width // BITS)
    centres = [min(k * stripe + stripe // 2, width - 1) for k in range(BITS)]
    bright = [picture[height // 4 : -height // 4, centre].mean() > 125 for centre in centres]
    return sum(1 << k for k in range(BITS) if bright[k])


def clicks(instants, seconds, rate, channels=1):
    """A silent waveform float32 (channels s) with a click at each instant."""
    samples = np.zeros((channels, round(seconds * rate)), np.float32)
    for instant in instants:
        start = round(instant * rate)
        samples[:, start : start + round(CLICK * rate)] = 0.8
    return samples


def click_times(waveform, rate):
    """When the clicks of a waveform (s,) begin, in s."""
    loud = np.flatnonzero(np.abs(waveform) > 0.3)
    return loud[np.diff(loud, prepend=-rate) > rate // 50] / rate


def write_media(
    path,
    times,
    end,
    sound=None,
    sound_start=0.0,
    rate=48000,
    layout="stereo",
    codec="aac",
    video_codec="libx264",
    size=(64, 48),
    ticks=90000,
    options=None,
    rotation=None,
    pixel_aspect=None,
    picture=numbered,
    pixel_format="yuv420p",
    keep=lambda packet: True,
):
    """Frame k, `picture(k)`, is shown from times[k] s to the next, the last until `end`; sound (channels s) or none.

    With no `times` there is no video stream. Packets that `keep` refuses get lost.
    """
    with av.open(str(path), "w") as container:
        video = audio = None
        if len(times):
            video = container.add_stream(video_codec, rate=30, options=options or {})
            video.width, video.height, video.pix_fmt = *size, pixel_format
            video.time_base = video.codec_context.time_base = Fraction(1, ticks)
            if rotation is not None:
                video.set_display_rotation(rotation)
            if pixel_aspect is not None:
                video.codec_context.sample_aspect_ratio = pixel_aspect
        if sound is not None:
            audio = container.add_stream(codec, rate=rate, layout=layout)
        packets = []
        if video:
            for number, (begin, after) in enumerate(zip(times, [*times[1:], end], strict=True)):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(number, *size)), "rgb24")
                frame = frame.reformat(format=pixel_format)
                frame.time_base, frame.pts = Fraction(1, ticks), round(begin * ticks)
                frame.duration = round(after * ticks) - round(begin * ticks)
                packets += video.encode(frame)
            packets += video.encode(None)
            for packet in packets:  # encoders forget how long a frame lasts; muxers only need it of the last
                begin = float(packet.pts * packet.time_base)
                after = min((time for time in [*times[1:], end] if time > begin + 1e-4), default=end)
                packet.duration = round((after - begin) / packet.time_base)
        if audio:
            for piece in range(0, sound.shape[1], 4096):
                part = np.ascontiguousarray(sound[:, piece : piece + 4096])
                kind = audio.codec_context.format.name
                frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = piece + round(sound_start * rate)
                for fitting in av.AudioResampler(kind, layout, rate).resample(frame):
                    packets += audio.encode(fitting)
            packets += audio.encode(None)
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        container.mux([packet for packet in packets if keep(packet)])
    return path


def regular(fps, seconds, start=0.0):
    """Times of frames at a constant rate."""
    return [start + k / fps for k in range(round(fps * seconds))]


def write_samples(folder):
    """A few seconds in each of the usual containers and codecs: something moves, something sounds. The paths."""
    y, x = np.mgrid[:48, :64]
    rng = np.random.default_rng(0)

    def picture(number, width, height):
        pixels = numbered(number, width, height) // 2
        pixels[..., 1] += (60 + 60 * np.sin(x / 5 + number / 4) * np.cos(y / 7 - number / 9)).astype(np.uint8)
        return pixels

    seconds = 2

    def sound(rate=48000, **_):
        hum = 0.2 * np.sin(np.arange(seconds * rate) / 20) + 0.02 * rng.standard_normal((2, seconds * rate))
        return (clicks((0.5, 1.2), seconds, rate, 2) + hum).astype(np.float32)

    kinds = {
        "h264 aac.mp4": {},
        "h264 aac.mkv": {},
        "h264 aac.ts": {},
        "h264 aac.flv": {"rate": 44100},
        "vp9 opus.webm": {"video_codec": "libvpx-vp9", "codec": "libopus"},
        "vp8 opus.webm": {"video_codec": "libvpx", "codec": "libopus"},
        "mpeg4 mp3.avi": {"video_codec": "mpeg4", "codec": "mp3", "ticks": 25},
        "h264 pcm.mov": {"codec": "pcm_s16le"},
    }
    return [
        write_media(
            folder / name, regular(25, seconds), seconds, sound(**settings), picture=picture, **settings
        )
        for name, settings in kinds.items()
    ]
