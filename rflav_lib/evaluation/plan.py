"""What an evaluation will do, before it does it: everything opened and checked, nothing made."""

from rflav_lib.evaluation.config import EvaluateConfig
from rflav_lib.evaluation.networks import measures
from rflav_lib.evaluation.run import Evaluation
from rflav_lib.metrics.comparison import METRICS

SOUND_BYTES = 4 * 1600  # of a frame: float32 at 16 kHz and 10 frames a second


def plan(config: EvaluateConfig, device: str = "cpu") -> str:
    """The plan as text.

    Raises:
        FileNotFoundError, ImportError, ValueError: what the evaluation would stop at.
    """
    evaluation = Evaluation(config, device)
    _ = evaluation.fusions
    lines = [f"samples      {config.samples} of {config.frames} frames, seed {config.seed}, in each set"]
    for name, source in evaluation.sources.items():
        lines.append(f"{name:12} {source.name}: {len(source):,} windows")
    treatment = evaluation.treatment
    lines.append(f"path         {treatment.resize_name}; codec {treatment.codec_name}")
    for measure in measures(config.networks):
        network = evaluation.extractor.network(measure)
        titles = ", ".join(METRICS[metric].title for metric in measure.metrics)
        lines.append(f"network      {network.name}, {network.weights}: {titles}")
    sets = evaluation.sets()
    for key, sampler in evaluation.samplers.items():
        row, facts = sampler.row, sampler.facts
        each = facts["window"] * facts["steps_per_frame"] + (config.frames - 1) * facts["steps_per_frame"]
        twice = 2 if row.guidance != 1 else 1
        missing = sum(len(shard) for shard in sets[key].missing()[0])
        how = "" if row.task == "joint" else ", each with its gradient"
        lines.append(
            f"row          {row.name}: {row.task}, {facts['parameters'] / 1e6:.1f} M parameters, window "
            f"{facts['window']}, N = {facts['steps_per_frame']}: {each * twice} forwards a sample{how}; "
            f"{missing} of {config.samples} samples to make"
        )
        sampler.close()
    size = config.frames * (3 * config.size**2 + SOUND_BYTES) * config.samples * len(sets)
    if config.held_out:
        lines.append(f"bank         {len(evaluation.bank):,} training windows to look for copies in")
    lines.append(f"disk         {size / 1e6:,.0f} MB of clips in {config.output_path}")
    return "\n".join(lines)
