"""RFLAV Lab: rolling flow matching for endless joint audio-video generation.

One legend of axes, in every einops pattern, shape comment and docstring:

    b batch · k frame in the window · c latent channels · h w latent height, width
    n video tokens of a frame · f mel frames of a video frame · m mel bins · d hidden size · s samples
    t flow time, shape (b k): 1 = clean, 0 = noise
"""

from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parents[1]
"""The repository's root: configs, checkpoints and outputs lie below it; relative paths in configs begin here."""
