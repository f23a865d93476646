"""The published rule, written with lists and loops: what the streaming selection is compared with."""

from __future__ import annotations

import numpy as np


def confidences(confidence, prediction, num_classes, every=1):
    lists = [[] for _ in range(num_classes)]
    for value, index in zip(confidence.ravel(), prediction.ravel(), strict=True):
        lists[int(index)].append(np.float16(value))
    return [values[::every] for values in lists]


def labels(confidence, prediction, thresholds):
    chosen = np.full(prediction.shape, 255, np.uint8)
    for place in np.ndindex(prediction.shape):
        if thresholds is None or float(confidence[place]) >= thresholds[prediction[place]]:
            chosen[place] = prediction[place]
    return chosen


def instance_adaptive(groups, num_classes, alpha, beta, gamma):
    thresholds = np.full(num_classes, 0.9)
    for confidence, prediction in groups:
        for k, values in enumerate(confidences(confidence, prediction, num_classes)):
            if values:
                level = 1 - alpha * thresholds[k] ** gamma
                x = np.float32(np.quantile(np.array([thresholds[k], *values], np.float64), level))
                thresholds[k] = beta * thresholds[k] + np.float64(np.float32(1 - beta) * x)
                if thresholds[k] >= 1:
                    thresholds[k] = 0.999
        yield labels(confidence, prediction, thresholds), thresholds.copy()


def class_balanced(groups, num_classes, proportion, every):
    lists = [[] for _ in range(num_classes)]
    for confidence, prediction in groups:
        for values, more in zip(lists, confidences(confidence, prediction, num_classes, every), strict=True):
            values.extend(more)
    thresholds = np.array(
        [np.quantile(np.array(values, np.float64), 1 - proportion) if values else 1.0 for values in lists]
    )
    for confidence, prediction in groups:
        yield labels(confidence, prediction, thresholds), thresholds.copy()


def statistics(groups, chosen, num_classes, momentum=0.99):
    mean = [None] * num_classes
    images = []
    for (confidence, _), group in zip(groups, chosen, strict=True):
        images += [[int((image == k).sum()) for k in range(num_classes)] for image in group]
        for k in range(num_classes):
            values = confidence[group == k].astype(np.float64)
            if len(values):
                now = values.mean()
                mean[k] = now if mean[k] is None else momentum * mean[k] + (1 - momentum) * now
    return np.array([np.nan if value is None else value for value in mean]), np.array(images)
