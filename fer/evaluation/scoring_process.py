"""The process that works with a trained model: repeatable on any number of cores, bounded in time and memory."""

from fer import limits
from fer.engine import arithmetic
from fer.engine.processes import child_process


def job(
    name: str,
    timeout_s: float,
    *,
    if_too_slow: str = "run it again when this machine has less to do",
    in_fresh_interpreter: bool = False,
) -> child_process.Job:
    """What such a process is started for; `name` and `if_too_slow` stand in its errors.

    A model may need more memory than its headers tell: it is ended at `FER_LIMIT_MODEL_MEMORY_BYTES`.
    """
    more_memory = f"free some memory, then run the same command again; or {limits.to_raise('model_memory_bytes')}"
    return child_process.Job(
        name,
        timeout_s,
        if_too_slow=if_too_slow,
        if_out_of_memory=more_memory,
        threads=arithmetic.SCORING_THREADS,
        in_fresh_interpreter=in_fresh_interpreter,
        memory_bytes=limits.current().model_memory_bytes,
    )
