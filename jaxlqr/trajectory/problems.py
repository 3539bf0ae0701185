r"""Classic problems for trajectory optimisation: pendulum, cart-pole, planar and spatial quadrotor, car parking.

Each is continuous dynamics stepped by explicit Runge-Kutta 4 (the car by its exact kinematics), with a smooth cost. All
parameters that a user may differentiate or vary are in ``params``. Units are SI.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.types import PyTree


class TrajectoryProblem(NamedTuple):
    """Arguments of :func:`jaxlqr.trajectory.ilqr`: ``ilqr(p.cost, p.dynamics, p.x0, p.U0, params=p.params, ...)``.

    Attributes:
        cost, dynamics, final_cost: functions as :func:`jaxlqr.trajectory.ilqr` takes them.
        x0, U0: initial state [n] and first guess of the controls [T, m].
        params: numbers of the model, a dict of floats.
        time_step: seconds of one step, for plots.
    """

    cost: Callable[..., Array]
    dynamics: Callable[..., Array]
    final_cost: Callable[..., Array]
    x0: Array
    U0: Array
    params: dict[str, float]
    time_step: float


def runge_kutta(
    rate: Callable[[Array, Array, PyTree], Array], time_step: float, *, rolled: bool = False
) -> Callable[[Array, Array, Array, PyTree], Array]:
    """Dynamics x(t + h) of dx/dt = rate(x, u, params) by the classic fourth-order step with constant control.

    ``rolled`` makes the four stages a loop. XLA compiles a third less code. This helps for long rates, such as the
    spatial quadrotor; short rates then run slower.
    """

    def step(x: Array, u: Array, t: Array, params: PyTree) -> Array:
        k1 = rate(x, u, params)
        k2 = rate(x + time_step / 2 * k1, u, params)
        k3 = rate(x + time_step / 2 * k2, u, params)
        k4 = rate(x + time_step * k3, u, params)
        return x + time_step / 6 * (k1 + 2 * (k2 + k3) + k4)

    def rolled_step(x: Array, u: Array, t: Array, params: PyTree) -> Array:
        def stage(carry: tuple[Array, Array], at: Array):
            before, end = carry
            slope = rate(x + at[0] * before, u, params)
            return (slope, end + at[1] * slope), None

        shares = jnp.array([[0, 1 / 6], [1 / 2, 1 / 3], [1 / 2, 1 / 3], [1, 1 / 6]], x.dtype)
        return lax.scan(stage, (jnp.zeros_like(x), x), time_step * shares)[0][1]

    return rolled_step if rolled else step


def _pendulum_rate(x: Array, u: Array, p: PyTree) -> Array:
    angle, rate = x
    torque = u[0] - p["damping"] * rate - p["mass"] * p["gravity"] * p["length"] * jnp.sin(angle)
    return jnp.stack([rate, torque / (p["mass"] * p["length"] ** 2)])


def _pendulum_cost(x: Array, u: Array, t: Array, p: PyTree) -> Array:
    return 0.05 * (1 + jnp.cos(x[0]) + 0.05 * x[1] ** 2 + p["effort"] * u[0] ** 2)


def _pendulum_final(x: Array, p: PyTree) -> Array:
    return 50 * (1 + jnp.cos(x[0])) + 5 * x[1] ** 2


def pendulum(num_steps: int = 80) -> TrajectoryProblem:
    """Swing a pendulum from hanging, angle 0, to upright, angle pi; state (angle, rate), control torque."""
    params = {"mass": 1.0, "length": 1.0, "gravity": 9.81, "damping": 0.1, "effort": 0.1}
    # Hanging still is a stationary point: a small push selects the side.
    start, guess = jnp.zeros(2), jnp.full((num_steps, 1), 0.1)
    step = _STEPS["pendulum"]
    return TrajectoryProblem(_pendulum_cost, step, _pendulum_final, start, guess, params, 0.05)


def _cart_pole_rate(x: Array, u: Array, p: PyTree) -> Array:
    _, angle, speed, rate = x
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    m, l, g = p["pole_mass"], p["length"], p["gravity"]
    drive = u[0] + m * l * rate**2 * sin
    acceleration = (drive + m * g * sin * cos) / (p["cart_mass"] + m * sin**2)
    return jnp.stack([speed, rate, acceleration, -(acceleration * cos + g * sin) / l])


def _cart_pole_cost(x: Array, u: Array, t: Array, p: PyTree) -> Array:
    # Quadratic in the angle: 1 + cos would make the way up a ridge of negative curvature.
    off = x - jnp.array([0.0, jnp.pi, 0.0, 0.0])
    return 0.05 * (0.1 * jnp.sum(off**2) + p["effort"] * u[0] ** 2)


def _cart_pole_final(x: Array, p: PyTree) -> Array:
    return 100 * jnp.sum((x - jnp.array([0.0, jnp.pi, 0.0, 0.0])) ** 2)


def cart_pole(num_steps: int = 80) -> TrajectoryProblem:
    """Swing a pole on a cart from hanging, angle 0, to upright; state (position, angle, speed, rate), control force."""
    params = {"cart_mass": 1.0, "pole_mass": 0.2, "length": 0.5, "gravity": 9.81, "effort": 0.02}
    start, guess = jnp.zeros(4), jnp.full((num_steps, 1), 0.1)
    step = _STEPS["cart_pole"]
    return TrajectoryProblem(_cart_pole_cost, step, _cart_pole_final, start, guess, params, 0.05)


def _planar_rate(x: Array, u: Array, p: PyTree) -> Array:
    thrust = (u[0] + u[1]) / p["mass"]
    turn = p["arm"] * (u[0] - u[1]) / p["inertia"]
    return jnp.stack([x[3], x[4], x[5], -thrust * jnp.sin(x[2]), thrust * jnp.cos(x[2]) - p["gravity"], turn])


def _hover(p: PyTree, rotors: int) -> Array:
    return p["mass"] * p["gravity"] / rotors


def _planar_cost(x: Array, u: Array, t: Array, p: PyTree) -> Array:
    return 0.05 * (jnp.sum(x**2) + 0.1 * jnp.sum((u - _hover(p, 2)) ** 2))


def _planar_final(x: Array, p: PyTree) -> Array:
    return 50 * jnp.sum(x**2)


def planar_quadrotor(num_steps: int = 60) -> TrajectoryProblem:
    """Fly two rotors in a vertical plane to hover at the origin, upside down at first.

    State (x, z, tilt, speeds of the three), controls two thrusts.
    """
    params = {"mass": 1.0, "inertia": 0.1, "arm": 0.3, "gravity": 9.81}
    start = jnp.array([2.0, 1.0, 2.5, 0.0, 0.0, 0.0])
    guess = jnp.full((num_steps, 2), _hover(params, 2))
    step = _STEPS["planar_quadrotor"]
    return TrajectoryProblem(_planar_cost, step, _planar_final, start, guess, params, 0.05)


def _car_step(x: Array, u: Array, t: Array, p: PyTree) -> Array:
    # The rear axle rolls the distance that the front wheels' distance f gives: exact for a rigid car.
    along = x[3] * _CAR_TIME_STEP
    turn = along * jnp.sin(u[0])
    roll = p["axle"] + along * jnp.cos(u[0]) - jnp.sqrt(p["axle"] ** 2 - turn**2)
    change = [roll * jnp.cos(x[2]), roll * jnp.sin(x[2]), jnp.arcsin(turn / p["axle"]), u[1] * _CAR_TIME_STEP]
    return x + jnp.stack(change)


def _smooth_abs(value: Array, width: float) -> Array:
    return jnp.sqrt(value**2 + width**2) - width


def _car_cost(x: Array, u: Array, t: Array, p: PyTree) -> Array:
    place = 0.001 * (_smooth_abs(x[0], 0.1) + _smooth_abs(x[1], 0.1))
    return place + 0.01 * u[0] ** 2 + p["effort"] * u[1] ** 2


def _car_final(x: Array, p: PyTree) -> Array:
    near = _smooth_abs(x, 0.01) * jnp.array([1.0, 1.0, 10.0, 3.0])
    return jnp.sum(near)


def car_parking(num_steps: int = 250) -> TrajectoryProblem:
    """Park a car at the origin, heading 0; state (x, y, heading, speed), controls steering angle and acceleration."""
    start = jnp.array([1.0, 1.0, 1.5 * jnp.pi, 0.0])
    guess = jnp.broadcast_to(jnp.array([0.05, 0.05]), (num_steps, 2))
    return TrajectoryProblem(
        _car_cost, _car_step, _car_final, start, guess, {"axle": 2.0, "effort": 1e-4}, _CAR_TIME_STEP
    )


def _quadrotor_rate(x: Array, u: Array, p: PyTree) -> Array:
    velocity, (roll, pitch, yaw), rates = x[3:6], x[6:9], x[9:12]
    (sr, cr), (sp, cp), (sy, cy) = ((jnp.sin(angle), jnp.cos(angle)) for angle in (roll, pitch, yaw))
    thrust = jnp.sum(u) / p["mass"]
    up = jnp.stack([cr * sp * cy + sr * sy, cr * sp * sy - sr * cy, cr * cp])
    acceleration = thrust * up - jnp.array([0.0, 0.0, 1.0]) * p["gravity"]
    wx, wy, wz = rates
    spin = sr * wy + cr * wz
    angle_rates = jnp.stack([wx + jnp.tan(pitch) * spin, cr * wy - sr * wz, spin / cp])
    moments = jnp.stack([p["arm"] * (u[1] - u[3]), p["arm"] * (u[2] - u[0]), p["drag"] * (u[0] - u[1] + u[2] - u[3])])
    ix, iy, iz = p["inertia_x"], p["inertia_y"], p["inertia_z"]
    coupling = jnp.stack([(iy - iz) * wy * wz, (iz - ix) * wz * wx, (ix - iy) * wx * wy])
    return jnp.concatenate([velocity, acceleration, angle_rates, (moments + coupling) / jnp.stack([ix, iy, iz])])


def _quadrotor_cost(x: Array, u: Array, t: Array, p: PyTree) -> Array:
    return 0.05 * (jnp.sum(x[:6] ** 2) + 0.1 * jnp.sum(x[6:] ** 2) + 0.1 * jnp.sum((u - _hover(p, 4)) ** 2))


def _quadrotor_final(x: Array, p: PyTree) -> Array:
    return 20 * jnp.sum(x**2)


def quadrotor(num_steps: int = 60) -> TrajectoryProblem:
    """Fly four rotors to hover at the origin; 12 states (position, velocity, roll-pitch-yaw, body rates), 4 thrusts."""
    params = {"mass": 0.5, "arm": 0.17, "drag": 0.02, "gravity": 9.81}
    params |= {"inertia_x": 0.0023, "inertia_y": 0.0023, "inertia_z": 0.004}
    start = jnp.array([1.0, -1.0, -0.5, 0.0, 0.0, 0.0, 0.6, -0.4, 1.0, 0.0, 0.0, 0.0])
    guess = jnp.full((num_steps, 4), _hover(params, 4))
    step = _STEPS["quadrotor"]
    return TrajectoryProblem(_quadrotor_cost, step, _quadrotor_final, start, guess, params, 0.05)


_CAR_TIME_STEP = 0.03
# One function object for each: a problem built twice is compiled once.
_STEPS = {
    "pendulum": runge_kutta(_pendulum_rate, 0.05),
    "cart_pole": runge_kutta(_cart_pole_rate, 0.05),
    "planar_quadrotor": runge_kutta(_planar_rate, 0.05),
    "quadrotor": runge_kutta(_quadrotor_rate, 0.05, rolled=True),
}

PROBLEMS = {
    "pendulum": pendulum,
    "cart_pole": cart_pole,
    "planar_quadrotor": planar_quadrotor,
    "car_parking": car_parking,
    "quadrotor": quadrotor,
}
