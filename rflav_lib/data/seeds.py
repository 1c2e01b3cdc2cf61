"""Seeds that are kept: their toy clips measure, judge and calibrate, so no training run may draw them.

A toy clip is a function of (world, seed, index), so a seed names a set of clips in each world. What makes clips to
train on, directly, as a cache of latents or as files, refuses the seeds below. Results that are stored depend on the
values: they stay as they are.
"""

CODEC_SEED = 1_000_003
UNSEEN_SEED = 2_000_003
RANGE_SEED = 2_000_017
CONTROL_SEED = 2_000_029
REFERENCE_SEED = 2_000_033
GIVEN_SEED = 2_000_039
HIDING_SEED = 2_000_047
CLASSING_SEED = 5_150_317
SYNC_SEED = 6_000_011
SYNC_THRESHOLD_SEED = 6_000_029
LOOP_CALIBRATION_SEED = 7_000_003
LOOP_TEST_SEED = 7_000_009
BURST_SEED = 7_411_951

RESERVED = {
    CODEC_SEED: "frames that image codecs are measured on",
    UNSEEN_SEED: "unseen clips beside generated ones: of the trackers, of evaluations, of the toy classifiers",
    RANGE_SEED: "clips that say what is usual of a class, in benchmarks/scales.py",
    CONTROL_SEED: "real clips beside those of small models; in benchmarks/longform.py, what distances are taken to",
    REFERENCE_SEED: "clips that distances of small models are taken to",
    GIVEN_SEED: "clips whose sound or picture is given, in benchmarks/ablations.py and benchmarks/noise_levels.py",
    HIDING_SEED: "clips that models are given the beginning of, in benchmarks/forgetting.py",
    CLASSING_SEED: "clips that the trackers of classes are fitted on",
    SYNC_SEED: "clips that sync classifiers are trained on",
    SYNC_THRESHOLD_SEED: "clips that sync classifiers' thresholds are set on",
    LOOP_CALIBRATION_SEED: "clips that the loop test is calibrated on",
    LOOP_TEST_SEED: "clips that the loop test is judged on",
    BURST_SEED: "clips that the course of a firework is learnt from",
}
"""What the clips of each seed are for."""
STUDIES = 1_000
"""Seeds of a study, from 0 on, whose control clips no training may draw: see `control_seed`."""


def control_seed(seed: int) -> int:
    """The world's seed of the real clips that stand beside the models of seed `seed` of a study.

    They are other clips for each, and never those that distances are taken to. With seed 0 it is `CONTROL_SEED`.
    """
    return CONTROL_SEED + 1_000 * seed


def kept_for(seed: int) -> str | None:
    """What the clips of a seed are kept for; None for a seed that is free to train on.

    `control_seed` of any study's seed below `STUDIES` is kept too.
    """
    studies = range(CONTROL_SEED, control_seed(STUDIES), 1_000)
    return RESERVED.get(seed, RESERVED[CONTROL_SEED] if seed in studies else None)
