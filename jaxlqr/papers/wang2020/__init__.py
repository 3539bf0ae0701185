"""Wang et al. (2020), global optimality of meta-learning: theory, experiments."""
