"""The table "one way to say each thing", for every public signature: names, options by keyword, a result type.

Public are the names that a room's ``__init__`` exports, the functions of the modules that it exports, and the
constructors and methods of its classes. The command line is not: its words are those that a user types.
"""

import enum
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import jaxlqr

# Each forbidden argument name, and the one way to say it.
FORBIDDEN = {
    **dict.fromkeys(("num_iterations", "n_iterations", "iterations", "n_steps", "steps", "num_updates"), "num_steps"),
    **dict.fromkeys(("max_iterations", "max_iter", "maxiter", "max_num_steps"), "max_steps"),
    **dict.fromkeys(("max_trials", "num_trials", "max_halvings"), "max_backtracks"),
    **dict.fromkeys(("lr", "learning_rate", "stepsize", "alpha"), "step_size"),
    **dict.fromkeys(("inner_step", "inner_lr", "eta"), "inner_step_size"),
    **dict.fromkeys(("outer_step", "outer_lr"), "outer_step_size"),
    **dict.fromkeys(("tol", "eps", "rtol", "atol"), "tolerance"),
    **dict.fromkeys(("theta", "omega", "weights_of_network", "parameters"), "params"),
    **dict.fromkeys(("chunk", "chunk_size", "batch", "num_batch"), "batch_size, for tasks at once"),
    **dict.fromkeys(("rng", "random_key", "prng_key"), "key"),
    **dict.fromkeys(("printed", "corrected"), 'form="printed"'),
}
# Where another meaning of a word is the one that its field knows.
OTHER_MEANING = {
    ("systems.frequency_response", "omega"): "the angular frequency of issue 23, as in python-control",
    ("plots.plot_bode", "omega"): "the angular frequency",
    ("plots.plot_nyquist", "omega"): "the angular frequency",
    ("plots.plot_singular_values", "omega"): "the angular frequency",
    ("plots.band", "alpha"): "matplotlib's word for the opacity",
    ("plots.plot_weights", "steps"): "the numbers of the steps, not how many there are",
    ("matrix_equations.EquationResult", "iterations"): "a result: how many were taken",
    ("trajectory.IlqrResult", "iterations"): "a result: how many were taken",
}
OF_PAPERS = {
    "theta",
    "omega",
    "eta",
    "alpha",
    "learning_rate",
    "num_updates",
    "inner_step",
    "outer_step",
    "printed",
    "corrected",
}
# A gain is K in these rooms only.
OF_GAINS = ("lqr", "feedback", "papers")

DATA = "data of the problem: matrices that have a natural value"
SCIPY = "SciPy's order of arguments"
# Parameters that have a default and are no options.
MATHEMATICAL = {
    "systems.ss": ({"B", "C", "D"}, "contract of issue 23"),
    "systems.StateSpace": ({"dt"}, "contract of issue 23: StateSpace(A, B, C, D, dt)"),
    "systems.feedback": ({"second"}, "contract of issue 23: feedback(first, second)"),
    "estimation.steady_state_kalman": ({"S"}, "contract of issue 24"),
    "estimation.lqe": ({"NN"}, "python-control's order of arguments"),
    "feedback.GeneralizedPlant": ({"dt"}, "as systems.StateSpace, whose last matrix it follows"),
    "feedback.generalized_plant": ({"D11", "D12", "D21"}, "contract of issue 25"),
    "lqr.make_task": ({"B", "Q", "R", "Sigma0"}, DATA),
    "lqr.continuous_task": ({"B", "Q", "R", "N", "Sigma0"}, DATA),
    "families.scalar": ({"b", "q", "r", "sigma0"}, DATA),
    "families.common_dynamics": ({"Sigma0"}, DATA),
    "mdp.make_mdp": ({"zeta"}, DATA),
    "matrix_equations.solve_discrete_are": ({"e", "s"}, SCIPY),
    "matrix_equations.solve_continuous_are": ({"e", "s"}, SCIPY),
    "matrix_equations.discrete_are_result": ({"e", "s"}, SCIPY),
    "matrix_equations.continuous_are_result": ({"e", "s"}, SCIPY),
    "matrix_equations.discrete_lqr": ({"s"}, SCIPY),
    "matrix_equations.continuous_lqr": ({"s"}, SCIPY),
    "oracles.ExactOracle.expand": ({"key"}, "the protocol's argument, which this oracle does not need"),
    "oracles.ExactOracle.gradient": ({"key"}, "the protocol's argument, which this oracle does not need"),
    "oracles.ExactOracle.hessian_vector_product": ({"key"}, "the protocol's argument, which this oracle does not need"),
    "oracles.Expansion": ({"queries"}, "a field of a named tuple"),
}
# Keywords that go on to another function.
FORWARDED = {
    "plots.band": "matplotlib's options of a line",
    "plots.plot_sample_complexity": "options of median_band",
}


class Public(NamedTuple):
    room: str
    name: str  # with the room, without the package
    signature: inspect.Signature
    is_class: bool

    @property
    def options(self) -> list[inspect.Parameter]:
        return [p for p in self.signature.parameters.values() if p.default is not p.empty]


def rooms() -> list[str]:
    packages = [m.name for m in pkgutil.walk_packages(jaxlqr.__path__, "jaxlqr.") if m.ispkg]
    return [name for name in packages if name.split(".")[1] not in ("cli", "commands", "core", "io")]


