"""A model of Hugging Face's transformers to capture: Qwen2 in the shape of its 0.5B, with random weights.

vdnnsim capture examples/pytorch_transformers.py:make --vary batch=1,2,4 --out qwen
"""

from functools import partial

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPE = {
    "num_hidden_layers": 24,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
}
TINY = SHAPE | {"num_hidden_layers": 2, "hidden_size": 56, "intermediate_size": 128, "vocab_size": 256}


def make(batch=4, device=DEVICE, tokens=1024, tiny=False):
    torch.manual_seed(0)
    config = Qwen2Config(**(TINY if tiny else SHAPE), use_cache=False, pad_token_id=0)
    model = Qwen2ForCausalLM(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=torch.device(device).type == "cuda")
    text = torch.randint(config.vocab_size, (batch, tokens), device=device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = model(input_ids=text, labels=text).loss
        loss.backward()
        optimizer.step()

    return step, model, optimizer


make_tiny = partial(make, batch=2, tokens=32, tiny=True)
