"""The program that wrote the files of this folder, run with version 0.1.0: make.py FOLDER.

It wrote a model file, an optimiser file, a checkpoint of a fit that was interrupted after 2 of 6
epochs, pickles of the public objects, and results of networks and estimators. test_older_files.py
reads all of them.
"""

import inspect
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np

import fastbp
from fastbp import callbacks, optim, schedules
from fastbp.sklearn import MLPClassifier, MLPRegressor


def data():
    X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    return X, (X[:, 0] > 0).astype(int)


def network():
    layers = [
        fastbp.Dense(4, "leaky_relu(0.1)", norm="layer", dropout=0.25, init="he_normal"),
        fastbp.Dense(4, "tanh", norm="rms", residual=True, bias=False),
        fastbp.Dense(2, "softmax", max_norm=3.0),
    ]
    return fastbp.Network.from_layers(3, layers, loss="cross_entropy", seed=5, l2=1e-3)


def fit(net, **options):
    X, y = data()
    schedule = schedules.StepLR(2, 0.5)
    settings = {"batch_size": 8, "optimizer": optim.Adam(0.01), "schedule": schedule}
    return net.fit(X, y, epochs=6, **settings | options)


class Interrupt:
    def on_epoch_end(self, epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt


def public_objects():
    """One object of every class of optim, schedules and callbacks, with defaults if it has any."""
    objects = {}
    for module in (optim, schedules, callbacks):
        for name, kind in vars(module).items():
            if not inspect.isclass(kind) or name not in module.__all__ or inspect.isabstract(kind):
                continue
            for arguments in ((), (3,), ("file",), ([2, 4],), (3, 2, 8)):
                try:
                    objects[f"{module.__name__}.{name}"] = kind(*arguments)
                    break
                except (TypeError, ValueError):
                    continue
    return objects


def main(folder):
    warnings.simplefilter("ignore")
    X, y = data()
    net, adam = network(), optim.Adam(0.01)
    history = fit(net, optimizer=adam, metrics=["accuracy"])
    net.save(folder / "network.safetensors")
    adam.save(folder / "adam.safetensors")
    objects = {
        "network": net,
        "optimizer": adam,
        "history": history,
        "loss": fastbp.losses.resolve("huber(0.5)"),
        "reference": fastbp.reference.Network((3, 2), seed=0),
    }
    pickled = pickle.dumps(objects | public_objects(), protocol=5)
    (folder / "objects.pickle").write_bytes(pickled)
    try:
        fit(network(), checkpoint=folder / "checkpoint", callbacks=[Interrupt()])
    except KeyboardInterrupt:
        pass
    classifier = MLPClassifier((5,), max_iter=20, random_state=0).fit(X, y)
    regressor = MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0).fit(X, X[:, 0])
    pickled = pickle.dumps({"classifier": classifier, "regressor": regressor}, protocol=5)
    (folder / "estimators.pickle").write_bytes(pickled)
    np.savez(
        folder / "expected.npz",
        outputs=net.predict(X),
        theta=net.theta,
        probabilities=classifier.predict_proba(X),
        values=regressor.predict(X),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
