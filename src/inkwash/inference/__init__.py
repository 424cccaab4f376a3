"""What trained models are used for: loading, drawing, measuring. Training calls it for sample grids."""
