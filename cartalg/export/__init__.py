"""A trained model as a library without Python or Torch."""
