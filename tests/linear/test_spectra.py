import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import ortho_group

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import (
    Spectrum,
    composite,
    evaluate,
    read_array,
    read_spectrum,
    spectrum,
    step_operators,
)

seeds = st.integers(0, 2**32 - 1)


def data_with(lam, n, rng):
    """n samples whose covariance has exactly the eigenvalues λ, and their axes."""
    columns = rng.standard_normal((n, len(lam)))
    columns = np.linalg.qr(columns - columns.mean(0))[0]  # centred and orthonormal
    axes = ortho_group.rvs(len(lam), random_state=rng)
    return np.sqrt((n - 1) * np.asarray(lam)) * columns @ axes, axes


@given(seeds, st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6))
def test_a_known_covariance_comes_back_with_its_axes(seed, lam):
    rng = np.random.default_rng(seed)
    lam = np.sort(lam)[::-1]
    data, axes = data_with(lam, 30, rng)
    shift = rng.standard_normal(len(lam))
    found = spectrum(data + shift)
    assert np.allclose(found.lam, lam, rtol=1e-9, atol=1e-13 * lam[0])
    assert np.allclose(found.mean, shift, atol=1e-12 * np.sqrt(lam[0]) + 1e-14)
    covariance = np.cov(data, rowvar=False)
    assert np.allclose(found.axes.T * found.lam @ found.axes, covariance, atol=1e-12 * lam[0])
    for k in range(len(lam)):
        gap = np.abs(np.delete(lam, k) / lam[k] - 1).min()
        if gap > 0.1:  # else the axes may turn
            assert np.isclose(abs(found.axes[k] @ axes[k]), 1, atol=1e-8)


def test_small_variances_keep_their_digits():
    lam = np.array([1e6, 1.0, 1e-12])  # eigenvalues of the covariance in float64 would not
    data, _ = data_with(lam, 200, np.random.default_rng(0))
    assert np.allclose(spectrum(data).lam, lam, rtol=1e-5)


@given(seeds, st.floats(0.01, 100))
def test_shift_and_rotation_change_nothing_and_a_scale_squares(seed, scale):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((9, 4)) * [3, 1, 0.5, 0.1]
    turned = data @ ortho_group.rvs(4, random_state=rng) + rng.standard_normal(4)
    lam = spectrum(data).lam
    assert np.allclose(spectrum(turned).lam, lam, rtol=1e-10)
    assert np.allclose(spectrum(scale * data).lam, scale**2 * lam, rtol=1e-10)
    assert np.isclose(lam.sum(), data.var(axis=0, ddof=1).sum())
    assert (np.diff(lam) <= 0).all()


@pytest.mark.parametrize(("n", "shape"), [(5, (2, 4)), (40, (2, 4)), (2, (3,)), (8, (8,))])
def test_what_does_not_vary_has_variance_zero(n, shape):
    rng = np.random.default_rng(0)
    data = 1e3 * rng.random(shape) + rng.standard_normal((n, *shape))
    data[..., 0] = 0.1
    found = spectrum(data)
    d, rank = int(np.prod(shape)), min(n - 1, int(np.prod(shape)) - int(np.prod(shape[:-1])))
    assert found.lam.shape == found.mean.shape == (d,)
    assert found.axes.shape == (min(n, d), d)
    assert (found.lam[:rank] > 1e-6).all() and (found.lam[rank:] == 0).all()
    assert (spectrum(np.full((7, 3), 0.1)).lam == 0).all()


@given(seeds, st.integers(2, 12))
def test_coordinates_are_uncorrelated_and_lead_back(seed, n):
    data = np.random.default_rng(seed).standard_normal((n, 2, 3))
    found = spectrum(data)
    coordinates = found.coordinates(data)
    assert coordinates.shape == (n, min(n, 6))
    covariance = coordinates.T @ coordinates / (n - 1)
    assert np.allclose(covariance, np.diag(found.lam[: min(n, 6)]), atol=1e-12)
    assert np.allclose(found.restore(coordinates), data.reshape(n, 6))


def test_samples_of_another_size_are_refused():
    found = spectrum(np.eye(4)[:3])
    for bad in (np.ones(4), np.ones((2, 5)), np.ones((2, 2, 3)), 3.0, np.ones((2, 0))):
        with pytest.raises(InputError, match=r"data of shape .* 4 numbers each"):
            found.coordinates(bad)
    with pytest.raises(InputError, match=r"coordinates of shape .* 3 numbers each"):
        found.restore(np.ones((2, 4)))
    assert found.coordinates(np.ones((0, 2, 2))).shape == (0, 3)


