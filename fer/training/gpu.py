"""What the driver says of the GPU that Keras trains on."""

import os
import subprocess


def asked(field: str) -> str | None:
    """A field of `nvidia-smi --query-gpu`, without its unit, of the first GPU that Keras has.

    None without one, or where the driver doesn't say: a part of a GPU has no figure of its own.
    """
    import keras

    try:
        if not keras.distribution.list_devices("gpu"):
            return None
    except RuntimeError:  # JAX's way to say so
        return None
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits", f"--id={first}"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
