"""Networks of PyTorch, torchvision and transformers that the peers' scripts export, run and time.

`NETWORKS` has them by name, small and simple ones first. Weights are random from a fixed seed and then moved a little,
so that no scale is one, no bias zero and no running statistic what it was at the start: a parameter in the wrong place
changes the outputs.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch
from torch import nn

VOCABULARY = 384


@dataclass
class Case:
    """A network in eval mode, the inputs that it is run on, and what its file is to look like."""

    model: nn.Module
    #: By the name of the argument, in order.
    inputs: dict[str, torch.Tensor]
    outputs: list[str]
    #: Names of the axes that stay open in the file, by input.
    open_axes: dict[str, dict[int, str]] = field(default_factory=dict)
    #: Weights in files of their own beside the graph.
    external: bool = False
    #: What the older exporter traces in place of the model's own `forward`, where that cannot go through it.
    traced: Callable | None = None


class Mlp(nn.Module):
    def __init__(self, widths=(784, 512, 512, 10)):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class LeNet(nn.Module):
    """LeNet-5's shapes with ReLU and max-pooling, on 1 x 28 x 28."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu(self.fc2(x)))


def randn(*shape):
    return torch.randn(*shape)


def tokens(*shape):
    return torch.randint(VOCABULARY, shape)


def vector_net(build, shape, **rest):
    return lambda _: Case(build(), {"x": randn(*shape)}, ["y"], **rest)


def image_net(name, side=64, batch=2, open_batch=True, external=False, **options):
    def make(size):
        import torchvision

        model = getattr(torchvision.models, name)(weights=None, **options)
        pixels = 224 if size == "full" else side
        axes = {"x": {0: "batch"}} if open_batch else {}
        return Case(model, {"x": randn(batch, 3, pixels, pixels)}, ["logits"], axes, external)

    return make


def recurrent(kind, open_batch=False, **options):
    def make(_):
        model = kind(24, 32, **options)
        batch_axis = 0 if options.get("batch_first") else 1
        shape = [7, 7, 24]
        shape[batch_axis] = 3
        axes = {"x": {batch_axis: "batch"}} if open_batch else {}
        outputs = ["y", "h_n", "c_n"] if kind is nn.LSTM else ["y", "h_n"]
        return Case(model, {"x": randn(*shape)}, outputs, axes)

    return make


def logits_only(self, input_ids):
    """`forward` of a language model with a mask: without one it looks for packed sequences by `diff`, which the older
    exporter does not know, and `logits_to_keep` would become an input of the graph."""
    model = super(type(self), self)
    return model.forward(input_ids=input_ids, attention_mask=torch.ones_like(input_ids)).logits


def language_net(build, mask=False, open_axes=False, outputs=("logits",), external=False, traced=None):
    def make(_):
        inputs = {"input_ids": tokens(2, 16)}
        if mask:
            inputs["attention_mask"] = torch.ones(2, 16, dtype=torch.int64)
            inputs["attention_mask"][1, 11:] = 0
        axes = {name: {0: "batch", 1: "sequence"} for name in inputs} if open_axes else {}
        return Case(build(), inputs, list(outputs), axes, external, traced)

    return make


def gpt2(attention):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=128, n_layer=4, n_head=4, use_cache=False,
                        attn_implementation=attention)
    return GPT2LMHeadModel(config)


def bert(attention):
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
                        intermediate_size=512, max_position_embeddings=64, attn_implementation=attention)
    return BertForMaskedLM(config)


def llama(attention):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
                         num_key_value_heads=2, intermediate_size=352, max_position_embeddings=64, use_cache=False,
                         attn_implementation=attention)
    return LlamaForCausalLM(config)


def t5_encoder():
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=VOCABULARY, d_model=128, d_kv=32, d_ff=512, num_layers=4, num_heads=4,
                      use_cache=False, attn_implementation="eager")
    return T5EncoderModel(config)


def hf_vit(_):
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
                       image_size=64, patch_size=16, num_labels=10, attn_implementation="eager")
    return Case(ViTForImageClassification(config), {"pixel_values": randn(2, 3, 64, 64)}, ["logits"],
                {"pixel_values": {0: "batch"}})


