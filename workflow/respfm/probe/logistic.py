"""L2-regularised logistic regression solved to convergence for many strengths at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

TOLERANCE = 1e-8
NEWTON_STEPS = 50
GRADIENT_STEPS = 200
MOST_STEPS = 5000
LARGEST_HESSIAN = 6000
HALVINGS = 30


@dataclass(frozen=True)
class PrincipalAxes:
    """Principal axes `[D, rank]` of centred training features `[N, D]`, rank <= N.

    An L2-penalised solution lies in the span of the training rows, and the axes are orthonormal: the
    problem in these coordinates has the same solution and, for D much larger than N, far fewer unknowns.
    """

    axes: torch.Tensor

    @classmethod
    def of(cls, features: torch.Tensor) -> PrincipalAxes:
        count, dim = features.shape
        if dim <= count:
            values, axes = torch.linalg.eigh(features.T @ features)
        else:
            values, rows = torch.linalg.eigh(features @ features.T)
        kept = values > values[-1] * max(count, dim) * torch.finfo(values.dtype).eps
        axes = axes[:, kept] if dim <= count else features.T @ (rows[:, kept] / values[kept].sqrt())
        return cls(axes)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Coordinates `[N, rank]` of features `[N, D]`."""
        return features @ self.axes


def fit_logistic(features: torch.Tensor, labels: torch.Tensor, classes: int, strengths: torch.Tensor) -> torch.Tensor:
    """Weights `[S, K, D + 1]`, bias last, that minimise summed cross-entropy + strength / 2 * |weights|^2.

    `features` are `[N, D]`, float64, best in principal axes; `labels` `[N]`, `strengths` `[S]`. K is 1 for
    two classes (the logit of class 1), else the number of classes; biases are not penalised: the problem of
    scikit-learn's LogisticRegression with C = 1 / strength. Truncated Newton method: the directions of all
    strengths come from one preconditioned conjugate gradient, each with its own halving line search; where that
    is not enough, as with a weak penalty on outliers, Newton's equations are solved directly.
    """
    problem = _Problem(features, labels, classes, strengths)
    weights = features.new_zeros(len(strengths), problem.outputs, features.shape[1] + 1)
    for _ in range(NEWTON_STEPS):
        loss, gradient, probability = problem.evaluate(weights)
        active = gradient.abs().amax(dim=(1, 2)) > TOLERANCE * len(features)
        if not active.any():
            return weights
        direction = torch.zeros_like(weights)
        direction[active] = problem.newton_direction(gradient[active], probability[:, active], problem.penalty[active])
        slope = (gradient * direction).sum(dim=(1, 2))
        step = active.to(weights)
        for _ in range(HALVINGS):
            trial = problem.loss(weights + step[:, None, None] * direction)
            rejected = trial > loss + 1e-4 * step * slope + 1e-13 * loss.abs()
            if not rejected.any():
                break
            step = torch.where(rejected, step / 2, step)
        weights = weights + step[:, None, None] * direction
    raise ArithmeticError(f"logistic regression has not converged in {NEWTON_STEPS} Newton steps")


def predict_probability(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Class probabilities `[S, N, C]` for features `[N, D]` and weights of `fit_logistic`."""
    logits = torch.einsum("nd,skd->snk", features, weights[..., :-1]) + weights[:, None, :, -1]
    if logits.shape[-1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=-1)
    return logits.softmax(dim=-1)


class _Problem:
    def __init__(self, features: torch.Tensor, labels: torch.Tensor, classes: int, strengths: torch.Tensor) -> None:
        self.features = torch.nn.functional.pad(features, (0, 1), value=1.0)
        self.squares = self.features.square().mean(dim=0)
        self.outputs = 1 if classes == 2 else classes
        targets = torch.nn.functional.one_hot(labels, classes).to(features)
        self.targets = targets[:, None, -self.outputs :]
        self.penalty = strengths[:, None, None] * torch.ones_like(self.squares)
        self.penalty[..., -1] = 0.0
        self.jitter = 1e-12 * len(features)

    def loss(self, weights: torch.Tensor) -> torch.Tensor:
        return self._loss(self._logits(weights), weights)

    def evaluate(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Loss `[S]`, gradient `[S, K, D + 1]`, probabilities `[N, S, K]`."""
        logits = self._logits(weights)
        probability = logits.sigmoid() if self.outputs == 1 else logits.softmax(dim=2)
        gradient = self._back(probability - self.targets) + self.penalty * weights
        return self._loss(logits, weights), gradient, probability

    def newton_direction(
        self, gradient: torch.Tensor, probability: torch.Tensor, penalty: torch.Tensor
    ) -> torch.Tensor:
        """Solution of Hessian @ direction = -gradient to a residual of min(0.1, sqrt(|g| / N)) |g|."""
        curvature = (probability * (1 - probability)).sum(dim=0)
        diagonal = curvature[:, :, None] * self.squares + penalty + self.jitter
        size = _dot(gradient, gradient).sqrt()
        target = size * (size / len(self.features)).sqrt().clamp(max=0.1)
        direction, residual = torch.zeros_like(gradient), -gradient
        search = preconditioned = residual / diagonal
        product = _dot(residual, preconditioned)
        small = gradient[0].numel() <= LARGEST_HESSIAN
        for _ in range(GRADIENT_STEPS if small else MOST_STEPS):
            active = _dot(residual, residual).sqrt() > target
            if not active.any():
                return direction
            image = self._curve(search, probability) + penalty * search
            step = torch.where(active, product / _dot(search, image), 0.0)[:, None, None]
            direction, residual = direction + step * search, residual - step * image
            preconditioned = residual / diagonal
            product, before = _dot(residual, preconditioned), product
            search = preconditioned + (product / before)[:, None, None] * search
        if small:
            for row in active.nonzero().flatten().tolist():
                hessian = self._hessian(probability[:, row], penalty[row])
                direction[row] = -torch.linalg.solve(hessian, gradient[row].flatten()).view_as(gradient[row])
        return direction

    def _curve(self, vector: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
        """The Hessian of the cross-entropy, times `vector` `[S, K, D + 1]`."""
        change = self._logits(vector)
        mean = change * probability
        if self.outputs > 1:
            mean = mean.sum(dim=2, keepdim=True)
        return self._back(probability * (change - mean))

    def _hessian(self, probability: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """The Hessian of one strength, `[K (D + 1), K (D + 1)]`, from probabilities `[N, K]`."""
        weighted = (probability[:, :, None] * self.features[:, None]).flatten(1)
        own = (self.features.T @ weighted).chunk(self.outputs, dim=1)
        ridge = (penalty + self.jitter).expand(self.outputs, -1).flatten().diag()
        return torch.block_diag(*own) - weighted.T @ weighted + ridge

    def _loss(self, logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if self.outputs == 1:
            normaliser = torch.nn.functional.softplus(logits).sum(dim=(0, 2))
        else:
            normaliser = logits.logsumexp(dim=2).sum(dim=0)
        return normaliser - (logits * self.targets).sum(dim=(0, 2)) + _dot(self.penalty * weights, weights) / 2

    def _logits(self, weights: torch.Tensor) -> torch.Tensor:
        return (self.features @ weights.flatten(0, 1).T).view(len(self.features), *weights.shape[:2])

    def _back(self, residual: torch.Tensor) -> torch.Tensor:
        return (residual.flatten(1).T @ self.features).view(*residual.shape[1:], -1)


def _dot(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left * right).sum(dim=(1, 2))
