"""The searches of ANN attention, against literal ones and against FAISS."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.methods.ann.search import QuantisedCells, SignHash, near_codes, nearest, projections

HEADS = (0, 2)
CPU = torch.device("cpu")


def draw(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_a_hash_is_the_signs_of_projections_about_the_mean():
    keys, search = draw(40, 2, 16) + 3, SignHash(5, 1, seed=7)
    codes, _ = search.index(keys, None, HEADS)
    directions = projections(3, 16, 5, 7, CPU)
    for place, head in enumerate(HEADS):
        centred = keys[:, place] - keys[:, place].mean(0)
        for key, code in enumerate(codes[place].tolist()):
            signs = [(centred[key] @ directions[head, :, bit] > 0).item() for bit in range(5)]
            assert code == sum(sign << bit for bit, sign in enumerate(signs))


def test_projections_are_a_heads_own_and_always_the_same():
    few, many = (projections(heads, 8, 4, 1, CPU) for heads in (2, 5))
    assert torch.equal(few, many[:2])
    assert not torch.equal(many[0], many[1])


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 6))
def test_probes_are_the_codes_within_the_radius(bits, radius):
    near = near_codes(bits, radius, CPU)
    for one in range(1 << bits):
        assert near[one].nonzero().flatten().tolist() == [
            other for other in range(1 << bits) if (one ^ other).bit_count() <= radius
        ]


def test_blocks_visit_what_any_of_their_queries_visits():
    keys, q, search = draw(60, 2, 16), draw(10, 2, 16, seed=1), SignHash(3, 1, 0)
    _, centroids = search.index(keys, None, HEADS)
    order, visits = search.visits(q, centroids, 4, HEADS)
    own = search.codes(q.transpose(0, 1), HEADS)
    for head in range(2):
        assert own[head, order[head]].tolist() == sorted(own[head].tolist())
        for block in range(3):
            wanted = {
                code
                for query in order[head, 4 * block : 4 * block + 4].tolist()
                for code in range(8)
                if (code ^ own[head, query].item()).bit_count() <= 1
            }
            assert set(visits[head, block].nonzero().flatten().tolist()) == wanted


def test_blocks_visit_the_centroids_with_the_most_attention():
    keys, q, search = draw(80, 2, 16), draw(10, 2, 16, seed=1), QuantisedCells(3, 0.25)
    _, centroids = search.index(keys, None, HEADS)
    order, visits = search.visits(q, centroids, 4, HEADS)
    for head in range(2):
        points = centroids.points[head] * centroids.step[head]
        step = q[:, head].abs().amax(1, keepdim=True) / 127
        weights = ((q[:, head] / step).round() * step @ points.T / 4).softmax(-1)
        for block in range(3):
            liking = weights[order[head, 4 * block : 4 * block + 4]].sum(0)
            assert set(visits[head, block].nonzero().flatten().tolist()) == set(liking.topk(2).indices.tolist())


def test_quantised_keys_and_centroids_are_whole_numbers_of_8_bits():
    _, centroids = QuantisedCells(4, 0.5).index(draw(200, 2, 16) * 50, None, HEADS)
    assert torch.equal(centroids.points, centroids.points.round())
    assert centroids.points.abs().max() <= 127


@pytest.mark.parametrize("search", [SignHash(3, 1, 0), QuantisedCells(3, 0.5)], ids=repr)
def test_keys_that_are_none_go_nowhere_and_change_nothing(search):
    keys = draw(50, 2, 16)
    valid = torch.rand(2, 50, generator=torch.Generator().manual_seed(3)) < 0.7
    padded = torch.where(valid.T[..., None], keys, 0)
    codes, _ = search.index(padded, valid, HEADS)
    assert (codes[~valid] == search.buckets).all() and (codes[valid] < search.buckets).all()
    if isinstance(search, SignHash):
        for place, head in enumerate(HEADS):
            alone, _ = search.index(keys[valid[place], place : place + 1], None, (head,))
            assert torch.equal(alone[0], codes[place, valid[place]])


@pytest.mark.parametrize("search", [SignHash(4, 1, 0), QuantisedCells(4, 0.25)], ids=repr)
def test_similar_keys_share_buckets(search):
    """Far-off clusters are told apart: no bucket has keys of two of them."""
    cluster = torch.arange(400) % 4
    keys = (draw(4, 1, 32) * 20)[cluster] + draw(400, 1, 32, seed=1)
    codes = search.index(keys, None, (0,))[0][0]
    together = (codes[:, None] == codes) & (cluster[:, None] != cluster)
    assert together.float().mean() < 0.05


def test_hashes_and_probes_are_those_of_faiss():
    """IndexLSH over our projections: the same bits, and the same keys within the radius."""
    faiss = pytest.importorskip("faiss")
    keys, q, search = draw(300, 1, 32), draw(20, 1, 32, seed=1), SignHash(8, 2, 5)
    directions = projections(1, 32, 8, 5, CPU)[0]
    index = faiss.IndexLSH(8, 8, False, False)
    index.add(((keys[:, 0] - keys[:, 0].mean(0)) @ directions).numpy())
    codes, _ = search.index(keys, None, (0,))
    assert faiss.vector_to_array(index.codes).tolist() == codes[0].tolist()
    distances, found = index.search((q[:, 0] @ directions).numpy(), 300)
    order, visits = search.visits(q, None, 1, (0,))
    for block, query in enumerate(order[0].tolist()):
        close = {key for key, far in zip(found[query], distances[query], strict=True) if far <= 2}
        assert close == set(visits[0, block][codes[0]].nonzero().flatten().tolist())


def test_nearest_centroids_are_those_of_faiss():
    """IndexScalarQuantizer on 8-bit whole numbers: the same centroid for every key."""
    faiss = pytest.importorskip("faiss")
    keys = torch.randint(-127, 128, (500, 32), generator=torch.Generator().manual_seed(0)).float()
    centroids = torch.randint(-127, 128, (16, 32), generator=torch.Generator().manual_seed(1)).float()
    index = faiss.IndexScalarQuantizer(32, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_L2)
    index.train(centroids.numpy())
    index.add(centroids.numpy())
    _, found = index.search(keys.numpy(), 1)
    assert nearest(keys[None], centroids[None])[0].tolist() == found[:, 0].tolist()
