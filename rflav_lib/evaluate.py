"""The paper's evaluation protocol as one command, or as a generator of states from a notebook.

    python -m rflav_lib.evaluate configs/evaluate-toy.yaml [key=value ...] [--dry-run]
    torchrun --standalone --nproc_per_node 2 -m rflav_lib.evaluate configs/evaluate-landscape.yaml

It draws reference windows from real video, generates as many samples, sends both down the same path, and writes
`results.json`, `tables.md` (the paper's Tables 1-3 beside its printed values) and pictures of the closest pairs to
training clips into the config's `output_dir`. Killed at any moment, the same command goes on. In Python:

    from rflav_lib.evaluate import EvaluateConfig, evaluate, run_to_the_end, tables

    config = EvaluateConfig.from_yaml("configs/evaluate-toy.yaml", samples=16, output_dir="outputs/mine")
    for state in evaluate(config):  # EvaluateState: stage, done, total, seconds_left
        ...
    state.results, state.tables  # of the last one: what results.json holds, and Markdown

    results = run_to_the_end(config, progress=False)  # the same without looking
    print(tables([results]))
"""

import argparse
import signal
import sys
from itertools import groupby
from typing import Any

from accelerate import PartialState
from tqdm.auto import tqdm

from rflav_lib.allocator import keep_freed_memory
from rflav_lib.evaluation.config import EvaluateConfig, Row
from rflav_lib.evaluation.plan import plan
from rflav_lib.evaluation.run import evaluate
from rflav_lib.evaluation.tables import read_run, tables
from rflav_lib.evaluation.work import EvaluateState, process_state

__all__ = ["EvaluateConfig", "EvaluateState", "Row", "evaluate", "read_run", "run_to_the_end", "tables"]


def run_to_the_end(
    config: EvaluateConfig, command: str | None = None, progress: bool = True
) -> dict[str, Any] | None:
    """Evaluate without looking; a bar for each stage, told by the main process.

    Args:
        config: what to evaluate.
        command: written into the results; None takes the command line of this process.
        progress: show the bars.

    Returns:
        What `results.json` holds; None in other processes than the main one.

    Raises:
        FileNotFoundError, ImportError, ValueError: as `evaluate` has them.
    """
    results, shown = None, progress and process_state().is_main_process
    for stage, states in groupby(evaluate(config, command), lambda state: state.stage):
        with tqdm(desc=stage, unit="clip", disable=not shown) as bar:
            for state in states:
                bar.total = state.total or None
                bar.update(state.done - bar.n)
                results = state.results
    return results


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.evaluate", description="The paper's evaluation protocol as one command."
    )
    parser.add_argument("config", help="YAML file, e.g. configs/evaluate-toy.yaml")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="settings that override the file's")
    parser.add_argument(
        "--dry-run", action="store_true", help="open and check everything, print the plan, make nothing"
    )
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line: a YAML file and `key=value` changes."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clusters send it before they kill
    config = None
    try:
        config = EvaluateConfig.from_command_line(options.config, options.changes)
        state = process_state()
        if options.dry_run:
            state.print(plan(config, str(state.device)))
            return 0
        words = sys.argv[1:] if arguments is None else arguments
        run_to_the_end(config, command=" ".join(["python -m rflav_lib.evaluate", *words]))
        state.print((config.output_path / "tables.md").read_text(encoding="utf-8"))
        state.print(f"results, tables and pictures: {config.output_path}")
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is done is kept; the same command goes on", file=sys.stderr)
        return 130
    finally:
        PartialState().destroy_process_group()
    return 0


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
