"""Draws docs/gallery.md with its figures, and the animation of the README: ``python docs/gallery.py``.

Each function below draws one picture; the gallery shows the figure and the code of the function. About a minute.
"""

import inspect
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxlqr
from jaxlqr.plots import (
    animation,
    new_figure,
    plot_bode,
    plot_hankel,
    plot_heat_map,
    plot_history,
    plot_landscape,
    plot_nyquist,
    plot_poles,
    plot_sample_complexity,
    plot_singular_values,
    plot_step,
    plot_trajectories,
    plot_weights,
)

DOCS = Path(__file__).parent
STEPS, STEP, INNER = 300, 1e-3, 1e-8  # of meta-training on the Boeing tasks, without a model-free oracle


def boeing_tasks(count=5, level=0.01):
    """Boeing tasks around the nominal one, with the paper's first gain."""
    tasks = jaxlqr.families.perturb(jax.random.key(0), jaxlqr.families.boeing(), num_tasks=count, level=level)
    return tasks, jaxlqr.families.boeing_initial_gain()


def descend(tasks, K, steps=STEPS):
    """The gains [steps + 1, m, n] of gradient descent on the meta-objective."""

    def mean(gain):
        return jnp.mean(jax.vmap(lambda task: jaxlqr.cost(gain, task))(tasks))

    def step(gain, _):
        gradient = jaxlqr.maml_gradient(jaxlqr.cost, gain, tasks, inner_step_size=INNER)
        tried = gain - STEP * 0.25 ** jnp.arange(8)[:, None, None] * gradient
        return tried[jnp.argmin(jax.vmap(mean)(tried))], gain  # the best of eight step sizes; +inf is unstable

    return jax.jit(lambda: jax.lax.scan(step, K, None, length=steps + 1)[1])()


def histories():
    """Gap to each task's optimum, median and quartiles over tasks, for two step sizes."""
    tasks, K0 = boeing_tasks(10)
    ax = new_figure()[1][0, 0]
    for step in (1e-6, 4e-6):
        result = jaxlqr.meta_train(
            jaxlqr.cost,
            K0,
            tasks,
            num_steps=200,
            objective=jaxlqr.Maml(inner_step_size=1e-6),
            outer_step_size=step,
            output=jaxlqr.Output(progress=False),
        )
        plot_history(result, "gap", ax=ax, label=f"outer step {step:g}")
    return ax


def poles():
    """The poles of A - BK of five tasks, as they move while one gain is trained for all of them."""
    tasks, K0 = boeing_tasks()
    return plot_poles(descend(tasks, K0)[::10], tasks)


