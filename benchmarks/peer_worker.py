"""What runs in the peers' environment: prepares their weights, then ranks, one JSON line in, one out.

    peer_worker.py prepare MODEL_DIR WEIGHTS_DIR
    peer_worker.py cross-encoder|bi-encoder|flashrank WEIGHTS_DIR

It imports nothing of ours: that environment has none of it. Each peer is used as its documentation shows.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

Rank = Callable[[str, Sequence[str]], object]

# FlashRank takes only names that it knows, and downloads nothing where the folder of that name is there already.
_FLASHRANK_NAME = "ms-marco-TinyBERT-L-2-v2"
_FLASHRANK_FILE = "flashrank-TinyBERT-L-2-v2.onnx"


def prepare(model: Path, weights: Path) -> None:
    """A cross-encoder with the default model's layers and a random head: right in size, meaningless in its scores."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoTokenizer, BertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model)
    head = BertForSequenceClassification.from_pretrained(model, num_labels=1, attn_implementation="eager")
    head.config.architectures = ["BertForSequenceClassification"]  # by which infinity knows what it loads
    for name in ("cross-encoder", "onnx-int8", _FLASHRANK_NAME):
        (weights / name).mkdir(parents=True)
        tokenizer.save_pretrained(weights / name)
        head.config.save_pretrained(weights / name)
    head.save_pretrained(weights / "cross-encoder")
    shutil.copytree(model, weights / "bi-encoder")
    _export(head, tokenizer, weights / "float.onnx")
    quantised = weights / "onnx-int8" / "model_quantized.onnx"
    quantize_dynamic(weights / "float.onnx", quantised, weight_type=QuantType.QInt8)
    shutil.copy(quantised, weights / _FLASHRANK_NAME / _FLASHRANK_FILE)


def _export(model: Any, tokenizer: Any, file: Path) -> None:
    """Write the model as ONNX for any batch and length."""
    import torch

    inputs = tokenizer([("a", "b c"), ("a", "b c d")], return_tensors="pt", padding=True)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "token"} for name in names} | {"logits": {0: "batch"}}
    model.config.return_dict = False  # the exporter wants tuples
    torch.onnx.export(
        model,
        tuple(inputs[name] for name in names),
        str(file),
        input_names=names,
        output_names=["logits"],
        dynamic_axes=axes,
        dynamo=False,
        opset_version=17,
    )


def cross_encoder(weights: Path) -> Rank:
    """sentence-transformers: score every pair."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(weights / "cross-encoder"))
    return lambda query, documents: model.predict([(query, document) for document in documents])


def bi_encoder(weights: Path) -> Rank:
    """sentence-transformers: encode the query and the documents, compare by cosine."""
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(str(weights / "bi-encoder"))
    return lambda query, documents: util.cos_sim(model.encode(query), model.encode(list(documents)))


def flashrank(weights: Path) -> Rank:
    """FlashRank on the quantised weights, as it ships its own."""
    from flashrank import Ranker, RerankRequest

    ranker = Ranker(_FLASHRANK_NAME, cache_dir=str(weights))

    def rank(query: str, documents: Sequence[str]) -> object:
        passages = [{"id": at, "text": text} for at, text in enumerate(documents)]
        return ranker.rerank(RerankRequest(query=query, passages=passages))

    return rank


def serve(rank: Rank) -> None:
    """Answer each line {"query", "documents"} with {"ms"}: milliseconds that ranking took, pipes not counted."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        start = perf_counter()
        rank(task["query"], task["documents"])
        print(json.dumps({"ms": 1000 * (perf_counter() - start)}), flush=True)


if __name__ == "__main__":
    verb, *folders = sys.argv[1:]
    if verb == "prepare":
        prepare(Path(folders[0]), Path(folders[1]))
    else:
        serve(
            {"cross-encoder": cross_encoder, "bi-encoder": bi_encoder, "flashrank": flashrank}[verb](Path(folders[0]))
        )