def exported(module: Any) -> Iterator[tuple[str, Any]]:
    """What an ``__init__`` exports: functions and classes of this package, those of exported modules too."""
    for name in dir(module):
        if name.startswith("_") or (name in vars(type(module))):
            continue
        value = getattr(module, name)
        if inspect.ismodule(value):
            is_file = not hasattr(value, "__path__") and value.__name__.startswith("jaxlqr.")
            if is_file and name in getattr(module, "_LAZY", ()):
                yield from exported_by_file(value, name)
        elif callable(value) and (getattr(value, "__module__", None) or "").startswith(module.__name__):
            yield name, value


def exported_by_file(module: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__:
            yield f"{prefix}.{name}", value


def callables(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not inspect.isclass(value):
        yield name, value
        return
    if issubclass(value, enum.Enum | Exception):
        return
    if not getattr(value, "_is_protocol", False):
        yield name, value
    for method, member in vars(value).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        function = function.fget if isinstance(function, property) else function
        if inspect.isfunction(function) and (method == "__call__" or not method.startswith("_")):
            yield f"{name}.{method}", function


def all_public() -> list[Public]:
    found: dict[int, Public] = {}
    for package in rooms():
        room = package.removeprefix("jaxlqr.")
        for name, value in exported(importlib.import_module(package)):
            for full, function in callables(f"{room}.{name}", value):
                signature = inspect.signature(function)
                found.setdefault(id(function), Public(room, full, signature, inspect.isclass(function)))
    return sorted(found.values(), key=lambda public: public.name)


PUBLIC = all_public()


def arguments(public: Public) -> list[str]:
    return [name for name in public.signature.parameters if name not in ("self", "cls")]


def test_public_signatures_are_found():
    names = {public.name for public in PUBLIC}
    assert {
        "training.meta_train",
        "lqr.cost",
        "meta.trajectory_weighting.tow",
        "systems.ss",
        "mdp.MDPTask.policy",
    } <= names
    assert len(names) > 300  # of which some 350 exist; a collection that finds none would pass everything


def test_no_argument_has_a_forbidden_name():
    faults = []
    for public in PUBLIC:
        for name in arguments(public):
            allowed = public.room.startswith("papers") and name in OF_PAPERS
            if name in FORBIDDEN and not allowed and (public.name, name) not in OTHER_MEANING:
                faults.append(f"{public.name}({name}): write {FORBIDDEN[name]}")
            if name == "K" and not public.room.startswith(OF_GAINS):
                faults.append(f"{public.name}(K): write params")
    assert not faults, "\n".join(faults)


def test_options_are_given_by_keyword():
    faults = []
    for public in PUBLIC:
        mathematical, _ = MATHEMATICAL.get(public.name, (set(), ""))
        positional = {p.name for p in public.options if p.kind is not p.KEYWORD_ONLY}
        faults += [f"{public.name}({name})" for name in sorted(positional - mathematical)]
        forwards = any(p.kind is p.VAR_KEYWORD for p in public.signature.parameters.values())
        if forwards and public.name not in FORWARDED:
            faults.append(f"{public.name}(**)")
    assert not faults, "\n".join(faults)


def test_every_public_function_has_a_result_type():
    faults = [p.name for p in PUBLIC if not p.is_class and p.signature.return_annotation is inspect.Signature.empty]
    assert not faults, "\n".join(faults)


def test_what_is_optimised_comes_before_the_data():
    order = ("key", "loss", "params", "tasks")
    faults = []
    for public in PUBLIC:
        given = [p.name for p in public.signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        learner = {"loss", "tasks"} <= set(given)  # the rest may have a key that a loss or an oracle takes last
        places = [given.index(name) for name in order[1:] if name in given]
        if learner and places != sorted(places):
            faults.append(f"{public.name}({', '.join(given)}): write (loss, params, tasks, ...)")
        required = [p.name for p in public.signature.parameters.values() if p.default is p.empty]
        if public.room == "families" and "key" in required and given[0] != "key":
            faults.append(f"{public.name}({', '.join(given)}): a random generator takes its key first")
    assert not faults, "\n".join(faults)


def test_printed_forms_are_of_papers_and_no_default():
    holds_as_printed = "papers.wang2020.theory.theorem_4_4"  # its other form is a refinement, not a correction
    faults = [
        f"{public.name}(form={parameter.default!r})"
        for public in PUBLIC
        for parameter in public.options
        if parameter.name == "form"
        and not (public.room.startswith("papers") and parameter.default == "corrected")
        and public.name != holds_as_printed
    ]
    assert not faults, "\n".join(faults)


def test_every_exemption_is_needed():
    by_name = {public.name: public for public in PUBLIC}
    faults = [f"{name}({argument})" for name, argument in OTHER_MEANING if argument not in arguments(by_name[name])]
    for name, (mathematical, _) in MATHEMATICAL.items():
        if name.startswith("feedback.") and not hasattr(jaxlqr, "feedback"):
            continue
        positional = {p.name for p in by_name[name].options if p.kind is not p.KEYWORD_ONLY}
        faults += [f"{name}({argument})" for argument in sorted(mathematical - positional)]
    assert not faults, "\n".join(faults)


def test_value_and_gradient_take_the_same_arguments_in_the_same_order():
    loss, gradient = (inspect.signature(f).parameters for f in (jaxlqr.maml_loss, jaxlqr.maml_gradient))
    assert [(p.name, p.kind, p.default) for p in loss.values()] == [
        (p.name, p.kind, p.default) for p in gradient.values()
    ]


def test_learners_have_few_options_and_name_them_all():
    for learner in (jaxlqr.meta_train, jaxlqr.policy_gradient):
        parameters = inspect.signature(learner).parameters.values()
        assert len(parameters) <= 15  # of which meta_train had 29
        assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
