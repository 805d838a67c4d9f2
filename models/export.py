"""ONNX models from trained parameters, with nodes as PyTorch's exporter would write them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import network as nn


def _model(name, nodes, initialisers, input_name, input_shape, output_name, output_shape):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, output_shape)],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "ceria-models"
    onnx.checker.check_model(model, full_check=True)
    return model


def logistic_regression(weight, bias, input_name, output_name):
    """sigmoid(x @ weight.T + bias) for one sample; `weight` is 1 x features."""
    initialisers = [
        numpy_helper.from_array(weight.astype(np.float32), "linear.weight"),
        numpy_helper.from_array(bias.astype(np.float32), "linear.bias"),
    ]
    nodes = [
        helper.make_node("Gemm", [input_name, "linear.weight", "linear.bias"], ["logit"], name="linear", transB=1),
        helper.make_node("Sigmoid", ["logit"], [output_name], name="sigmoid"),
    ]
    return _model("logreg", nodes, initialisers, input_name, [1, weight.shape[1]], output_name, [1, 1])


def feed_forward(name, network, input_name, input_shape, output_name):
    """The ONNX form of a `Network`, for one sample of `input_shape` (which includes the batch of 1)."""
    graph = _Graph()
    graph.network(network, input_name, output_name)
    sample = network.forward(np.zeros(input_shape, np.float32))
    shapes = (input_name, input_shape, output_name, list(sample.shape))
    return _model(name, graph.nodes, graph.initialisers, *shapes)


class _Graph:
    """Nodes and initialisers, made layer by layer."""

    STEMS = {nn.Linear: "fc", nn.Conv: "conv", nn.AveragePool: "pool", nn.BatchNorm: "bn", nn.Residual: "add"}

    def __init__(self):
        self.nodes, self.initialisers, self.counts = [], [], {}

    def network(self, network, value, output=None):
        """Appends a network that reads `value`; returns what it makes, named `output` if that is given."""
        for layer in network.layers:
            last = output if layer is network.layers[-1] else None
            value = self.layer(layer, value, last)
        return value

    def layer(self, layer, value, output):
        stem = self.STEMS.get(type(layer), type(layer).__name__.lower())
        self.counts[stem] = self.counts.get(stem, 0) + 1
        label = f"{stem}{self.counts[stem]}"
        output = output or f"{label}.output"
        arrays = dict(layer.parameters)
        if isinstance(layer, nn.BatchNorm):
            arrays |= {"mean": layer.mean, "variance": layer.variance}
        for key, array in arrays.items():
            self.initialisers.append(numpy_helper.from_array(array, f"{label}.{key}"))
        inputs = [value, *(f"{label}.{key}" for key in arrays)]
        if isinstance(layer, nn.Residual):
            inputs = [self.network(branch, value) for branch in layer.branches]
        kind, attributes = self.operator(layer)
        if isinstance(layer, nn.Square):
            inputs = inputs * 2
        self.nodes.append(helper.make_node(kind, inputs, [output], name=label, **attributes))
        return output

    @staticmethod
    def operator(layer):
        """The ONNX operator of a layer and its attributes."""
        size = [getattr(layer, "size", 1)] * 2
        if isinstance(layer, nn.Conv):
            attributes = {"kernel_shape": size}
            # The defaults are left out.
            if layer.stride > 1:
                attributes["strides"] = [layer.stride] * 2
            if layer.padding > 0:
                attributes["pads"] = [layer.padding] * 4
            return "Conv", attributes
        return {
            nn.Linear: ("Gemm", {"transB": 1}),
            nn.AveragePool: ("AveragePool", {"kernel_shape": size, "strides": size}),
            nn.BatchNorm: ("BatchNormalization", {"epsilon": nn.BatchNorm.EPSILON}),
            nn.GlobalAveragePool: ("GlobalAveragePool", {}),
            nn.Residual: ("Add", {}),
            nn.Relu: ("Relu", {}),
            nn.Square: ("Mul", {}),
            nn.Flatten: ("Flatten", {"axis": 1}),
        }[type(layer)]
