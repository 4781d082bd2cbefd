"""Masked-modelling pre-training on log-mel stores: data, schedules, exact resume, the training loop."""
