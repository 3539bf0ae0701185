"""Where ``jaxlqr`` and ``python -m jaxlqr`` begin: the one file of the command line that needs no extra."""

import sys

from jaxlqr.core.optional import MissingExtraError, check_installed


def main() -> int:
    """Run the command line and return its exit code; 2, after one sentence, where the extra ``cli`` is missing."""
    try:
        check_installed(("typer", "rich", "tqdm", "matplotlib"), "cli", "the command line")
    except MissingExtraError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from jaxlqr.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
