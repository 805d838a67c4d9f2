"""Small feed-forward networks in NumPy: layers with forward and backward passes, and Adam.

Every layer holds its parameters and, after `backward`, their gradients under the same names. Arrays are
float32; images are batch x channels x height x width.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Layer:
    """A function of a batch; layers without parameters leave both dictionaries empty."""

    def __init__(self):
        self.parameters = {}
        self.gradients = {}

    def forward(self, x):
        raise NotImplementedError

    def backward(self, gradient):
        raise NotImplementedError


class Linear(Layer):
    """x @ weight.T + bias; `weight` is outputs x inputs."""

    def __init__(self, inputs, outputs, rng):
        super().__init__()
        weight = rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs))
        self.parameters = {"weight": weight.astype(np.float32), "bias": np.zeros(outputs, np.float32)}

    def forward(self, x):
        self.x = x
        return x @ self.parameters["weight"].T + self.parameters["bias"]

    def backward(self, gradient):
        self.gradients = {"weight": gradient.T @ self.x, "bias": gradient.sum(0)}
        return gradient @ self.parameters["weight"]


class Conv(Layer):
    """Convolution with zero padding; `weight` is outputs x inputs x size x size."""

    def __init__(self, inputs, outputs, size, rng, stride=1, padding=0):
        super().__init__()
        weight = rng.normal(0, np.sqrt(2 / (inputs * size * size)), (outputs, inputs, size, size))
        self.size, self.stride, self.padding = size, stride, padding
        self.parameters = {"weight": weight.astype(np.float32), "bias": np.zeros(outputs, np.float32)}

    def forward(self, x):
        p, s = self.padding, self.stride
        x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        windows = sliding_window_view(x, (self.size, self.size), axis=(2, 3))[:, :, ::s, ::s]
        batch, channels, rows, columns = windows.shape[:4]
        self.shape = x.shape
        # One row for each place, one column for each weight of an output channel.
        self.windows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(batch * rows * columns, -1)
        weight = self.parameters["weight"].reshape(len(self.parameters["bias"]), -1)
        y = self.windows @ weight.T + self.parameters["bias"]
        return y.reshape(batch, rows, columns, -1).transpose(0, 3, 1, 2)

    def backward(self, gradient):
        batch, outputs, rows, columns = gradient.shape
        flat = gradient.transpose(0, 2, 3, 1).reshape(-1, outputs)
        weight = self.parameters["weight"]
        self.gradients = {"weight": (flat.T @ self.windows).reshape(weight.shape), "bias": flat.sum(0)}
        spread = (flat @ weight.reshape(outputs, -1)).reshape(batch, rows, columns, -1, self.size, self.size)
        result = np.zeros(self.shape, np.float32)
        p, s = self.padding, self.stride
        for i in range(self.size):
            for j in range(self.size):
                part = result[:, :, i : i + s * rows : s, j : j + s * columns : s]
                part += spread[..., i, j].transpose(0, 3, 1, 2)
        height, width = self.shape[2:]
        return result[:, :, p : height - p, p : width - p]


class BatchNorm(Layer):
    """Each channel made to mean `bias` and deviation `weight`, by its batch in training, by running means after."""

    EPSILON = 1e-5

    def __init__(self, channels):
        super().__init__()
        self.parameters = {"weight": np.ones(channels, np.float32), "bias": np.zeros(channels, np.float32)}
        self.mean, self.variance = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        self.training = True

    def forward(self, x):
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean += 0.1 * (mean - self.mean)
            self.variance += 0.1 * (variance - self.variance)
        self.scale = 1 / np.sqrt(variance + self.EPSILON)
        self.normal = (x - mean[:, None, None]) * self.scale[:, None, None]
        return self.normal * self.parameters["weight"][:, None, None] + self.parameters["bias"][:, None, None]

    def backward(self, gradient):
        axes = (0, 2, 3)
        self.gradients = {"weight": (gradient * self.normal).sum(axes), "bias": gradient.sum(axes)}
        gradient = gradient * self.parameters["weight"][:, None, None]
        mean = gradient.mean(axes)[:, None, None]
        slope = (gradient * self.normal).mean(axes)[:, None, None]
        return (gradient - mean - self.normal * slope) * self.scale[:, None, None]


class Residual(Layer):
    """The sum of two branches, the second of which may have no layers."""

    def __init__(self, branch, shortcut=()):
        super().__init__()
        self.branches = Network(*branch), Network(*shortcut)

    def forward(self, x):
        return self.branches[0].forward(x) + self.branches[1].forward(x)

    def backward(self, gradient):
        return self.branches[0].backward(gradient) + self.branches[1].backward(gradient)


class AveragePool(Layer):
    """Means over disjoint square windows."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        batch, channels, height, width = x.shape
        s = self.size
        return x.reshape(batch, channels, height // s, s, width // s, s).mean((3, 5))

    def backward(self, gradient):
        s = self.size
        return gradient.repeat(s, 2).repeat(s, 3) / (s * s)


class GlobalAveragePool(Layer):
    """The mean of each channel."""

    def forward(self, x):
        self.shape = x.shape
        return x.mean((2, 3), keepdims=True)

    def backward(self, gradient):
        return np.broadcast_to(gradient / (self.shape[2] * self.shape[3]), self.shape)


class Relu(Layer):
    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, gradient):
        return gradient * self.positive


class Square(Layer):
    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, gradient):
        return 2 * self.x * gradient


class Flatten(Layer):
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient):
        return gradient.reshape(self.shape)


class Network:
    """Layers one after the other."""

    def __init__(self, *layers):
        self.layers = layers

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, gradient):
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return gradient

    def all_layers(self):
        """The layers, and those of their branches."""
        for layer in self.layers:
            yield layer
            for branch in getattr(layer, "branches", ()):
                yield from branch.all_layers()

    def finish(self):
        """Ends training: from now on running means are used."""
        for layer in self.all_layers():
            layer.training = False

    def predict(self, x, batch=250):
        return np.concatenate([self.forward(x[i : i + batch]) for i in range(0, len(x), batch)])


class Adam:
    """Kingma and Ba's optimiser with decoupled weight decay."""

    def __init__(self, network, decay=0.0):
        self.layers = [layer for layer in network.all_layers() if layer.parameters]
        self.decay = decay
        self.step = 0
        self.moments = [
            {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in layer.parameters.items()}
            for layer in self.layers
        ]

    def update(self, rate):
        self.step += 1
        first_correction, second_correction = 1 - 0.9**self.step, 1 - 0.999**self.step
        for layer, moments in zip(self.layers, self.moments):
            for name, parameter in layer.parameters.items():
                gradient = layer.gradients[name]
                first, second = moments[name]
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient * gradient - second)
                parameter -= rate * first / first_correction / (np.sqrt(second / second_correction) + 1e-8)
                if name == "weight" and parameter.ndim > 1:
                    parameter -= rate * self.decay * parameter


def cross_entropy_gradient(logits, labels):
    """The gradient of the mean cross-entropy of softmax(logits)."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    probabilities[np.arange(len(labels)), labels] -= 1
    return (probabilities / len(labels)).astype(np.float32)
