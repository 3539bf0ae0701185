"""Tasks from several files and from patterns of names."""

import numpy as np
import pytest

from jaxlqr.families.several_files import find_files, load_several


def written(folder, name, a, **arrays):
    np.savez(folder / name, A=np.reshape(a, (-1, 1, 1)).astype(float), B=np.ones((np.size(a), 1, 1)), **arrays)
    return folder / name


def test_tasks_of_all_files_in_their_order_and_of_a_pattern_sorted(tmp_path):
    paths = [written(tmp_path, "b.npz", [0.3, 0.4], K0=[[0.1]]), written(tmp_path, "a.npz", 0.2)]
    tasks, K0 = load_several(paths)
    np.testing.assert_array_equal(tasks.A[:, 0, 0], [0.3, 0.4, 0.2])
    np.testing.assert_array_equal(K0, [[0.1]])
    np.testing.assert_array_equal(load_several(str(tmp_path / "*.npz")).tasks.A[:, 0, 0], [0.2, 0.3, 0.4])
    np.testing.assert_array_equal(load_several(paths[1]).tasks.A[:, 0, 0], [0.2])
    assert find_files([tmp_path / "[ab].npz", "other.toml"])[:2] == [tmp_path / "a.npz", tmp_path / "b.npz"]
    literal = written(tmp_path, "[ab].npz", 0.9)  # a name that exists is no pattern
    assert find_files(literal) == [literal]


def test_files_that_do_not_go_together(tmp_path):
    one, other = written(tmp_path, "one.npz", 0.2, K0=[[0.1]]), written(tmp_path, "other.npz", 0.2, K0=[[0.2]])
    np.savez(tmp_path / "two.npz", A=0.5 * np.eye(2)[None], B=np.ones((1, 2, 1)))
    with pytest.raises(ValueError, match=r"one initial gain K0, got another one in .*other\.npz"):
        load_several([one, other])
    with pytest.raises(ValueError, match=r"as many states and inputs, got 1 and 1 in .*one\.npz, 2 and 1 in .*two"):
        load_several([one, tmp_path / "two.npz"])
    with pytest.raises(ValueError, match=r"each tasks file must be given once, got .*one\.npz 2 times"):
        load_several([one, str(tmp_path / "one*")])
    with pytest.raises(ValueError, match=r"the pattern .*none\*\.npz of tasks files must match some file"):
        load_several([str(tmp_path / "none*.npz")])
    with pytest.raises(ValueError, match="must name at least one file"):
        load_several([])
