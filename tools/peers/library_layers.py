# SPDX-License-Identifier: Apache-2.0
"""The MoE layers of installed libraries, as they come."""
from torch import nn

from layers import Layer


class Transformers(Layer):
    """Mixtral's block of Hugging Face transformers (SwiGLU only), with one of the library's ways to run experts."""
    implementation = "eager"  # a loop over experts
    activations = ["swiglu"]
    needs = "transformers"

    def __init__(self, shape, device):
        nn.Module.__init__(self)
        from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralSparseMoeBlock
        config = MixtralConfig(hidden_size=shape.hidden, intermediate_size=shape.ffn, num_local_experts=shape.experts,
                               num_experts_per_tok=shape.top_k, router_jitter_noise=0.0)
        config._experts_implementation = self.implementation
        self.shape = shape
        with device:
            self.block = MixtralSparseMoeBlock(config).to(shape.torch_dtype)
        self.block.gate.register_forward_hook(self.keep_routing)

    def keep_routing(self, _module, _inputs, outputs):
        _logits, self.score, self.chosen = outputs

    @property
    def gate(self):
        return self.block.gate

    def matrices(self, expert):
        return self.block.experts.gate_up_proj[expert], self.block.experts.down_proj[expert]

    def gradients(self, expert):
        return self.block.experts.gate_up_proj.grad[expert], self.block.experts.down_proj.grad[expert]

    def forward(self, x):
        return self.block(x.unsqueeze(0)).squeeze(0)


class TransformersGrouped(Transformers):
    """The same with the library's grouped products."""
    implementation = "grouped_mm"
    waits_for_device = False
