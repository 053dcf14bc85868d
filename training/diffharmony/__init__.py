"""Training of DiffHarmony and DiffHarmony++: UNet, inverse, refiner, harmony VAE, classifier."""
