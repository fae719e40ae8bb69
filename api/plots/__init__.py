"""Figures for plotly.js: Optuna's where they fit in 2 MB, our own where they do not or where Optuna has none."""
