"""Prediction of images and videos: what is taken as an image, how it is looked at, and what is written."""

from hiast.prediction.images import as_images, as_rgb
from hiast.prediction.inference import InferenceSettings, predict_arrays

__all__ = ["InferenceSettings", "as_images", "as_rgb", "predict_arrays"]
