"""The configuration of a training run, from YAML, from a notebook's parameters or from the command line."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

from rflav_lib import ROOT
from rflav_lib.data.seeds import kept_for
from rflav_lib.data.toy import CLASSES
from rflav_lib.fusion import FUSIONS
from rflav_lib.numbers_given import LARGEST_SEED
from rflav_lib.precision import AUTO, PRECISIONS
from rflav_lib.schedule import RollingSchedule
from rflav_lib.yaml_config import YamlConfig

# fields that a resumed run may change: where and how often to write, how to compute the same, and what a run that went
# wrong is told to change
_FREE_TO_CHANGE = {
    "max_steps", "output_dir", "log_every", "sample_every", "sample_frames", "checkpoint_every",
    "keep_checkpoints", "keep_every", "resume", "tracker", "diverged_above", "overfit",
    "prefetch", "torch_compile", "gradient_checkpointing", "fused_optimizer",
    "learning_rate", "precision",
}  # fmt: skip
# with the number of processes: free if the product stays
_SPLIT_OF_THE_BATCH = ("batch_size", "accumulation_steps")


@dataclass(frozen=True)
class TrainConfig(YamlConfig):
    """Everything that decides a training run. Relative paths are relative to the repository's root.

    Raises:
        ValueError: a value that cannot work, named with its key.
    """

    # data: a cache of latents (python -m rflav_lib.data.latents); if empty, a toy world, encoded once by the codecs
    latents: str = ""
    world: str = "toy-landscape"
    clips: int = 3000
    clip_frames: int = 40
    overfit: bool = False  # a step may hold more samples than there are clips
    seed: int = 0
    vae: str = "checkpoints/toy-vae"
    latent_size: int = 0  # height and width of a latent; 0: whatever the data have
    classes: int = -1  # number of labels; -1: whatever the data have
    n_mels: int = 64
    audio_scale: float = 2.0
    audio_peak: float = 0.0  # each clip's sound is scaled to it; 0 keeps the loudness

    # the model: see RFLAVTransformer
    start_from: str = ""  # first weights: a pipeline folder or released checkpoint; empty: random
    hidden_size: int = 192
    depth: int = 6
    num_heads: int = 6
    patch_size: int = 2
    mlp_ratio: float = 4.0
    window: int = 10
    class_dropout: float = 0.1
    fusion: str = "conditioned_average"
    causal: bool = True

    # the objective, Eq. 8-10
    preroll_probability: float = 0.2
    weighting: str = "logit_normal"

    # against the jump after the first window (Fig. 5); none of it is the paper's, all is off
    transition_probability: float = 0.0  # share of samples with times between pre-rolling and rolling
    sink_frames: int = 0  # the first frames of the stream stay visible: see rflav_lib.memory
    context_frames: int = 0  # the last emitted frames stay visible
    longest_past: int = 20  # with either: frames at most between the stream's start and a training window
    rollout_probability: float = 0.0  # share of samples on the model's own roll-outs: see rolled_out_noise
    rollout_steps: int = 1  # Euler steps of a roll-out
    history_noise: float = 0.0  # standard deviation, at most, of extra noise on clean frames; t stays

    # optimisation
    batch_size: int = 16
    accumulation_steps: int = 1
    max_steps: int = 5000
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    adam_beta1: float = 0.9
    adam_beta2: float = 0.99
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.999
    precision: str = AUTO  # or bf16, no: see rflav_lib.precision
    fused_optimizer: bool = True
    torch_compile: bool = False
    gradient_checkpointing: bool = False
    prefetch: int = 2
    diverged_above: float = 3.0

    # where the run goes, and how often it reports
    output_dir: str = "outputs/toy-landscape"
    log_every: int = 20
    sample_every: int = 500
    sample_frames: int = 20
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    keep_every: int = 0
    tracker: str = "tensorboard"
    resume: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        kept = None if self.latents else kept_for(self.seed)  # a cache has its clips, and a seed of its own
        check = [
            ("world", self.world in CLASSES, f"one of {', '.join(CLASSES)}"),
            ("fusion", self.fusion in FUSIONS, f"one of {', '.join(FUSIONS)}"),
            ("weighting", self.weighting in ("logit_normal", "uniform"), "logit_normal or uniform"),
            ("precision", self.precision in PRECISIONS, "auto, bf16 or no"),
            ("output_dir", bool(self.output_dir.strip()), "the name of a folder"),
            ("tracker", self.tracker in ("tensorboard", "none"), "tensorboard or none"),
            (
                "clip_frames",
                bool(self.latents) or self.clip_frames >= self.longest_sample,
                f"at least the window, {self.window}"
                + f", and longest_past, {self.longest_past}, together" * (self.longest_sample > self.window),
            ),
            (
                "hidden_size",
                self.num_heads < 1 or self.hidden_size % self.num_heads == 0,
                f"a multiple of {self.num_heads} heads",
            ),
            ("class_dropout", 0 <= self.class_dropout < 1, "in [0, 1)"),
            ("preroll_probability", 0 <= self.preroll_probability <= 1, "in [0, 1]"),
            (
                "transition_probability",
                0 <= self.transition_probability <= 1 - self.preroll_probability,
                "in [0, 1 - preroll_probability]",
            ),
            ("rollout_probability", 0 <= self.rollout_probability <= 1, "in [0, 1]"),
            ("history_noise", 0 <= self.history_noise < float("inf"), "at least 0"),
            (
                "weighting",
                self.weighting == "logit_normal" or not (self.rollout_probability or self.history_noise),
                "logit_normal with rollout_probability or history_noise, whose errors have no bound at t = 1",
            ),
            ("ema_decay", 0 <= self.ema_decay < 1, "in [0, 1)"),
            ("learning_rate", 0 < self.learning_rate < float("inf"), "above 0, and finite"),
            ("adam_beta1", 0 <= self.adam_beta1 < 1, "in [0, 1)"),
            ("adam_beta2", 0 <= self.adam_beta2 < 1, "in [0, 1)"),
            ("weight_decay", 0 <= self.weight_decay < float("inf"), "at least 0, and finite"),
            (
                "mlp_ratio",
                0 < self.mlp_ratio < float("inf") and self.mlp_ratio * self.hidden_size >= 1,
                f"above 0 and finite, and at least 1 / hidden_size, {1 / max(self.hidden_size, 1):.2g}",
            ),
            ("seed", 0 <= self.seed <= LARGEST_SEED, "at least 0, and below 2^63"),
            ("seed", kept is None, f"one that is not kept for measuring (this one: {kept})"),
            ("audio_scale", 0 < self.audio_scale < float("inf"), "above 0, and finite"),
            ("audio_peak", 0 <= self.audio_peak <= 1, "in [0, 1]"),
            ("max_grad_norm", self.max_grad_norm > 0, "above 0"),
            ("diverged_above", self.diverged_above > 1, "above 1"),
        ]
        at_least_one = (
            "clips", "n_mels", "hidden_size", "depth", "num_heads", "patch_size", "window", "batch_size",
            "accumulation_steps",
            "max_steps", "log_every", "sample_every", "checkpoint_every", "keep_checkpoints", "longest_past",
            "rollout_steps",
        )  # fmt: skip
        check += [(key, getattr(self, key) >= 1, "at least 1") for key in at_least_one]
        not_negative = (
            "warmup_steps", "prefetch", "sample_frames", "keep_every", "sink_frames",
            "context_frames",
        )  # fmt: skip
        check += [(key, getattr(self, key) >= 0, "at least 0") for key in (*not_negative, "latent_size")]
        check.append(("classes", self.classes >= -1, "at least 0, or -1"))
        for key, holds, wanted in check:
            if not holds:
                raise ValueError(f"config: {key} must be {wanted}, not {getattr(self, key)!r}")

    @property
    def output_path(self) -> Path:
        """The folder of the run."""
        return ROOT / self.output_dir

    @property
    def schedule(self) -> RollingSchedule:
        """The times of training and sampling."""
        return RollingSchedule(self.window, self.preroll_probability, self.transition_probability)

    @property
    def longest_sample(self) -> int:
        """Frames of a clip that a training sample takes at most: the window, and its past where memory needs one."""
        return self.window + (self.longest_past if self.sink_frames + self.context_frames else 0)

    def samples_a_step(self, processes: int) -> int:
        """Samples of one optimizer step, over all processes and micro-batches."""
        return self.batch_size * self.accumulation_steps * processes

    def differences(
        self, stored: Mapping[str, Any], processes: int, stored_processes: int, source: str
    ) -> list[str]:
        """What has changed since `stored` was written, a sentence each, for a run that goes on from it.

        Raises:
            ValueError: something that would make it another run; names every such key with both values. Or a key that
                this version does not have: what it did to the run could not be gone on with.
        """
        now, before = asdict(self), {**asdict(type(self)()), **stored}
        if unknown := [f"{key} {short(value)}" for key, value in stored.items() if key not in now]:
            raise ValueError(
                f"{source}: made with settings that this version does not know ({', '.join(unknown)}); go on with the "
                "version that wrote it, or use another output_dir"
            )
        changed = [key for key in now if now[key] != before[key]]
        samples, samples_before = (
            settings["batch_size"] * settings["accumulation_steps"] * count
            for settings, count in ((now, processes), (before, stored_processes))
        )
        free = _FREE_TO_CHANGE.union(_SPLIT_OF_THE_BATCH if samples == samples_before else ())
        refused = [f"{key} {before[key]!r} -> {now[key]!r}" for key in changed if key not in free]
        if samples != samples_before and not set(changed) & set(_SPLIT_OF_THE_BATCH):
            refused.append(f"processes {stored_processes} -> {processes}")
        if refused:
            more = f"; samples a step {samples_before} -> {samples}" if samples != samples_before else ""
            raise ValueError(
                f"{source}: made with another config ({', '.join(refused)}{more}); use another output_dir, or set "
                "it back"
            )
        said = [f"{key} {before[key]!r} -> {now[key]!r}" for key in changed]
        if processes != stored_processes:
            said.append(f"processes {stored_processes} -> {processes}, the same {samples} samples a step")
        if "max_steps" in changed:
            said.append("the learning rate follows the new number of steps from here on")
        return said


def check_config(config: TrainConfig) -> None:
    """Raise a TypeError unless this is a `TrainConfig`: a mapping or the name of a file is not read here."""
    if not isinstance(config, TrainConfig):
        raise TypeError(
            f"config must be a TrainConfig, not {short(config)}: TrainConfig.from_mapping reads a mapping, "
            "TrainConfig.from_yaml a file"
        )
