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
    nodes, initialisers, counts = [], [], {}
    value = input_name
    for position, layer in enumerate(network.layers):
        stem = {nn.Linear: "fc", nn.Conv: "conv", nn.AveragePool: "pool"}.get(type(layer), type(layer).__name__.lower())
        counts[stem] = counts.get(stem, 0) + 1
        label = f"{stem}{counts[stem]}"
        inputs = [value]
        for key, parameter in layer.parameters.items():
            initialisers.append(numpy_helper.from_array(parameter, f"{label}.{key}"))
            inputs.append(f"{label}.{key}")
        value = output_name if position == len(network.layers) - 1 else f"{label}.output"
        if isinstance(layer, nn.Linear):
            node = helper.make_node("Gemm", inputs, [value], name=label, transB=1)
        elif isinstance(layer, nn.Conv):
            node = helper.make_node("Conv", inputs, [value], name=label, kernel_shape=[layer.size] * 2)
        elif isinstance(layer, nn.AveragePool):
            size = [layer.size] * 2
            node = helper.make_node("AveragePool", inputs, [value], name=label, kernel_shape=size, strides=size)
        elif isinstance(layer, nn.Relu):
            node = helper.make_node("Relu", inputs, [value], name=label)
        elif isinstance(layer, nn.Square):
            node = helper.make_node("Mul", inputs * 2, [value], name=label)
        elif isinstance(layer, nn.Flatten):
            node = helper.make_node("Flatten", inputs, [value], name=label, axis=1)
        nodes.append(node)
    sample = network.forward(np.zeros(input_shape, np.float32))
    return _model(name, nodes, initialisers, input_name, input_shape, output_name, list(sample.shape))
