"""Imports JAX, which reads environment variables; the error for a wrong variable is one sentence that names it."""

import sys
from pathlib import Path

try:
    import jax  # noqa: F401
except ValueError as _error:  # "invalid truth value 'perhaps' for environment 'JAX_ENABLE_X64'"
    _message = f"a variable of the environment must have a value that JAX can read, but {_error}; change or unset it."
    # The commands import the package before they can catch an error.
    if Path(sys.argv[0]).stem == "jaxlqr" or sys.orig_argv[1:3] == ["-m", "jaxlqr"]:
        print(f"error: {_message}", file=sys.stderr)
        sys.exit(2)
    raise ValueError(_message) from None
