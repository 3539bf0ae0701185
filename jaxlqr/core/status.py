"""The one enumeration of what can become of a computation, each member with its advice; a code for each lane."""

import enum
from typing import Self

import numpy as np
from jax.typing import ArrayLike

_LANES_NAMED = 8


class SolveStatus(enum.IntEnum):
    """What became of a computation: one code in each result, under ``jax.vmap`` one for each lane.

    ``status.advice`` is the sentence with which ``check()`` of a result ends; a success has none. A result holds the
    code: ``SolveStatus(int(result.status)).name`` is its name.

    Attributes:
        SOLVED: the answer is right to rounding.
        CONVERGED: the iteration met its tolerance.
        COMPLETED: training took all steps, or all until ``callback`` or ``max_queries`` ended the run. This says
            nothing about convergence.
        NOT_IMPROVED: no answer better than the start was found, and the start is the answer. A success: the start may
            be the best answer that there is.
        NOT_FINITE: an argument holds NaN or infinity. There is no value.
        COST_NOT_FINITE: the cost, or a derivative of it, is NaN or infinite where the search starts, or a derivative
            is at an accepted iterate.
        NO_FINITE_SYSTEM: an entry of the system is NaN or infinite: the system could not be formed.
        SINGULAR: the equation has no solution, or no unique one, to working precision. There is no value.
        NOT_STABLE: the method, or the norm, needs a stable matrix, and this one is not. There is no value.
        NO_STABILIZING_SOLUTION: the Riccati equation has none, or none was found. There is no value.
        NO_STABLE_SOLUTION: no solution is stable, or none was found. There is no value.
        NOT_UNIQUE: there are several stable solutions. There is no value.
        NOT_SEPARATED: a root is on the circle to rounding, or the model has fewer equations than unknowns. There is no
            value.
        NO_STEADY_STATE: no stable filter exists, or none was found. There is no value.
        NO_START: A has no stationary distribution, or the data do not determine the diffuse states.
        NOT_POSITIVE_DEFINITE: an innovation covariance is not positive definite.
        DIVERGED: without a safeguard, an iterate was infeasible or not finite.
        STALLED: the last training step was refused: no fraction of it that was tried was feasible.
        NO_DECREASE: no step was found that decreases the cost, however large the regularisation.
        NOT_STABILIZED: no start led to a controller that stabilises every plant.
        MAX_STEPS: the iteration was not finished when it reached its cap.
        INACCURATE: the residual is larger than rounding explains. The value is returned.
        ILL_CONDITIONED: the value satisfies the equation to rounding, but the equation is so near to a singular one
            that no digit need be right. For a Riccati equation also: the closed loop is within rounding of the
            boundary of stability, or r + b^H x b (continuous: r), which is inverted for the gain, is so near to a
            singular matrix, whatever the units of the inputs, that the gain has lost half of its digits.

    >>> SolveStatus.SOLVED.successful, SolveStatus.NOT_STABLE.successful
    (True, False)
    """

    # The order is that in which check() looks for failures; codes are stored on disks, so they never change.
    SOLVED = 0, ""
    CONVERGED = 9, ""
    COMPLETED = 10, ""
    NOT_IMPROVED = 11, ""
    NOT_FINITE = (
        2,
        "an argument holds infinity, or NaN where no value may be missing. Look upstream for a division by zero (in a "
        "model, at its steady state) or an overflow.",
    )
    COST_NOT_FINITE = (
        12,
        "the cost or a derivative is NaN or infinite at the start, or a derivative is at a later iterate. Likely the "
        "dynamics blow up, the start is infeasible (for LQR, the gain or an adapted gain does not stabilise a task), "
        "or a square root, division or norm is differentiated at zero. Start from a feasible point, take smaller "
        "controls or step sizes, shorten the time step, or smooth the function there. An H2 cost in continuous time is "
        "infinite if white noise reaches the penalised outputs at once: use feedback.dynamic, without feedthrough.",
    )
    NO_FINITE_SYSTEM = (
        13,
        "an entry is NaN or infinite. In a connection an algebraic loop is singular (I - D1 D2 has no inverse), or the "
        "sampling times differ; in sampling exp(A dt) overflows; in a reduction the system is not stable, or has fewer "
        "states that matter than asked for. Change the feedthrough, dt, the number of states or the matrices.",
    )
    SINGULAR = (
        3,
        "the equation has no unique solution: two eigenvalues multiply (discrete) or add (continuous, Sylvester) to a "
        "forbidden value, such as an eigenvalue 1 or a pair 0.5 and 2. Perturb or rescale the model, or remove the "
        "mode.",
    )
    NOT_STABLE = (
        4,
        "an eigenvalue lies on or outside the boundary of stability. If the system should be stable, check signs and "
        'transposes; if not, stabilise it first, or solve its equation with method="auto" or "schur".',
    )
    NO_STABILIZING_SOLUTION = (
        5,
        "no stabilising solution was found. Likely (a, b) is not stabilisable, an eigenvalue on the stability boundary "
        "is not seen by q, or r or q is indefinite. Check the uncontrollable modes, or add a small multiple of the "
        "identity to q.",
    )
    NO_STABLE_SOLUTION = (
        7,
        "no solution with all eigenvalues inside the unit circle was found. Fewer roots than the solution has "
        "eigenvalues are inside, a root is on the circle, or the roots inside do not determine the states. Check "
        "signs, the order of the arguments, the number and the order of the states, and the timing of each equation; "
        "with unit roots, move them, or pass radius=1.001 to solve_linear_re.",
    )
    NOT_UNIQUE = (
        8,
        "several solutions have all eigenvalues inside the unit circle, since more roots are inside than the solution "
        "has eigenvalues: the model does not determine expectations. Check the number and the order of the states, "
        "and add the conditions that the model lacks; in a monetary model, the policy rule may react too little.",
    )
    NOT_SEPARATED = (
        14,
        "a root is on the circle of the given radius, or A and B have a common null vector. With unit roots pass "
        "radius=1.001; else look for an equation that occurs twice.",
    )
    NO_STEADY_STATE = (
        15,
        "no stable filter was found. Either (A, C) is not detectable: an unstable mode does not move the "
        "measurements, so measure it or remove it. Or (A, Q) is not stabilisable on the boundary of stability: a mode "
        "such as a constant has no noise, so its filter never settles; give it noise, or use kalman_filter, which "
        "needs no steady state. Or R (discrete: C P C' + R) is singular.",
    )
    NO_START = (
        16,
        "the state has no start. If A has a unit root, no stationary distribution exists: pass diffuse=True or P0. If "
        "diffuse is given, the measurements do not determine these states: pass P0 for the others.",
    )
    NOT_POSITIVE_DEFINITE = (
        17,
        "an innovation covariance C P C' + R is not positive definite. Two measurements say the same: drop one, or add "
        "noise to R.",
    )
    DIVERGED = (
        18,
        "an iterate was infeasible or not finite. Reduce the step sizes, or keep the safeguard (guard=jaxlqr.Guard()).",
    )
    STALLED = (
        19,
        "every fraction of the step that was tried left the feasible set. The policy is at its boundary, or the "
        "adaptation step leaves it: reduce inner_step_size, or, with a zeroth-order oracle, the radius.",
    )
    NO_DECREASE = (
        20,
        "no step decreased the cost, however large the regularisation. Likely the cost or the dynamics are not smooth "
        "(abs, clip, ReLU), a derivative rule is wrong, or the tolerance is below rounding. Smooth them, use float64, "
        "or raise the tolerance.",
    )
    NOT_STABILIZED = (
        22,
        "no start led to a controller that stabilises every plant. Give more starts (num_starts), parameters that "
        "stabilise (starts), more measurements, or a controller class with memory, such as feedback.dynamic.",
    )
    MAX_STEPS = (
        21,
        "the iteration was not finished when it reached its cap. For iLQR the gradient was not yet small: if "
        "history['gradient_norm'] still falls, raise max_steps or try ddp=True, which converges quadratically; if it "
        "stays level, use float64 or raise the tolerance. An H-infinity norm is then a lower bound: use float64, or "
        "remove modes that are within rounding of the boundary of stability. A synthesis returns the best controller "
        "that it saw: raise max_steps, or continue from it with starts.",
    )
    INACCURATE = (
        6,
        "the residual is larger than rounding explains. Rescale the states to comparable sizes, use float64, or "
        "compare with scipy.linalg.",
    )
    ILL_CONDITIONED = (
        1,
        "the equation is within rounding of a singular one, so the value may have no correct digit although its "
        "residual is small. Use float64, rescale, or move the eigenvalues away from the boundary.",
    )

    advice: str

    def __new__(cls, code: int, advice: str = "") -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.advice = advice
        return member

    @property
    def successful(self) -> bool:
        """Whether nothing is to be done: the member has no advice."""
        return not self.advice


def check_lanes(
    codes: ArrayLike, noun: str, error: type[Exception] = RuntimeError, *, allow_ill_conditioned: bool = True
) -> None:
    """Raise ``error`` if any of ``codes`` is the :class:`SolveStatus` of a failure: the first one in its order.

    The sentence counts the lanes, names the status and the first lanes, and ends with the advice. ``noun`` is the
    plural of what one lane is. ILL_CONDITIONED passes unless ``allow_ill_conditioned=False``, since its value satisfies
    the equation. Outside ``jit`` only.

    >>> check_lanes([0, 3], "equations")
    Traceback (most recent call last):
    RuntimeError: 1 of 2 equations SINGULAR (first: [1]): the equation has no unique solution: ...
    """
    flat = np.atleast_1d(np.asarray(codes)).ravel()
    for status in SolveStatus:
        lanes = np.flatnonzero(flat == status)
        tolerated = allow_ill_conditioned and status is SolveStatus.ILL_CONDITIONED
        if lanes.size and not (status.successful or tolerated):
            where = f" (first: {lanes[:_LANES_NAMED].tolist()})" if flat.size > 1 else ""
            raise error(f"{lanes.size} of {flat.size} {noun} {status.name}{where}: {status.advice}")
