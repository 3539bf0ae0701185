"""Loops that every room uses: the shortening of a step, bisection and damped Newton; any function, inside ``jit``."""