def landscape():
    """The mean cost of ten tasks over a plane of gains, its boundary of stability, and a descent."""
    task = jaxlqr.make_task([[1.05, 0.2], [0.0, 0.9]], [[0.3], [1.0]])
    tasks = jaxlqr.families.perturb(jax.random.key(0), task, num_tasks=10, level=0.1)
    x, y = np.linspace(-0.4, 2.0, 120), np.linspace(-0.6, 2.0, 120)
    gains = jnp.stack(jnp.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
    mean = jax.vmap(lambda K: jnp.mean(jax.vmap(lambda t: jaxlqr.cost(K, t))(tasks)))
    radius = jax.vmap(lambda K: jnp.max(jax.vmap(lambda t: jaxlqr.spectral_radius(K, t))(tasks)))

    def step(K, _):
        return K - 0.01 * jax.grad(lambda K: mean(K[None])[0])(K), K.ravel()

    path = jax.lax.scan(step, jnp.array([[1.8, 0.3]]), None, length=200)[1]
    return plot_landscape(
        x, y, mean(gains).reshape(120, 120), radius=radius(gains).reshape(120, 120),
        paths={"gradient descent": path}, colorbar="mean cost",
    )  # fmt: skip


def sweep():
    """Last gap of a sweep over two step sizes; a dash marks runs that diverged."""
    tasks, K0 = boeing_tasks()
    outer, inner = [1e-7, 1e-6, 1e-5], [1e-7, 1e-6]

    def last(outer_step, inner_step):
        result = jaxlqr.meta_train(
            jaxlqr.cost, K0, tasks, num_steps=50, objective=jaxlqr.Maml(inner_step_size=inner_step),
            outer_step_size=outer_step, guard=None, output=jaxlqr.Output(progress=False),
        )  # fmt: skip
        return np.median(result.history["gap"][-1])

    gaps = [[last(one, other) for other in inner] for one in outer]
    return plot_heat_map(gaps, rows=outer, columns=inner, row_label="outer step", column_label="inner step")


def weights():
    """Weights of exploration along a training run: hard tasks weigh more, until all are as hard."""
    tasks, K0 = boeing_tasks(8)
    gains = descend(tasks, K0)[::10]
    costs = jax.vmap(lambda K: jax.vmap(lambda t: jaxlqr.cost(K, t))(tasks))(gains)
    from jaxlqr.meta.weighting import exploration

    shares = jax.vmap(lambda loss: exploration(loss / jnp.mean(loss), kappa=1.2))(costs)
    return plot_weights(shares, steps=10 * np.arange(len(gains)), order=costs[0], order_label="cheap tasks")


def samples():
    """Error of the zeroth-order gradient against its cost queries, from 30 repeats."""
    task, K = jaxlqr.families.boeing(), jaxlqr.families.boeing_initial_gain()
    exact = jax.grad(jaxlqr.cost)(K, task)
    counts, rows = np.array([8, 32, 128, 512]), []
    for count in counts.tolist():
        oracle = jaxlqr.ZerothOrderOracle(num_samples=count, radius=1e-4)
        estimate = jax.vmap(lambda key, oracle=oracle: oracle.gradient(jaxlqr.cost, K, task, key))
        found = estimate(jax.random.split(jax.random.key(0), 30))
        rows.append(jnp.linalg.norm(found - exact, axis=(1, 2)) / jnp.linalg.norm(exact))
    return plot_sample_complexity(counts, np.stack(rows, axis=1), label="two-point gradient", rate=-0.5)


def trajectories():
    """States and inputs of a Boeing task under the first gain, and after its adaptation to this task."""
    tasks, K0 = boeing_tasks()
    task = jax.tree.map(lambda leaf: leaf[1], tasks)
    adapted = jaxlqr.policy_gradient(
        jaxlqr.cost, K0, task, num_steps=300, step_size=2e-6, output=jaxlqr.Output(progress=False)
    ).params
    axes = new_figure(num_rows=1, num_columns=2)[1]
    for ax, signal in zip(axes[0], ("states", "inputs"), strict=True):
        plot_trajectories({"before": K0, "after": adapted}, task, np.full(4, 0.5), ax=ax, signal=signal, horizon=60)
    return axes[0, 0]


def systems():
    """Two carts joined by a spring, and their reduction to two states: gain, phase, step, Nyquist curve, singular
    values and Hankel values."""
    k, d = 4.0, 0.4  # of the spring and the dampers, masses 1
    stiffness, damping = np.array([[k + 1, -k], [-k, k]]), np.array([[2 * d, -d], [-d, d]])
    A = np.block([[np.zeros((2, 2)), np.eye(2)], [-stiffness, -damping]])
    carts = jaxlqr.systems.ss(A, np.eye(4)[:, 3:], np.eye(4)[1:2])
    both, labels = [carts, jaxlqr.systems.balanced_truncation(carts, 2)], ["four states", "two states"]
    _, axes = new_figure(num_rows=2, num_columns=3)
    plot_bode(both, axes=axes[0, :2], labels=labels)
    plot_step(both, ax=axes[0, 2], labels=labels)
    plot_nyquist(both, ax=axes[1, 0], labels=labels)
    plot_singular_values(both, ax=axes[1, 1], labels=labels)
    return plot_hankel(jaxlqr.systems.hankel_singular_values(carts), ax=axes[1, 2], order=2)


PICTURES = (histories, poles, landscape, sweep, weights, samples, trajectories, systems)


def adapting(frames=36):
    """One gain is trained for five tasks: poles, the first state and the gap of each, as a GIF."""
    tasks, K0 = boeing_tasks()
    gains = descend(tasks, K0)
    gap = np.asarray(jax.vmap(lambda K: jax.vmap(lambda t: jaxlqr.cost(K, t) - jaxlqr.optimal_cost(t))(tasks))(gains))
    shown = np.unique(np.geomspace(1, len(gains), frames).astype(int)) - 1
    start = jnp.full(4, 0.5)

    def first_state(K, task):
        def step(x, _):
            return (task.A - task.B @ K) @ x, x[0]

        return jax.lax.scan(step, start, None, length=60)[1]

    states = np.asarray(jax.vmap(lambda K: jax.vmap(lambda t: first_state(K, t))(tasks))(gains[shown]))

    def draw():
        for number, step in enumerate(shown):
            figure, axes = new_figure(num_rows=1, num_columns=3, panel_size=(2.9, 2.7))
            left, middle, right = axes[0]
            plot_poles(gains[shown[: number + 1]], tasks, ax=left)
            left.get_legend().remove()
            left.set(title="poles of $A_i - B_i K$")
            middle.plot(states[number].T, linewidth=1)
            middle.set(title="first state of each task", xlabel="time step", ylim=(states.min(), states.max()))
            right.plot(gap, linewidth=0.8, alpha=0.35)
            right.set_prop_cycle(None)
            right.plot(gap[: step + 1], linewidth=1.2)
            right.plot(np.full(gap.shape[1], step), gap[step], "k.", markersize=4)
            right.set(title=f"gap of each task, step {step}", xlabel="step", yscale="log")
            yield figure

    return animation(draw(), milliseconds=120, dpi=80, hold=12)


def page():
    """The text of gallery.md."""
    head = """# Gallery

This page shows every plot of `jaxlqr.plots` with its code. All plots have one style: Okabe and Ito's colours, which
colour-blind readers can distinguish, and sizes for print. Each function takes `ax=` and returns the axes. No function
opens a window. `python docs/gallery.py` writes this page and its figures. It also has the imports, the tasks
(`boeing_tasks`) and the descent (`descend`) that the code below uses.

![One gain is trained for five Boeing tasks: poles, states and gaps](figures/adaptation.gif)
"""
    parts = []
    for picture in PICTURES:
        code = inspect.getsource(picture).strip()
        title = picture.__name__.capitalize()
        said = textwrap.fill(inspect.getdoc(picture) or "", 118)
        figure = f"![{title}](figures/gallery_{picture.__name__}.png)"
        parts.append(f"## {title}\n\n{said}\n\n{figure}\n\n```python\n{code}\n```\n")
    return head + "\n" + "\n".join(parts)


def main():
    """Draw everything."""
    jax.config.update("jax_enable_x64", True)
    for picture in PICTURES:
        picture().figure.savefig(DOCS / "figures" / f"gallery_{picture.__name__}.png", dpi=110)
        print(picture.__name__, flush=True)
    (DOCS / "figures" / "adaptation.gif").write_bytes(adapting())
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