NETWORKS: dict[str, Callable[[str], Case]] = {
    "mlp": vector_net(Mlp, (4, 784), open_axes={"x": {0: "batch"}}),
    "lenet": vector_net(LeNet, (4, 1, 28, 28)),
    "resnet18": image_net("resnet18"),
    "gpt2": language_net(lambda: gpt2("eager"), traced=logits_only, open_axes=True, external=True),
    "bert": language_net(lambda: bert("eager"), mask=True, open_axes=True),
    "lstm": recurrent(nn.LSTM),
    "lstm2": recurrent(nn.LSTM, open_batch=True, num_layers=2, bidirectional=True, batch_first=True),
    "gru": recurrent(nn.GRU, open_batch=True),
    "gru2": recurrent(nn.GRU, num_layers=2, bidirectional=True),
    "gpt2_sdpa": language_net(lambda: gpt2("sdpa"), traced=logits_only),
    "bert_sdpa": language_net(lambda: bert("sdpa"), mask=True),
    "llama": language_net(lambda: llama("eager"), traced=logits_only),
    "llama_sdpa": language_net(lambda: llama("sdpa"), traced=logits_only, open_axes=True),
    "t5_encoder": language_net(t5_encoder, mask=True, outputs=["last_hidden_state"]),
    "vit": hf_vit,
    "mobilenet_v2": image_net("mobilenet_v2", open_batch=False),
    "mobilenet_v3_small": image_net("mobilenet_v3_small"),
    "efficientnet_b0": image_net("efficientnet_b0", open_batch=False),
    "googlenet": image_net("googlenet", aux_logits=False, init_weights=False),
    "densenet121": image_net("densenet121", open_batch=False),
    "resnet50": image_net("resnet50", external=True),
    "convnext_tiny": image_net("convnext_tiny", open_batch=False),
    "swin_t": image_net("swin_t", side=224, batch=1, open_batch=False),
    "wide_resnet50_2": image_net("wide_resnet50_2", open_batch=False, external=True),
    "vit_b_16": image_net("vit_b_16", side=224, external=True),
    # Their adaptive pooling goes into ONNX only where it has nothing to do, as at 224 x 224.
    "alexnet": image_net("alexnet", side=224, open_batch=False),
    "vgg11_bn": image_net("vgg11_bn", side=224, external=True),
}


def scatter(model):
    """Moves every parameter by some noise: weights by a tenth of their deviation, scales and biases by 0.1."""
    with torch.no_grad():
        for parameter in model.parameters():
            by = 0.1 * parameter.std() if parameter.dim() > 1 and parameter.std() > 1e-3 else 0.1
            parameter += by * torch.randn_like(parameter)


def settle(model, inputs):
    """Running statistics of batch norms from a few batches like `inputs`, which are images."""
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        return
    model.train()
    with torch.no_grad():
        for _ in range(12):
            model(*[0.3 + 1.5 * torch.randn(4, *value.shape[1:]) for value in inputs.values()])


def build(name, size="small"):
    """The case `name`, in eval mode, the same every time."""
    torch.manual_seed(0)
    case = NETWORKS[name](size)
    scatter(case.model)
    settle(case.model, case.inputs)
    case.model.eval()
    return case


def flat(outputs):
    """The tensors of a model's return value, in order."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = outputs.values()
    return [tensor for part in outputs for tensor in flat(part)]


def run(model, inputs, names):
    """Outputs by name, and the gradients of the sum of all of them for every parameter and every float input."""
    inputs = {name: value.detach().clone().requires_grad_(value.is_floating_point()) for name, value in inputs.items()}
    model.zero_grad(set_to_none=True)
    outputs = dict(zip(names, flat(model(**inputs) if accepts(model) else model(*inputs.values())), strict=True))
    sum(value.sum() for value in outputs.values() if value.is_floating_point()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    of_inputs = {name: value.grad for name, value in inputs.items() if value.grad is not None}
    return {name: value.detach() for name, value in outputs.items()}, gradients, of_inputs


def accepts(model):
    """Whether the model's arguments have the names that its inputs have here (those of recurrent layers have not)."""
    return not isinstance(model, nn.RNNBase)
