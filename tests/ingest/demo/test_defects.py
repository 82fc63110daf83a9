import numpy as np

from fer.ingest.demo import defects as demo_defects


def test_a_face_taken_once_more_moves_as_far_as_stays_a_near_duplicate():
    y, x = np.mgrid[:48, :48]
    soft = np.rint(128 + 100 * np.sin(x / 4) * np.cos(y / 5)).astype(np.uint8)
    sharp = np.where((x // 2 + y // 2) % 2, 200, 60).astype(np.uint8)
    for face in (soft, sharp):
        taken = [demo_defects.retaken(face, np.random.default_rng(n)) for n in range(20)]
        assert all(np.corrcoef(copy.ravel(), face.ravel())[0, 1] >= 0.96 for copy in taken)
        assert all(abs(copy.mean() - face.mean()) < 14 for copy in taken)
        assert len({copy.tobytes() for copy in taken}) == 20
    moved = [demo_defects.retaken(soft, np.random.default_rng(n)) for n in range(20)]
    assert (
        np.median([np.corrcoef(copy.ravel(), soft.ravel())[0, 1] for copy in moved]) < 0.99
    )  # light and noise alone leave 0.9989
