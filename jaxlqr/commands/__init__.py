"""What the command line runs, as functions: train, sweep and landscape. They need the extra ``cli``.

Each writes figures at its end, so the extra is checked when this room is imported, before any work.
"""

from jaxlqr.core.optional import check_installed

check_installed(("matplotlib", "orbax.checkpoint", "filelock", "rich", "tqdm"), "cli", "jaxlqr.commands")
