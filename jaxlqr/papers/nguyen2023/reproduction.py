"""Trajectory optimisation, and task weights chosen by it (TOW), of "Task weighting in meta-learning with trajectory
optimisation"."""

from collections.abc import Callable

from jaxlqr.papers.driver import Outcome, Paper, Part, Request
from jaxlqr.papers.nguyen2023 import ablation_part, images_ablation_part, images_part, lqr_part, trajectories


def named(name: str, prepare: Callable[[Request], Callable[[], Outcome]]) -> Callable[[Request], Callable[[], Outcome]]:
    """The same, with what the part found as one entry of the summary."""

    def prepared(request: Request) -> Callable[[], Outcome]:
        run = prepare(request)

        def entry() -> Outcome:
            outcome = run()
            settings = {"quick": request.quick, "num_seeds": request.num_seeds, "seed": request.seed}
            return outcome._replace(summary={"settings": settings, name: outcome.summary})

        return entry

    return prepared


PAPER = Paper(
    "nguyen2023",
    {
        "trajectories": Part(named("trajectories", trajectories.prepare)),
        "lqr": Part(named("lqr", lqr_part.prepare)),
        "ablation": Part(named("ablation", ablation_part.prepare), in_quick=False),
        "images": Part(named("images", images_part.prepare), reads_data=True),
        "images-ablation": Part(
            named("images-ablation", images_ablation_part.prepare), reads_data=True, in_quick=False
        ),
    },
    trains=False,
)
