"""Whole search methods judged on real learning curves: tasks, methods of all sides, and the figures."""
