"""The papers: their theory as printed and as corrected, their experiments and figures, and data for one paper only.

Import each module by its name, for example ``from jaxlqr.papers.toso2024 import theory``. Nothing else in the package
imports this room, but the commands ``reproduce``, ``bounds`` and ``certified`` when they run.
"""
