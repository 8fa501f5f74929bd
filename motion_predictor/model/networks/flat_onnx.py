# SPDX-License-Identifier: Apache-2.0
"""The flat network in ONNX Runtime: the same numbers as torch to a few rounding errors, sooner.

The graph is made from the weights in memory; nothing is exported to a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn, Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.networks.layers import FlatBlock
from motion_predictor.model.networks.mlp import FlatDenoiser

_OPSET, _IR = 20, 9  # the first with Gelu, and a format that ONNX Runtime 1.17 reads
_NEEDED = "pip install 'motion-predictor[onnx]', or set model.engine to 'fp32'"


class OnnxFlatDenoiser(nn.Module):
    """The flat network without its first layer for the noise, which torch runs, on the CPU."""

    def __init__(self, network: FlatDenoiser) -> None:
        """
        Make a session.

        :param network: float32, on the CPU; its weights are copied.
        :raises ConfigError: if ``onnx`` or ``onnxruntime`` is not installed or cannot run it.
        """
        super().__init__()
        self.noise = network.noise
        try:
            import onnxruntime

            graph = _Graph(network).serialized()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            # Threads that wait must not keep a core from the tracker and the middleware.
            options.add_session_config_entry('session.intra_op.allow_spinning', '0')
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=['CPUExecutionProvider']
            )
        except ImportError as error:
            raise ConfigError(f"engine='onnx': {error}; {_NEEDED}") from None
        except Exception as error:  # ONNX Runtime's errors have no common class
            reason = str(error).strip().partition('\n')[0]
            raise ConfigError(f"engine='onnx': {reason}; {_NEEDED}") from error

    def embedded(self, noise: Tensor) -> Tensor:
        """See :meth:`FlatDenoiser.embedded`."""
        return self.noise(noise.flatten(2))

    def of_embedded(self, embedded: Tensor, condition: Tensor) -> Tensor:
        """See :meth:`FlatDenoiser.of_embedded`."""
        given = {'noise': embedded.numpy(), 'condition': condition.flatten(1).numpy()}
        return torch.from_numpy(self._session.run(None, given)[0])

    def forward(self, x_t: Tensor, condition: Tensor, step: Tensor | None = None) -> Tensor:
        """See :meth:`FlatDenoiser.forward`."""
        people = len(condition)
        noise = x_t if x_t.ndim == 4 else x_t.unflatten(0, (people, -1))
        noise = noise[:1] if noise.stride(0) == 0 else noise
        return self.of_embedded(self.embedded(noise), condition).reshape(x_t.shape)


class _Graph:
    """Builds the graph node by node."""

    def __init__(self, network: FlatDenoiser) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        history = self._linear(network.condition, 'condition')
        for module in network.condition_blocks:
            assert isinstance(module, FlatBlock)
            history = self._block(module, history)
        history = self._norm(network.condition_norm, history)
        x = self._add('noise', self._for_samples(self._linear(network.begin, history)))
        for module, shift in zip(network.blocks, network.shifts, strict=True):
            assert isinstance(module, FlatBlock)
            assert isinstance(shift, nn.Linear)
            x = self._add(x, self._for_samples(self._linear(shift, history)))
            x = self._block(module, x)
        values = self._linear(network.out, self._norm(network.norm, x))
        shared = self._for_samples(self._linear(network.shared, history))
        self._out = self._add(values, shared)
        self._sizes = network.noise.out_features, network.condition.in_features

    def serialized(self) -> bytes:
        """Return the model as ONNX Runtime reads it."""
        helper, kind = self._helper, 1  # float
        width, values = self._sizes
        graph = helper.make_graph(
            self._nodes,
            'flat',
            [
                helper.make_tensor_value_info('noise', kind, ['N', 'S', width]),
                helper.make_tensor_value_info('condition', kind, ['P', values]),
            ],
            [helper.make_tensor_value_info(self._out, kind, None)],
            self._constants,
        )
        opset = helper.make_opsetid('', _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR)
        return bytes(model.SerializeToString())

    def _node(self, operation: str, inputs: list[str], **attributes: Any) -> str:
        name = f'v{len(self._nodes)}'
        self._nodes.append(self._helper.make_node(operation, inputs, [name], **attributes))
        return name

    def _constant(self, value: Tensor | np.ndarray) -> str:
        name = f'c{len(self._constants)}'
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        self._constants.append(self._numpy.from_array(np.ascontiguousarray(array), name))
        return name

    def _linear(self, layer: nn.Linear, x: str) -> str:
        product = self._node('MatMul', [x, self._constant(layer.weight.detach().T)])
        return self._add(product, self._constant(layer.bias))

    def _norm(self, layer: nn.LayerNorm, x: str) -> str:
        inputs = [x, self._constant(layer.weight), self._constant(layer.bias)]
        return self._node('LayerNormalization', inputs, axis=-1, epsilon=layer.eps)

    def _block(self, block: FlatBlock, x: str) -> str:
        hidden = self._node('Gelu', [self._linear(block.expand, self._norm(block.norm, x))])
        return self._add(x, self._linear(block.contract, hidden))

    def _add(self, one: str, other: str) -> str:
        return self._node('Add', [one, other])

    def _for_samples(self, x: str) -> str:
        # (P, D) -> (P, 1, D)
        return self._node('Unsqueeze', [x, self._constant(np.array([1], dtype=np.int64))])
