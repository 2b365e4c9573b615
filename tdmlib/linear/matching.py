"""Trajectory distribution matching of linear students: TDM on Gaussian data, solved.

Each step of a student multiplies by its factor b, so that each of its laws is N(0, variance).
Data have variances `lam` as everywhere in `tdmlib.linear`; the choices bear the names that they
have in `tdmlib.distill.tdm.TDM`.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import root

from tdmlib.errors import InputError, check_choices, check_number
from tdmlib.linear.fake_scores import weighted_moments
from tdmlib.linear.operators import (
    input_variances,
    marginal_variance,
    reals,
    step_operators,
    variances,
)
from tdmlib.sampling import time_grid
from tdmlib.schedules import Schedule


def gaussian_kl(p, q):
    """KL(N(0, p) ‖ N(0, q)) = ½(p/q − 1 − ln p/q), shape of p and q broadcast.

    Raises InputError for variances that are not positive, or shapes that do not broadcast.
    """
    p, q = variances(p, "p"), variances(q, "q")
    if not ((p > 0).all() and (q > 0).all()):
        raise InputError("a variance is 0: such laws have no density to compare")
    try:
        ratio = p / q
    except ValueError:
        raise InputError(f"p of shape {p.shape} does not fit q of shape {q.shape}") from None
    return 0.5 * (ratio - 1 - np.log(ratio))


def matched_student(schedule: Schedule, lam, steps=4, input_variance=None) -> np.ndarray:
    """Where TDM ends: ‖v_i‖ / ‖v_u‖ from u = t_{k+1} to i = t_k in row k; shape (K, *lam.shape).

    The first step of a sample, in the last row, starts from `input_variance` (default ‖v_T‖², pass
    1 for a start from N(0, I)) and adapts to it. `steps` are those of `sampling.time_grid`.
    Raises InputError for bad steps or variances.
    """
    grid = list(time_grid(steps, schedule.T))
    wanted = marginal_variance(schedule, lam)[grid]
    wanted[-1] = input_variances(schedule, variances(lam), input_variance)
    if not (wanted[1:] > 0).all():
        raise InputError("nothing varies at one of the levels, and no factor brings variance back")
    return np.sqrt(wanted[:-1] / wanted[1:])


@dataclass(frozen=True, eq=False)
class LinearTDM:
    """TDM of linear students with fake scores of the form x̂_ψ = c_τ x_τ, each at its optimum.

    Parameters
    ----------
    schedule, lam : as everywhere; λ has any shape.
    students : the step counts K (or lists of levels) that are trained together. One fake score
        sees the samples of all of them and is told neither K nor the step, only τ.
    interval, fake_target, matched, margin : as in `tdmlib.distill.tdm.TDM`.
    tilt : η, for a fake loss weighted by exp(½ η (ε² − ε_mix²)) in each coordinate, normalised
        within each step. 0 is no weight, 1/d the public script's, 1 the exact density ratio to
        N(α_τ x̂, σ_τ²).
    level_weight : a further factor at each level, shape (T + 1,).
    input_variance : of the noise that sampling starts from; default ‖v_T‖².

    Factors b have shape (steps of all students, *lam.shape), a student's row k going from t_{k+1}
    to t_k, and so have what methods return for each row. Raises InputError for a choice that is not
    offered, or a number outside its range; methods, for b of another shape or not finite.
    """

    schedule: Schedule
    lam: np.ndarray
    students: tuple = (4,)
    interval: Literal["separate", "full"] = "separate"
    fake_target: Literal["denoised", "transition"] = "denoised"
    matched: Literal["noisy", "clean"] = "noisy"
    tilt: float = 0.0
    level_weight: np.ndarray | None = None
    margin: int = 1
    input_variance: np.ndarray | None = None

    def __post_init__(self):
        check_choices(self)
        check_number("tilt", self.tilt, 0, 1)
        if self.tilt and self.fake_target == "transition":
            raise InputError(f"tilt = {self.tilt:g}: the transition target wants 0")
        lam, T = variances(self.lam), self.schedule.T
        weight = np.ones(T + 1) if self.level_weight is None else self.level_weight
        if (weight := variances(weight, "level_weight")).shape != (T + 1,):
            raise InputError(
                f"level_weight has shape {weight.shape}, needs ({self.schedule.T + 1},)"
            )
        object.__setattr__(self, "lam", lam)
        object.__setattr__(self, "level_weight", weight)
        given = input_variances(self.schedule, lam, self.input_variance)
        object.__setattr__(self, "input_variance", given)
        gaps = [b - a for grid in self.grids for a, b in pairwise(grid)]
        check_number("margin", self.margin, 1, min(gaps), whole=True)

    @cached_property
    def grids(self) -> tuple[tuple[int, ...], ...]:
        """The levels of each student, 0 = t_0 < … < t_K."""
        if not isinstance(self.students, tuple) or not self.students:
            raise InputError(f"students = {self.students!r}: give a tuple of step counts, as (4,)")
        return tuple(time_grid(steps, self.schedule.T) for steps in self.students)

    @cached_property
    def steps(self) -> list[tuple[int, int]]:
        """(t_k, t_{k+1}) of every row of b."""
        return [step for grid in self.grids for step in pairwise(grid)]

    def teacher_steps(self) -> np.ndarray:
        """The factors of a student that starts as the teacher, on its own levels."""
        each = [step_operators(self.schedule.sub(grid), self.lam) for grid in self.grids]
        return np.concatenate(each)

    def matched_student(self) -> np.ndarray:
        """The factors of exact matching, `matched_student` of every student."""
        rows = [
            matched_student(self.schedule, self.lam, grid, self.input_variance)
            for grid in self.grids
        ]
        return np.concatenate(rows)

    def point_variances(self, b) -> np.ndarray:
        """Var(x_{t_k}) of every row of b."""
        b = self._factors(b)
        return b**2 * self._inputs(b)

    def predictions(self, b) -> np.ndarray:
        """h of every row: the student's clean prediction at t_{k+1} is x̂ = h z."""
        return (self._factors(b) - self._geometry["rest"]) / self._geometry["kappa"]

    def factors(self, h) -> np.ndarray:
        """b of every row for predictions x̂ = h z, the inverse of `predictions`."""
        return self._geometry["kappa"] * self._factors(h) + self._geometry["rest"]

    def fake_slopes(self, b) -> np.ndarray:
        """c_τ of the fake score that is best for the students b, (T + 1, *lam.shape).

        NaN at levels that no τ visits.
        """
        return self._fake(self._moments(self._factors(b)))

    def velocity(self, b) -> np.ndarray:
        """db/ds of the library's loss under gradient flow: `student_loss` with metric "l2".

        The student's parameter is h in x̂ = h z. A step from u to i has b = κh + σ_i/σ_u, and
        dh/ds = −2 mean E[(x̂_ψ − x̂_φ) z] over its τ; the loss is summed over the steps.
        """
        moments = self._moments(self._factors(b))
        step, tau = self._draws
        alpha = self._level(self.schedule.alpha)[tau]
        teacher = alpha * self.lam / marginal_variance(self.schedule, self.lam)[tau]
        gap = (self._fake(moments)[tau] - teacher) * moments["pull"]
        gap *= self._level(self.level_weight)[tau]
        total = np.zeros_like(moments["h"])
        np.add.at(total, step, gap)
        count = np.bincount(step).reshape(-1, *(1,) * self.lam.ndim)
        return -2 * self._geometry["kappa"] * total / count

    def flow(self, b, times) -> np.ndarray:
        """b after training times s = `times`, rising from ≥ 0: shape (len(times), *b.shape).

        Raises InputError for other times, and where the flow runs to infinity.
        """
        b, times = self._factors(b), reals("s", times)
        rising = times.ndim == 1 and times.size and (np.diff(times, prepend=0) >= 0).all()
        if not (rising and np.isfinite(times[-1])):
            raise InputError("times must be a list of finite training times s ≥ 0 that do not fall")

        def velocity(_, state):
            return self.velocity(state.reshape(b.shape)).ravel()

        found = solve_ivp(
            velocity, (0, times[-1]), b.ravel(), "DOP853", t_eval=times, rtol=1e-9, atol=1e-11
        )
        if not found.success:
            raise InputError(f"the flow runs away from this b before s = {times[-1]:g}")
        return found.y.T.reshape(-1, *b.shape)

    def stationary(self, b=None) -> np.ndarray:
        """Factors at which training from b ends (default: from exact matching), by Newton's method.

        It sets out from where `flow` has come at s = 1, as points that repel lie about. Returns the
        shape of b. Raises InputError where it finds none that attracts, as at λ = 0, where b = 0 no
        longer repels, or none that stands alone: a whole line, or a step that nothing moves. So it
        does for a b at which a step is zero, and stays so.
        """
        if not (self.lam > 0).all():
            raise InputError("λ = 0: the last step ends at b = 0; give λ > 0")
        start = self.matched_student() if b is None else self._factors(b)
        if not self._scale(start).all():
            raise InputError("where b = 0, or E[x̂²] = 0, nothing moves; start from other factors")
        found = np.empty(start.shape)
        for at in np.ndindex(self.lam.shape):
            one = replace(self, lam=self.lam[at], input_variance=self.input_variance[at])
            near = one.flow(start[:, *at], [1.0])[-1]
            try:
                answer = root(one._pull, near, tol=1e-12)
            except InputError:  # the iterates left the numbers
                answer = None
            if answer is None or not np.abs(answer.fun).max() <= 1e-8:  # or it is not a number
                raise InputError(f"no stationary point found at λ = {self.lam[at]:g} from this b")
            nudges = 1e-5 * np.diag(answer.x)
            slopes = [one._pull(answer.x + d) - one._pull(answer.x - d) for d in nudges]
            if not np.linalg.cond(slopes) < 1e8:  # a matrix that Newton's method cannot invert
                raise InputError(
                    f"the stationary point at λ = {self.lam[at]:g} is one of many, and where "
                    "training ends depends on b; follow flow instead"
                )
            moves = one._scale(answer.x) * np.divide(slopes, np.diag(nudges)[:, None])
            if np.linalg.eigvals(moves).real.max() > 0:
                raise InputError(
                    f"the stationary point near this b repels at λ = {self.lam[at]:g}; follow flow"
                )
            found[:, *at] = answer.x
        return found

    def _scale(self, b):
        """What the velocity is always proportional to: b, or h where x̂ is matched."""
        return b if self.matched == "noisy" else self._moments(b)["h"]

    def _pull(self, b):
        return self.velocity(b) / self._scale(b)

    def _factors(self, b) -> np.ndarray:
        b = reals("b", b)
        if b.shape != (len(self.steps), *self.lam.shape) or not np.isfinite(b).all():
            raise InputError(
                f"b has shape {b.shape}: give {len(self.steps)} finite factors for each λ"
            )
        return b

    def _level(self, values) -> np.ndarray:
        """One value a level or a step, shaped to broadcast over λ."""
        return np.reshape(values, (-1,) + (1,) * self.lam.ndim)

    @cached_property
    def _draws(self) -> tuple[np.ndarray, np.ndarray]:
        """Every pair of a step and a level τ that it draws."""
        tops = [self.schedule.T if self.interval == "full" else upper for _, upper in self.steps]
        lows = [i + self.margin for i, _ in self.steps]
        taus = [np.arange(low, top + 1) for low, top in zip(lows, tops, strict=True)]
        return np.repeat(np.arange(len(taus)), [len(tau) for tau in taus]), np.concatenate(taus)

    @cached_property
    def _geometry(self) -> dict[str, np.ndarray]:
        """What depends on levels alone, for each step, and for each draw."""
        alpha, sigma = self.schedule.alpha, self.schedule.sigma
        i, u = np.array(self.steps).T
        step, tau = self._draws
        rest = sigma[i] / sigma[u]
        base = (alpha[i], sigma[i]) if self.matched == "noisy" else (1 + 0 * i, 0.0 * i)
        scale = alpha[tau] / base[0][step]
        carried = scale * base[1][step]  # of the noise at t_k, in x_τ
        beta = np.sqrt(sigma[tau] ** 2 - carried**2)
        share = 1 / np.concatenate([[len(g) - 1.0] * (len(g) - 1) for g in self.grids])
        share = (share / np.bincount(step))[step]  # how often a batch has this draw
        own = alpha[tau] * (base[1] / base[0])[step] ** 2
        table = dict(
            kappa=alpha[i] - alpha[u] * rest, rest=rest, alpha_u=alpha[u], sigma_u=sigma[u],
            scale=scale, beta=beta, rho=carried / sigma[tau], share=share, own=own,
            base=base[0][step],
        )  # fmt: skip
        return {name: self._level(values) for name, values in table.items()}

    def _inputs(self, b) -> np.ndarray:
        """The variance that each step starts from."""
        rows, at = [], 0
        for grid in self.grids:
            squares = b[at : at + len(grid) - 1] ** 2
            at += len(grid) - 1
            above = [self.input_variance]
            for square in squares[:0:-1]:
                above.append(above[-1] * square)
            rows += above[::-1]
        return np.array(rows)

    def _moments(self, b) -> dict[str, np.ndarray]:
        """For each draw E[x_τ z], and under the weight E[y x_τ] and E[x_τ²], y the target."""
        g, (step, _) = self._geometry, self._draws
        V = self._inputs(b)
        h = self.predictions(b)
        e = (1 - g["alpha_u"] * h) / g["sigma_u"]
        point = (b if self.matched == "noisy" else h)[step]
        root_V, r, beta = np.sqrt(V)[step], g["scale"], g["beta"]
        signal = r * point * root_V  # x_τ = signal ζ + β ε, with ζ = z/√V
        pull = signal * root_V
        cross, power = weighted_moments(signal, beta, g["rho"], e[step] * root_V, self.tilt)
        target = h[step] * root_V * cross
        if self.fake_target == "transition":
            target = signal * point * root_V / g["base"] - g["own"]
        return dict(h=h, pull=pull, target=target, power=power)

    def _fake(self, moments) -> np.ndarray:
        share, (_, tau) = self._geometry["share"], self._draws
        target, power = (np.zeros((self.schedule.T + 1, *self.lam.shape)) for _ in range(2))
        np.add.at(target, tau, share * moments["target"])
        np.add.at(power, tau, share * moments["power"])
        return np.divide(target, power, out=np.full_like(power, np.nan), where=power > 0)
