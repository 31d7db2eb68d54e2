"""Training of the networks, stage by stage."""

import os

# Keras and its backends read these when they are imported, so that they are set before any module here does so.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
