"""The theory of the papers, made executable: constants, limits and bounds, as printed and as corrected."""

from jaxlqr.theory import musavi2023 as musavi2023
from jaxlqr.theory import nguyen2023 as nguyen2023
from jaxlqr.theory import toso2024 as toso2024
from jaxlqr.theory import wang2020 as wang2020
