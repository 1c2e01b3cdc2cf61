"""What reads files here: for each, good files to spoil, how they are read, and which errors are right.

A reader makes its files once, in a folder. `read` gets that folder with one file spoilt, and returns what it found as
(form, content): a form that differs from the good one's is a lie, whatever the bytes say.
"""

from data_scripts.published import FetchError
from rflav_lib.evaluation.tables import read_fusions
from rflav_lib.media import MediaError
from tests.faults.readers.base import Reader
from tests.faults.readers.media import make_archives, make_media, read_archive, read_media
from tests.faults.readers.records import (
    make_answers,
    make_data_json,
    make_fusions,
    make_index,
    make_kept,
    make_measurement,
    make_results,
    make_run,
    make_sweep,
    read_answers,
    read_clip_index,
    read_data_json,
    read_kept,
    read_measurement,
    read_results,
    read_run_folder,
    read_sweep,
)
from tests.faults.readers.settings import make_configs, make_parameters, read_config, read_parameters
from tests.faults.readers.weights import (
    make_cache,
    make_checkpoint,
    make_classifier,
    make_clip_set,
    make_features,
    make_pickle,
    make_pipeline,
    make_released,
    read_cache,
    read_checkpoint,
    read_classifier,
    read_clip_set,
    read_features,
    read_pickled,
    read_pipeline,
    read_released,
    read_vae,
)
from tests.golden import FIXTURES, facts
from tests.tiny import tiny_config, tiny_pipeline, tiny_vae

__all__ = ["FIXTURES", "READERS", "Reader", "facts", "tiny_config", "tiny_pipeline", "tiny_vae"]

SCRIPTS = (ValueError, OSError, FetchError)

READERS = (
    Reader("media", make_media, read_media, (MediaError,)),
    Reader("archives", make_archives, read_archive),
    Reader("pipeline folder", make_pipeline, read_pipeline),
    Reader(
        "image VAE", lambda folder: [p for p in make_pipeline(folder) if p.parent.name == "vae"], read_vae
    ),
    Reader("training checkpoint", make_checkpoint, read_checkpoint),
    Reader("cache of latents", make_cache, read_cache),
    Reader("shard of clips", make_clip_set, read_clip_set, checked=True),
    Reader("features", make_features, read_features, checked=True),
    Reader("toy classifier", make_classifier, read_classifier),
    Reader("pickled weights", make_pickle, read_pickled, SCRIPTS),
    Reader("released checkpoint", make_released, read_released),
    Reader("YAML config", make_configs, read_config),
    Reader("notebook parameters", make_parameters, read_parameters),
    Reader("evaluation results", make_results, read_results),
    Reader("costs of fusions", make_fusions, lambda folder, path: (type(read_fusions(path)), None)),
    Reader("toy measurement", make_measurement, read_measurement),
    Reader("kept figures", make_kept, read_kept),
    Reader("sweep of scales", make_sweep, read_sweep),
    Reader("run folder", make_run, read_run_folder),
    Reader("index of clips", make_index, read_clip_index),
    Reader("study answers", make_answers, read_answers),
    Reader("data scripts' JSON", make_data_json, read_data_json, SCRIPTS),
)
