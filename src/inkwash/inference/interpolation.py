"""Ways of enlarging without a model: the names that people know them by, and those of the kernels. No torch here."""

METHODS = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic", "lanczos": "lanczos", "spline": "spline"}
