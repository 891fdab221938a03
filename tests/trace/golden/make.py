#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the traces of this folder anew: make.py FOLDER. Needs PyTorch (2.11 wrote them) and NumPy (2.5)."""
import hashlib
import json
import pathlib
import sys

import numpy as np
import torch

EXPERTS, TOP_K, TOKENS = 8, 2, 6


def token_imbalance(folder):
    """Trace v1 of NVIDIA/Megatron-LM pull request 7488; and what else torch.save can write, to be refused."""
    generator = torch.Generator().manual_seed(7)
    draws = [torch.randperm(EXPERTS, generator=generator)[:TOP_K].sort().values for _ in range(TOKENS)]
    ids = torch.stack(draws)
    gates = torch.rand(TOKENS, TOP_K, generator=generator) + 0.5
    ranks = torch.tensor([0, 0, 0, 1, 1, 1], dtype=torch.int32)
    tensors = {"token_ids": ids, "gates": gates / gates.sum(1, keepdim=True), "source_rank": ranks, "expert_ids": ids.clone()}
    entries = {}
    (folder / "v1/tensors").mkdir(parents=True)
    for name, tensor in tensors.items():
        path = folder / "v1/tensors" / f"{name}.pt"
        torch.save(tensor, path)
        entries[name] = {"file": f"tensors/{name}.pt", "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                         "shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    manifest = dict(schema_version=1, producer_commit="0" * 40, seed=7, logical_layer_id=3, step_id=5, microbatch_id=0,
                    logical_num_tokens=TOKENS, num_experts=EXPERTS, topk=TOP_K, hidden_size=512, world_size=2,
                    original_partition="rank-major, contiguous per source rank", workload_id="W4", workload_checksum="0",
                    tensors=entries, extra={})
    (folder / "v1/manifest.json").write_text(json.dumps(manifest, indent=2))
    torch.save({"rank": 0, "c": ids}, folder / "dict.pt")
    torch.save(ids.t(), folder / "strided.pt")
    torch.save(ids, folder / "legacy.pt", _use_new_zipfile_serialization=False)


def arrays(folder):
    rollout = [[np.random.RandomState(token * 10 + layer).permutation(EXPERTS)[:TOP_K] for layer in range(3)] for token in range(5)]
    experts = np.array(rollout, dtype=np.int32)
    np.save(folder / "r3.npy", experts)
    np.save(folder / "fortran.npy", np.asfortranarray(experts))
    np.save(folder / "counts.npy", np.array([[4, 3, 2, 1, 1, 1, 0, 0], [0, 0, 0, 0, 3, 3, 3, 3]], dtype=np.int32))
    np.save(folder / "load.npy", np.array([[4, 3, 2, 1, 1, 1, 0, 0]], dtype=np.float32))


def megatron(folder):
    """The lines of megatron/core/transformer/moe/router_trace.py: json.dumps of a record, experts in ascending order."""
    (folder / "megatron").mkdir()
    for rank in range(2):
        lines = []
        for step in range(2):
            for block, layer, mtp in (("decoder", 3, None), ("decoder", 4, None), ("mtp", 0, 0)):
                first = [(step + layer + token * 3 + rank) % 8 for token in range(3 + rank)]
                rows = [sorted((expert, (expert + 1 + token % 5) % 8)) for token, expert in enumerate(first)]
                record = dict(step=step, stage="pre_dispatch", block=block, layer=layer, rank=rank, num_tokens=len(rows), topk=2)
                if mtp is not None:
                    record["mtp_idx"] = mtp
                lines.append(json.dumps(record | {"top_indices": rows}) + "\n")
        (folder / f"megatron/router_trace_rank{rank}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    for write in (token_imbalance, arrays, megatron):
        write(root)