@given(st.data(), strategies.schedules(most=5), seeds, strategies.times)
def test_merging_splits_over_principal_axes(data, schedule, seed, s):
    """Prop. 3.1, DDIM steps and Prop. 3.3 with a full covariance are the diagonal ones, turned."""
    rng = np.random.default_rng(seed)
    found = Spectrum(rng.gamma(1, size=3), np.zeros(3), ortho_group.rvs(3, random_state=rng))
    C, one = found.axes.T * found.lam @ found.axes, np.eye(3)

    def turned(values):
        return found.axes.T * values @ found.axes

    steps, marginals = [], []
    for t in range(1, schedule.T + 1):
        alpha, sigma = schedule.alpha[t], schedule.sigma[t]
        marginals.append(alpha**2 * C + sigma**2 * one)
        x_hat = alpha * C @ np.linalg.inv(marginals[-1])
        eps_hat = (one - alpha * x_hat) / sigma
        steps.append(schedule.alpha[t - 1] * x_hat + schedule.sigma[t - 1] * eps_hat)
        assert np.allclose(steps[-1], turned(step_operators(schedule, found.lam)[t - 1]))
    assert np.allclose(np.linalg.multi_dot(steps), turned(composite(schedule, found.lam)))

    stack = []
    plan = data.draw(st.sampled_from(strategies.PLANS[schedule.T]))
    for _, j, k in plan.nodes():
        if k == 0:
            stack.append(steps[j - 1])
            continue
        right, target = stack[-k], np.linalg.multi_dot(stack[-k:][::-1])
        # dÂ/dt = −2 (Â − B) Cov(z_j), from Â = R
        trained = target + (right - target) @ expm(-2 * s * marginals[j - 1])
        stack[-k:] = [trained]
    assert np.allclose(stack.pop(), turned(evaluate(plan, schedule, found.lam, s)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (np.zeros((1, 4)), r"shape \(1, 4\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((0, 4)), "two samples"),
        (np.zeros((4, 0)), "two samples"),
        (3.0, "two samples"),
        ([[1, np.nan], [2, 3]], "NaN, infinity"),
        ([[1, np.inf], [2, 3]], "NaN, infinity"),
        ([[1, 1e200], [2, 3]], "too large to square"),
        ([[1j, 0], [0, 1]], "real numbers"),
        ([["a", "b"], ["c", "d"]], "real numbers"),
        ([[None, 1], [2, 3]], "NaN"),
        ([[1, 2], [3]], "real numbers"),
        (np.ones((3, 2), dtype=bool), "real numbers"),
        (np.broadcast_to(0.0, (2**20, 2**9)), "at most 268,435,456: thin"),
        (np.broadcast_to(0.0, (2**14, 2**14)), "16,384 axes, at most 8,192"),
    ],
)
def test_bad_data_are_refused_in_one_line(data, says):
    with pytest.raises(InputError, match=says) as caught:
        spectrum(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "<f2", "u1", "<i4"])
def test_files_hold_data_or_a_spectrum(tmp_path, kind):
    data = np.random.default_rng(0).integers(0, 200, (20, 2, 3)).astype(kind)
    np.save(tmp_path / "data.npy", np.asfortranarray(data))
    assert np.array_equal(read_array(tmp_path / "data.npy"), data)
    assert np.array_equal(read_spectrum(tmp_path / "data.npy"), spectrum(data).lam)
    np.save(tmp_path / "lam.npy", np.array([1, 5, 0, 2]).astype(kind))
    assert read_spectrum(str(tmp_path / "lam.npy")).tolist() == [5, 2, 1, 0]


def header(path, shape):
    with open(path, "wb") as file:
        fields = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, fields)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda p: None, "No such file"),
        (lambda p: p.mkdir(), "file.npy' is no regular file"),
        (lambda p: p.write_text(""), "is no .npy"),
        (lambda p: p.write_text("1 2 3\n4 5 6\n"), "is no .npy"),
        (lambda p: np.savez(p.open("wb"), a=np.ones(3)), "is no .npy"),
        (lambda p: np.array([1, None]).dump(p), "is no .npy"),
        (lambda p: np.save(p, np.array([1, None])), "is no .npy"),
        (lambda p: header(p, (10, 10)), "is no .npy"),
        (lambda p: header(p, (10**12, 10**9)), "is no .npy"),
        (lambda p: header(p, (10**30,)), "is no .npy"),
        (lambda p: header(p, (-1, 3)), "is no .npy"),
        (lambda p: np.save(p, np.ones(3) * 1j), "holds complex128"),
        (lambda p: np.save(p, np.array(["a", "b"])), "holds <U1"),
        (lambda p: np.save(p, np.array([True])), "holds bool"),
        (lambda p: np.save(p, np.zeros(3, dtype="M8[s]")), "holds datetime64"),
        (lambda p: np.save(p, np.zeros(3, dtype=[("a", "f4")])), "holds"),
        (lambda p: np.save(p, np.array(3.0)), r"shape \(\)"),
        (lambda p: np.save(p, np.zeros(0)), r"shape \(0,\)"),
        (lambda p: np.save(p, np.zeros((0, 3))), "two samples"),
        (lambda p: np.save(p, np.ones((1, 3))), "two samples"),
        (lambda p: np.save(p, np.array([1, -0.5])), "λ = -0.5"),
        (lambda p: np.save(p, np.array([1, np.nan])), "λ = nan"),
        (lambda p: np.save(p, np.array([[1, np.nan], [1, 2]])), "NaN"),
    ],
)
def test_files_that_hold_no_spectrum_are_refused_in_one_line(tmp_path, write, says):
    path = tmp_path / "file.npy"
    write(path)
    with pytest.raises(InputError, match=says) as caught:
        read_spectrum(path)
    assert "\n" not in str(caught.value)


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path):
    header(tmp_path / "huge.npy", (2**20, 2**9))
    with open(tmp_path / "huge.npy", "r+b") as file:
        file.truncate(128 + 2**32)  # a hole: no disk, and no memory unless it is read
    with pytest.raises(InputError, match="at most 268,435,456"):
        read_array(tmp_path / "huge.npy")


def test_names_that_no_file_bears_are_refused():
    for path in ("a\0b", "", "x" * 5000):
        with pytest.raises(InputError):
            read_array(path)
