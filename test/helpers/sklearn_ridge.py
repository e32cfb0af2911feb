"""scikit-learn's ridge on features that were written for it: an independent peer of the closed-form head.

sklearn_ridge.py FOLDER COLUMNS: FOLDER has {train,test}.f32 (row-major, float32, COLUMNS wide) and {train,test}.i32 (class numbers).
Prints {"accuracy", "alpha", "version"}. Features are standardised with the training images; alpha is chosen by leave-one-out on them.
"""
import json
import sys

import numpy as np
import sklearn
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

folder, columns = sys.argv[1], int(sys.argv[2])


def part(name):
    features = np.fromfile(f"{folder}/{name}.f32", dtype=np.float32).reshape(-1, columns)
    return features.astype(np.float64), np.fromfile(f"{folder}/{name}.i32", dtype=np.int32)


x, y = part("train")
model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(-2, 5, 15)))
model.fit(x, y)
print(json.dumps({"accuracy": model.score(*part("test")), "alpha": float(model[-1].alpha_), "version": sklearn.__version__}))
