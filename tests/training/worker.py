"""One process of a job that trains on sharded tasks: ``worker.py OUT RUN_SHARDS [COORDINATOR NUM_PROCESSES ID]``."""

import sys
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)


def main(out: str, run_shards: str, coordinator: str = "", num_processes: str = "1", number: str = "0") -> None:
    if coordinator:
        jax.distributed.initialize(coordinator, int(num_processes), int(number))
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.training.sharded import results

    found = results(int(run_shards), training_only=bool(coordinator) or run_shards != "1")
    if jax.process_index() == 0:
        np.savez(out, **found)
    if coordinator:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
