import numpy as np

from fer.images import framings


def test_the_inverse_of_each_probe_is_near_another_one_so_that_a_pair_need_be_compared_one_way_only():
    corners = np.array([[-17.0, -17], [-17, 17], [17, -17], [17, 17]])

    def moved(view, points):
        cos, sin = view.zoom * np.cos(view.turn), view.zoom * np.sin(view.turn)
        return points @ np.array([[cos, sin], [-sin, cos]]) + [view.right, view.down]

    for probe in framings.PROBES:
        back = min(np.abs(moved(other, moved(probe, corners)) - corners).max() for other in framings.PROBES)
        assert back < 2.5  # pixels; half of the lattice's spacing and of the zooms' steps
