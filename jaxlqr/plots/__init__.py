"""Figures in one style: readable on paper, safe for colour-blind readers, and without side effects on import.

Every ``plot_...`` function draws on the axes ``ax=``, or on a new figure by default, and returns the axes.
:func:`plot_training` returns a figure with several axes; :func:`plot_bode` takes and returns two axes. :func:`band` and
:func:`median_band` draw one curve on given axes and return its line. All functions need the extra ``plots``. No
function opens a window: save a figure with ``ax.figure.savefig(...)``.
"""

from jaxlqr.plots.animation import animation as animation
from jaxlqr.plots.bands import band as band
from jaxlqr.plots.bands import median_band as median_band
from jaxlqr.plots.curves import plot_sample_complexity as plot_sample_complexity
from jaxlqr.plots.curves import plot_weights as plot_weights
from jaxlqr.plots.histories import finish_axes as finish_axes
from jaxlqr.plots.histories import plot_history as plot_history
from jaxlqr.plots.histories import plot_training as plot_training
from jaxlqr.plots.maps import contour_levels as contour_levels
from jaxlqr.plots.maps import plot_heat_map as plot_heat_map
from jaxlqr.plots.maps import plot_landscape as plot_landscape
from jaxlqr.plots.poles import closed_loop_poles as closed_loop_poles
from jaxlqr.plots.poles import plot_poles as plot_poles
from jaxlqr.plots.style import COLORS as COLORS
from jaxlqr.plots.style import STYLE as STYLE
from jaxlqr.plots.style import new_figure as new_figure
from jaxlqr.plots.style import style as style
from jaxlqr.plots.systems import plot_bode as plot_bode
from jaxlqr.plots.systems import plot_hankel as plot_hankel
from jaxlqr.plots.systems import plot_nyquist as plot_nyquist
from jaxlqr.plots.systems import plot_singular_values as plot_singular_values
from jaxlqr.plots.systems import plot_step as plot_step
from jaxlqr.plots.trajectories import plot_trajectories as plot_trajectories
