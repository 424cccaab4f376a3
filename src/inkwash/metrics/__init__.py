"""Numbers from tensors: distances between sets of features, between paired images, likelihoods. Sums are float64."""
