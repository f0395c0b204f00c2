"""The same network in PyTorch, for the official tool."""

import keras
import numpy as np
import torch
from keras import ops


def to_torch(network):
    """Copy a functional Keras network of the usual layers.

    Returns:
        `torch.nn.Module` on NCHW images.
    """
    modules, steps = torch.nn.ModuleDict(), []
    for layer in network.layers:
        kind = type(layer).__name__
        name = layer.name.replace(".", "_")
        weights = [torch.tensor(ops.convert_to_numpy(w + 0)) for w in layer.weights]
        if kind == "Conv2D":
            kernel = weights[0].permute(3, 2, 0, 1)
            same = layer.padding == "same"
            module = torch.nn.Conv2d(
                kernel.shape[1],
                kernel.shape[0],
                kernel.shape[2:],
                stride=layer.strides,
                padding=kernel.shape[2] // 2 if same else 0,
                bias=layer.use_bias,
            )
            module.weight.data = kernel.contiguous()
            if layer.use_bias:
                module.bias.data = weights[1]
        elif kind == "BatchNormalization":
            module = torch.nn.BatchNorm2d(weights[0].shape[0], eps=layer.epsilon)
            module.weight.data, module.bias.data = weights[0], weights[1]
            module.running_mean.data, module.running_var.data = weights[2], weights[3]
        elif kind == "Dense":
            module = torch.nn.Linear(*weights[0].shape)
            module.weight.data, module.bias.data = weights[0].T.contiguous(), weights[1]
        elif kind == "ZeroPadding2D":
            (top, bottom), (left, right) = layer.padding
            module = torch.nn.ZeroPad2d((left, right, top, bottom))
        elif kind == "ReLU" or (kind == "Activation" and layer.activation is keras.activations.relu):
            module = torch.nn.ReLU()
        elif kind == "Activation" and layer.activation is keras.activations.tanh:
            module = torch.nn.Tanh()
        elif kind == "Normalization":
            module = _Normalise(layer)
        elif kind == "MaxPooling2D":
            module = torch.nn.MaxPool2d(layer.pool_size)
        elif kind == "AveragePooling2D":
            module = torch.nn.AvgPool2d(layer.pool_size)
        elif kind in ("InputLayer", "Add", "GlobalAveragePooling2D", "Flatten"):
            module = torch.nn.Identity()
        else:
            raise ValueError(f"No PyTorch twin for a layer. Received: {layer}")
        modules[name] = module
        inputs = [] if kind == "InputLayer" else layer.input
        inputs = inputs if isinstance(inputs, list) else [inputs]
        steps.append((name, kind, [id(t) for t in inputs], id(layer.output)))

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = modules

        def forward(self, x):
            values = {}
            for name, kind, inputs, output in steps:
                given = [values[i] for i in inputs]
                if kind == "InputLayer":
                    values[output] = x
                elif kind == "Add":
                    values[output] = given[0] + given[1]
                elif kind == "GlobalAveragePooling2D":
                    values[output] = given[0].mean(dim=(2, 3))
                elif kind == "Flatten":
                    values[output] = given[0].permute(0, 2, 3, 1).flatten(1)
                else:
                    values[output] = self.parts[name](given[0])
            return values[steps[-1][3]]

    return Twin().eval()


class _Normalise(torch.nn.Module):
    """Keras's Normalization with one mean and variance for each channel."""

    def __init__(self, layer):
        super().__init__()
        self.mean, self.scale = (
            torch.tensor(np.array(v, "float32").reshape(1, -1, 1, 1))
            for v in (layer.input_mean, np.sqrt(layer.input_variance))
        )

    def forward(self, x):
        return (x - self.mean) / self.scale
