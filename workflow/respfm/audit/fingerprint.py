"""Fingerprints of sound: the exact content, and one that survives another codec, level, filter or cut.

The second is after Haitsma and Kalker (2002), "A highly robust audio fingerprinting system": one word of 32
bits per frame, each bit the sign of the change over time of the level difference between neighbouring mel
bands. Here the levels are logarithmic, so that a fixed filter (a stethoscope's mode) cancels, and the bands
lie where lung sounds and coughs are.
"""

import functools
import hashlib
from typing import NamedTuple

import numpy as np
import pandas as pd
import soxr

SAMPLE_RATE = 4000
"""Hz; the lowest rate of the data sets in use."""
WINDOW, HOP = 1024, 64
FRAMES_PER_SECOND = SAMPLE_RATE / HOP
LOWEST, HIGHEST, BANDS = 50, 1800, 33
SILENCE = 1e-9
"""Power in a band, 20 dB below that of rounding to 16 bit; keeps digital silence from having a pattern."""

MAX_OWNERS = 40
"""Words that more recordings share say nothing (silence, hum)."""
MIN_VOTES = 3
MIN_SECONDS = 1.0
MAX_BIT_ERROR_RATE = 0.3
"""Unrelated sounds differ in half of the bits; 0.35 is the threshold of the publication."""


class Fingerprint(NamedTuple):
    """SHA-256 of rate and decoded samples, and the words `[frames]`, uint32, 62.5 per second."""

    content: str
    words: np.ndarray


def fingerprint(samples: np.ndarray, sample_rate: int) -> Fingerprint:
    """Fingerprint of float32 samples `[channels, samples]` at `sample_rate` Hz."""
    content = hashlib.sha256(f"{sample_rate} {samples.shape}".encode())
    content.update(np.ascontiguousarray(samples).tobytes())
    mono = samples.mean(axis=0) - samples.mean()
    if sample_rate != SAMPLE_RATE:
        mono = soxr.resample(mono, sample_rate, SAMPLE_RATE)
    return Fingerprint(content.hexdigest(), _words(mono))


def _words(mono: np.ndarray) -> np.ndarray:
    if len(mono) < WINDOW + HOP:
        return np.empty(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32))) ** 2
    levels = np.log(power @ _mel_bands() + SILENCE)
    bits = np.diff(np.diff(levels, axis=1), axis=0) > 0
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)


@functools.cache
def _mel_bands() -> np.ndarray:
    """Triangular mel bands `[frequencies, bands]` from 50 to 1,800 Hz."""
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, HIGHEST))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def find_copies(prints: list[Fingerprint]) -> pd.DataFrame:
    """Pairs (first, second, match, bit_error_rate, seconds) of indices into `prints` with the same sound.

    `match` is "exact" for the same decoded samples, else "near": at least a second in which at most 30 % of
    the fingerprint's bits differ. Candidates come from a table of equal words, so that the cost grows with
    the total length and not with the number of pairs.
    """
    exact = _exact_pairs([one.content for one in prints])
    rows = [(a, b, "exact", 0.0, len(prints[a].words) / FRAMES_PER_SECOND) for a, b in sorted(exact)]
    for a, b, offset in _candidates([one.words for one in prints]):
        if (a, b) not in exact:
            rate, frames = _bit_error_rate(prints[a].words, prints[b].words, offset)
            if rate <= MAX_BIT_ERROR_RATE and frames >= MIN_SECONDS * FRAMES_PER_SECOND:
                rows.append((a, b, "near", rate, frames / FRAMES_PER_SECOND))
    columns = ["first", "second", "match", "bit_error_rate", "seconds"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["first", "second", "bit_error_rate"])
    return frame.drop_duplicates(["first", "second"], ignore_index=True)


def _exact_pairs(contents: list[str]) -> set[tuple[int, int]]:
    groups: dict[str, list[int]] = {}
    for index, content in enumerate(contents):
        groups.setdefault(content, []).append(index)
    return {(a, b) for group in groups.values() for i, a in enumerate(group) for b in group[i + 1 :]}


def _candidates(words: list[np.ndarray]) -> list[tuple[int, int, int]]:
    """(first, second, offset in frames) for pairs with enough equal words at about the same offset."""
    lengths = np.array([len(one) for one in words])
    if lengths.sum() == 0:
        return []
    table = pd.DataFrame(
        {
            "word": np.concatenate(words),
            "owner": np.repeat(np.arange(len(words)), lengths),
            "frame": np.concatenate([np.arange(length) for length in lengths]),
        }
    )
    table = table[~table["word"].isin([0, 0xFFFFFFFF])].drop_duplicates(["word", "owner"])
    table = table[table["word"].map(table["word"].value_counts()).between(2, MAX_OWNERS)]
    table = table.sort_values(["word", "owner"], ignore_index=True)
    word, owner, frame = (table[column].to_numpy() for column in ("word", "owner", "frame"))
    votes = []
    for step in range(1, MAX_OWNERS):
        same = np.flatnonzero(word[:-step] == word[step:])
        if not len(same):
            break
        offset = frame[same + step] - frame[same]
        votes.append(pd.DataFrame({"first": owner[same], "second": owner[same + step], "offset": offset}))
    if not votes:
        return []
    vote = pd.concat(votes)
    vote["near"] = vote["offset"] // 4
    counted = vote.groupby(["first", "second", "near"])["offset"].agg(["size", "median"]).reset_index()
    counted = counted[counted["size"] >= MIN_VOTES]
    return [(int(row.first), int(row.second), int(row.median)) for row in counted.itertuples(index=False)]


def _bit_error_rate(a: np.ndarray, b: np.ndarray, offset: int) -> tuple[float, int]:
    """Least share of differing bits near `offset` (frames by which `b` is later) and the frames compared."""
    best = (1.0, 0)
    for shift in range(offset - 3, offset + 4):
        start, end = max(0, -shift), min(len(a), len(b) - shift)
        if end > start:
            differing = np.bitwise_count(a[start:end] ^ b[start + shift : end + shift]).mean() / 32
            best = min(best, (float(differing), end - start))
    return best
