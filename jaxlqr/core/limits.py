"""Limits on counts and memory from files and options, checked before any allocation."""

from typing import Any

MOST_SEED = 2**32 - 1
#: Bytes of all matrices of a stack of tasks, of the file that holds them, and of the history of a run.
MOST_TASK_BYTES, MOST_HISTORY_BYTES = 2**28, 2**30
#: States, or inputs, of one system: its equations need about twenty matrices of this size and minutes to solve.
MOST_STATES = 2048


def check_count(value: int, name: str, least: int, most: int) -> int:
    """``value``, an integer from ``least`` to ``most``.

    >>> check_count(10**400, "the number of starts", 1, 10**5)
    Traceback (most recent call last):
    ValueError: the number of starts must be at most 100000, got 1000000000... (401 digits).
    """
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {shown(value)}.")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {shown(value)}.")
    return value


def check_seed(value: int) -> int:
    """``value``, a seed of every generator."""
    if not 0 <= value <= MOST_SEED:
        raise ValueError(f"the seed must lie between 0 and 2^32 - 1, got {shown(value)}.")
    return value


def check_tasks(num_tasks: int, num_states: int, num_inputs: int, what: str = "the tasks") -> None:
    """Check that a stack of tasks is small enough to compute with; Q, R and Sigma0 count as well.

    Raises:
        ValueError: with the limit and a remedy.
    """
    if max(num_states, num_inputs) > MOST_STATES:
        raise ValueError(
            f"{what} must have at most {MOST_STATES} states and inputs, got {num_states} and {num_inputs}; reduce the "
            "order of the model first."
        )
    each = 8 * (3 * num_states**2 + num_states * num_inputs + num_inputs**2)
    if num_tasks * each > MOST_TASK_BYTES:
        raise ValueError(
            f"{what} must take at most {MOST_TASK_BYTES >> 20} MiB, which are {MOST_TASK_BYTES // each} tasks of "
            f"{num_states} states and {num_inputs} inputs, got {shown(num_tasks)} tasks; take fewer."
        )


def check_history(num_steps: int, num_runs: int, num_tasks: int, num_entries: int = 0, name: str = "steps") -> None:
    """Check that the history of a training is small enough to store; ``num_entries`` numbers are added to the usual
    rows.

    Raises:
        ValueError: with the limit and a remedy.
    """
    each = 8 * num_runs * (num_tasks * (5 + num_entries) + 8)
    if num_steps * each > MOST_HISTORY_BYTES:
        raise ValueError(
            f"{name} must be at most {MOST_HISTORY_BYTES // each}, so that the history takes at most "
            f"{MOST_HISTORY_BYTES >> 20} MiB, got {shown(num_steps)}; take fewer, and go on from the last gain."
        )


def check_samples(num_samples: int, num_tasks: int, num_states: int, num_inputs: int) -> None:
    """Check that the cost queries of a zeroth-order oracle, which are computed side by side, fit in memory.

    Raises:
        ValueError: with the limit and a remedy.
    """
    each = 8 * num_tasks * (4 * num_states**2 + 2 * num_states * num_inputs)  # a perturbed loop and its Lyapunov solve
    if num_samples * each > MOST_HISTORY_BYTES:
        raise ValueError(
            f"the number of samples must be at most {MOST_HISTORY_BYTES // each} for {num_tasks} tasks of {num_states} "
            f"states, got {shown(num_samples)}; take fewer."
        )


def shown(value: Any) -> str:
    """``value`` as text for a message; long integers are shortened."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:10]}... ({len(text)} digits)"
