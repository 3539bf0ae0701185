"""The commands as functions: train, sweep and landscape. They need the extra ``cli``.

Each command writes figures at its end, so the import of this room checks the extra, before any work.
"""

from jaxlqr.core.optional import check_installed

check_installed(("matplotlib", "orbax.checkpoint", "filelock", "rich", "tqdm"), "cli", "jaxlqr.commands")
