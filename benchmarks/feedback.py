# The plants come with a package that is not installed where types are checked.
# pyright: reportMissingImports=false
"""Static output feedback for the plants of COMPleib, from zero: which are stabilised, H2 and H-infinity costs, times.

    python benchmarks/feedback.py [NAME ...] [--tiny]

Without names all plants of at most 20 states are taken. The plants come from ``pip install --no-deps gym-lqr``.
``--tiny`` runs one plant with two starts and few steps: it shows that the script works.

Costs that HIFOO reports (Gumussoy, Henrion, Millstone, Overton, IFAC ROCOND 2009) stand beside ours where we know them.
"""

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from timing import markdown

import jaxlqr
from jaxlqr import feedback

jax.config.update("jax_enable_x64", True)

#: H-infinity costs of static gains that HIFOO found.
HIFOO = {"AC15": 15.2919, "HE4": 22.8382}
_LARGEST = 20


def compleib() -> Any:
    """The module of gym-lqr that holds the matrices; the package itself imports gymnasium, which is not needed."""
    found = importlib.util.find_spec("gym_lqr")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the plants need gym-lqr; install it with: pip install --no-deps gym-lqr")
    path = Path(found.submodule_search_locations[0]) / "compleib.py"
    spec = importlib.util.spec_from_file_location("compleib_plants", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not a module; install gym-lqr anew")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(module: Any) -> list[str]:
    """All plants, by the numbers that the module knows."""
    families = ("AC", "HE", "JE", "REA", "DIS", "TG", "AGS", "WEC", "BDT", "MFP", "UWV", "IH", "CSE", "EB", "PAS", "TF")
    known = [f"{family}{i}" for family in (*families, "PSM", "NN", "DLR", "ROC") for i in range(1, 20)]
    return [name for name in (*known, "AGS", "MFP", "UWV", "IH", "PAS", "PSM") if load(module, name) is not None]


def load(module: Any, name: str) -> feedback.GeneralizedPlant | None:
    """A plant, or None where the module has no such plant or it is too large."""
    try:
        matrices = module.COMPleib(name)[:8]
    except (ValueError, KeyError, AttributeError, NotImplementedError, FileNotFoundError):
        return None
    a, b1, b, c1, c, d11, d12, d21 = (np.atleast_2d(np.asarray(matrix, float)) for matrix in matrices)
    if len(a) > _LARGEST or 0 in (a.size, b.size, c.size):
        return None
    # Where gym-lqr leaves these out, COMPleib disturbs and penalises all states, and penalises the controls.
    n, m = b.shape
    b1 = b1 if b1.size else np.eye(n)
    if not c1.size:
        c1, d12 = np.vstack([np.eye(n), np.zeros((m, n))]), np.vstack([np.zeros((n, m)), np.eye(m)])
    direct = (x if x.size else None for x in (d11, d12, d21))
    return feedback.generalized_plant(a, b1, b, c1, c, *direct)


def row(name: str, plant: feedback.GeneralizedPlant, **options: Any) -> list[str]:
    cells = [name, f"{plant.num_states}, {plant.num_controls}, {plant.num_measurements}"]
    seconds, stable = [], False
    for objective in ("h2", "hinf"):
        begin = time.perf_counter()
        found = feedback.synthesize(plant, feedback.static(plant), objective=objective, progress=False, **options)
        seconds.append(time.perf_counter() - begin)
        cost = float(found.cost) ** (0.5 if objective == "h2" else 1)
        stable |= bool(np.min(np.asarray(found.history["abscissa"])) < 0)
        cells.append(f"{cost:.4f} ({jaxlqr.SolveStatus(int(found.status)).name})")
    cells.insert(2, "yes" if stable else "no")
    return [*cells, f"{HIFOO[name]:.4f}" if name in HIFOO else "", f"{seconds[0]:.1f}, {seconds[1]:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    module = compleib()
    chosen = arguments.names or (["AC15"] if arguments.tiny else names(module))
    options = {"num_starts": 2, "max_steps": 5} if arguments.tiny else {}
    rows = []
    for name in chosen:
        plant = load(module, name)
        if plant is None:
            print(f"{name}: not there, without disturbances, or of more than {_LARGEST} states")
            continue
        rows.append(row(name, plant, **options))
        print(" | ".join(rows[-1]), flush=True)
    stable = sum(cells[2] == "yes" for cells in rows)
    print(f"\n{stable} of {len(rows)} plants are stabilised from zero.\n")
    print(markdown(["plant", "n, m, p", "stabilised", "H2 norm", "H-infinity norm", "HIFOO", "seconds"], rows))


if __name__ == "__main__":
    main()
