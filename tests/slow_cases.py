"""What the default run leaves to the slow one (``-m slow``, ``.ci/full``), and why.

A test that is slow as a whole says so itself, by ``@pytest.mark.slow``. This table names what a default run would pay
for twice: further cases of a test whose other cases stay, and tests whose property a quicker default test keeps.
``tests/conftest.py`` marks them. A name without brackets stands for all cases of the test.
"""

SHAPE = "another size, dtype or equation of a test whose other cases stay: it compiles programs of its own"
MODE = "the other mode of differentiation, or the other optimiser, of a test whose first one stays"

UNITS = "tests/matrix_equations/test_units.py::"
EXAM = "tests/matrix_equations/test_exam.py::"
TOSO = "tests/papers/toso2024/"
NGUYEN = "tests/papers/nguyen2023/"
WANG = "tests/papers/wang2020/"

SLOW_CASES: dict[str, list[str]] = {
    SHAPE: [
        *(
            f"{UNITS}test_units_applied_before_are_units_applied_after[{solver}-{dtype}]"
            for solver, dtypes in {
                "discrete_lyapunov": ["float32"],
                "discrete_lyapunov_by_schur": ["float32", "float64"],
                "continuous_lyapunov": ["float32", "float64"],
                "continuous_lyapunov_by_schur": ["float64"],
                "sylvester_equation": ["float32", "float64"],
                "discrete_riccati": ["float32"],
                "continuous_riccati": ["float32", "float64"],
            }.items()
            for dtype in dtypes
        ),
        f"{UNITS}test_independent_modes_of_all_sizes[float64-6-1e-09-False]",
        f"{UNITS}test_independent_modes_of_all_sizes[float32-3-0.001-True]",
        f"{UNITS}test_independent_modes_of_all_sizes[float32-3-0.001-False]",
        *(
            f"{UNITS}test_equations_of_unstable_coefficients_in_units_far_apart[{case}]"
            for case in (
                "discrete-triangular", "discrete-diagonal", "continuous-dense", "continuous-triangular",
                "continuous-diagonal", "sylvester-dense", "sylvester-diagonal",
            )
        ),
        *(
            f"{UNITS}test_nothing_moves_a_mode_on_the_boundary[{weight}-{case}]"
            for weight in ("1.0", "1e-09", "1000000000.0")
            for case in ("oscillation", "continuous integrator")
        ),
        *(f"{EXAM}test_discrete_riccati[{case}]" for case in (11, 17)),
        f"{EXAM}test_continuous_riccati[13]",
        f"{EXAM}test_without_a_stabilising_solution[discrete_are_result-arrays0]",
        f"{EXAM}test_without_a_stabilising_solution[continuous_are_result-arrays0]",
        f"{EXAM}test_singular_sylvester_is_flagged[kronecker]",
        "tests/matrix_equations/test_derivatives.py::"
        "test_first_and_second_derivatives_against_differences[continuous Lyapunov, stable]",
        "tests/matrix_equations/test_derivatives.py::test_complex_derivatives[discrete Riccati]",
        "tests/matrix_equations/test_batches.py::test_compiles_for_gpus[continuous_cost]",
        "tests/matrix_equations/test_batches.py::test_compiles_for_gpus[lyapunov_cost]",
        *(
            f"tests/matrix_equations/test_small_product.py::test_value_and_derivatives_are_those_of_matmul[{case}]"
            for case in ("sizes0-float64", "sizes1-complex128", "sizes2-float64", "sizes3-complex128")
        ),
        *(
            f"tests/lqr/test_derivatives.py::{test}[random-{size}]"
            for test in (
                "test_gradient_agrees_with_the_closed_form_and_extended_precision",
                "test_three_orders_of_hessian_vector_product_agree_with_both_closed_forms",
                "test_hessian_is_symmetric",
            )
            for size in ("n=3-m=3", "n=12-m=1", "n=50-m=7")
        ),
        *(
            "tests/lqr/test_optimal.py::test_gain_agrees_with_scipy_is_stationary_and_beats_its_neighbours"
            f"[random-{size}]"
            for size in ("n=2-m=5", "n=50-m=7")
        ),
        "tests/lqr/test_batches.py::test_an_unstable_lane_changes_no_other_lane_by_one_bit[4-150]",
        "tests/lqr/test_batches.py::test_an_unstable_lane_changes_no_other_lane_by_one_bit[12-80]",
        "tests/lqr/test_rollout.py::test_mean_over_rollouts_is_the_expected_cost[60-0.0]",
        "tests/trajectory/test_units.py::"
        "test_other_units_give_the_same_answer_after_the_same_iterations[2-True-float64-30-10000.0]",
        "tests/trajectory/test_tvlqr.py::test_gain_tends_to_the_stationary_one[parallel]",
        "tests/meta/test_trajectory_weighting.py::test_every_method_lowers_its_own_objective_and_says_so[newton_cg]",
        f"{NGUYEN}test_theory.py::test_derivatives_of_the_cross_entropy[0-4-4]",
        f"{NGUYEN}test_theory.py::test_derivatives_of_the_cross_entropy[1-4-4]",
        "tests/training/test_sharding.py::test_tasks_in_batches_give_the_same_answer[1]",
        "tests/training/test_sharding.py::test_tasks_in_batches_give_the_same_answer[3]",
        f"{WANG}test_networks.py::test_theorem_4_4_for_networks_of_any_width[2-squared]",
        f"{WANG}test_networks.py::test_theorem_4_4_for_networks_of_any_width[2-logistic]",
        *(
            "tests/papers/molybog2021/test_reproduction.py::"
            f"test_all_stationary_points_are_found_to_1e_10_and_alternate[{figure}]"
            for figure in ("1", "3a", "3b", "3c", "3d")
        ),
        "tests/papers/musavi2023/test_theory.py::test_inequality_holds[hessian-(1, 1)]",
    ],
    MODE: [
        "tests/trajectory/test_ilqr.py::test_no_derivative_where_not_converged[jacfwd]",
        "tests/trajectory/test_ilqr.py::"
        "test_a_value_that_is_closed_over_is_differentiated_as_a_parameter_is[jacfwd]",
        "tests/meta/test_trajectory_weighting.py::test_backward_pass_is_one_gauss_newton_step_in_the_actions[adam]",
        "tests/meta/test_gram_weighting.py::"
        "test_where_losses_are_linear_it_is_exact_and_one_dense_backward_pass[adam]",
        "tests/commands/test_sweep.py::test_all_batches_and_later_sweeps_share_one_program[adam]",
    ],
    "units from 1e-9 to 1e9 are tested at the same solvers by test_the_verdict_does_not_depend_on_units": [
        f"{UNITS}test_a_stage_in_nanometres_is_solved_as_one_in_metres",
        f"{UNITS}test_a_fast_mode_does_not_make_a_slow_one_singular",
    ],
    "SciPy's other cases of the same solver stay": [
        f"{EXAM}test_generalised_riccati_reported_by_a_user",
        f"{EXAM}test_infeasible_riccati_gets_a_status_and_nan",
    ],
    "the derivatives of the Riccati solution in all arrays stay in lqr/test_check_grads.py": [
        "tests/matrix_equations/test_derivatives.py::"
        "test_derivatives_are_right_for_asymmetric_perturbations",
        "tests/matrix_equations/test_derivatives.py::"
        "test_discrete_riccati_tangent_is_a_closed_loop_lyapunov_equation",
    ],
    "that a bad lane touches no other stays in test_batches.py and test_gramians.py": [
        "tests/matrix_equations/test_derivatives.py::"
        "test_an_infeasible_lane_touches_no_other[discrete Lyapunov, stable]",
    ],
    "a bound of memory, which only a change of the layout could break": [
        "tests/matrix_equations/test_batches.py::test_a_batch_of_kronecker_systems_is_not_in_memory_at_once",
        "tests/mdp/test_gradient.py::test_no_matrix_of_state_action_pairs_is_formed",
        f"{NGUYEN}test_images.py::test_memory_on_images_is_linear_in_the_parameters",
    ],
    "its closed form in the same file tests both derivatives": [
        "tests/systems/test_hinf.py::test_derivatives_of_systems_with_several_inputs[False]",
    ],
    "the derivatives of the hold stay in systems/test_hold.py": [
        "tests/lqr/test_state_space.py::test_the_hold_has_derivatives_of_all_orders",
    ],
    "tests of the zeroth-order oracle itself stay in tests/oracles": [
        "tests/mdp/test_gradient.py::test_the_zeroth_order_oracle_takes_the_loss_unchanged",
    ],
    "thousands of tasks: families of ten are drawn by the same code": [
        "tests/families/test_heterogeneity.py::test_large_families_are_drawn_without_comparing_pairs",
    ],
    "test_derivatives_of_all_outputs_twice_and_by_differences stays": [
        "tests/trajectory/test_ilqr.py::test_implicit_derivatives_are_those_of_the_dense_minimum",
    ],
    "the status of a run that is not finite stays in test_batch_equals_loop_and_a_run_that_fails_spoils_no_other": [
        "tests/trajectory/test_ilqr.py::test_dynamics_that_return_nan_are_a_status",
    ],
    "python-control's gain and loop stay in lqr/test_optimal.py and lqr/test_state_space.py": [
        "tests/test_ecosystem.py::test_the_loop_of_control_is_ours",
    ],
    "the public functions one by one stay in the same file": [
        "tests/test_strict_promotion.py::test_train_runs_in_strict_promotion",
    ],
    "the parts of the command stay in the same file; the whole takes ten seconds of compilation": [
        "tests/commands/test_sweep.py::test_whole_numbers_among_the_values_of_an_axis_end_with_a_table",
        "tests/commands/test_landscape.py::test_a_path_may_end_where_adaptation_is_infeasible",
        "tests/test_plots.py::test_overview_of_one_task_of_another_loss_and_of_a_diverged_run",
        f"{NGUYEN}test_omniglot.py::test_tasks_from_the_runs_keep_drawing_and_answer_together",
    ],
    ".ci/run executes this notebook when it builds the documentation": [
        "tests/test_notebooks.py::test_quickstart_runs_and_says_what_it_should",
    ],
    "an experiment of a paper, which no change outside of it reaches but through functions with tests of their own": [
        f"{TOSO}test_reproduction.py::test_as_released_the_left_panel_ends_in_the_released_range",
        f"{TOSO}test_baselines.py::test_policy_gradient_does_as_well_as_maml",
        f"{TOSO}test_bounds.py::test_bounds_are_written_for_the_tasks_of_a_file",
        f"{TOSO}test_certified.py::test_a_model_based_run_keeps_its_promises",
        f"{TOSO}test_theory.py::test_h_c_takes_a_spectral_norm_for_a_frobenius_norm",
        f"{TOSO}test_theorems.py::test_the_printed_tolerance_of_theorem_4_is_too_wide_where_costs_are_large",
        f"{TOSO}test_theorems.py::test_no_number_of_samples_makes_the_printed_hessian_estimate_one",
        f"{NGUYEN}test_lqr.py::test_adapted_cost_is_infinite_where_the_gain_itself_does_not_stabilise",
        f"{WANG}test_theory.py::"
        "test_a_start_that_is_never_revisited_makes_the_constant_infinite_and_the_mixed_measure_does_not",
        f"{WANG}test_theory.py::test_no_nan_where_the_quotient_overflows",
        f"{WANG}test_theory.py::test_the_printed_theorem_is_false_at_a_saddle",
        f"{WANG}test_networks.py::test_policies_of_any_width",
        f"{NGUYEN}test_omniglot.py::test_digits_are_real_drawings_of_disjoint_classes",
        f"{TOSO}test_theory.py::test_within_h_Delta_a_task_may_be_lost",
        "jaxlqr/papers/toso2024/theory/report.py::jaxlqr.papers.toso2024.theory.report.report",
        "jaxlqr/papers/toso2024/theory/attack.py::jaxlqr.papers.toso2024.theory.attack.random_margins",
    ],
}  # fmt: skip


def reasons() -> dict[str, str]:
    """Each name of the table with its reason."""
    return {name: reason for reason, names in SLOW_CASES.items() for name in names}
