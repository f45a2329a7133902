"""Tiny models with random weights, made here in seconds; each generation of the libraries reads what the other has made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SEED = 0
QUERIES = 10
"""Objects that a detector can name in one picture."""
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "a",
    "is",
    "was",
    "good",
    "bad",
    "great",
    "film",
    "not",
    "very",
    ".",
    ",",
    "!",
]
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


def _bytes() -> list[str]:
    """The 256 characters that byte-level tokenizers write bytes as."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def bert(out: Path) -> None:
    """A classifier of two labels. Tokenizer files are written by hand: what transformers 5 saves, 4.57 cannot read."""
    from transformers import BertConfig, BertForSequenceClassification

    out.mkdir(parents=True)
    vocabulary = list(dict.fromkeys([*WORDS, *ALPHABET, *("##" + letter for letter in ALPHABET)]))
    (out / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    _write(out / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64})
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )
    BertForSequenceClassification(config).eval().save_pretrained(out)


def long_llama(out: Path, context: int) -> None:
    """A decoder over bytes, for vLLM: with heads as wide as its kernels want them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    _decoder(out, LlamaConfig, LlamaForCausalLM, context=context, head_dim=64)


def _decoder(out: Path, config: Any, model: Any, *, context: int = 256, **options: Any) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import GenerationConfig

    out.mkdir(parents=True)
    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {token: number for number, token in enumerate([*special, *_bytes()])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(out / "tokenizer.json"))
    template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant] "
    _write(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "</s>",
            "padding_side": "left",
            "model_max_length": context,
            "chat_template": template,
        },
    )
    torch.manual_seed(SEED)
    made = model(
        config(
            vocab_size=len(vocabulary),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            initializer_range=0.2,
            num_key_value_heads=2,
            max_position_embeddings=context,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
            **options,
        )
    ).eval()
    # As instruct models have: a server that sampled by these would not repeat itself.
    made.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2, do_sample=True, temperature=0.6, top_p=0.9)
    made.save_pretrained(out)


def vit(out: Path) -> None:
    """A classifier of images of 32 x 32 pixels."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(SEED)
    labels = {number: f"class_{number}" for number in range(5)}
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        initializer_range=0.5,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    ViTForImageClassification(config).eval().save_pretrained(out)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(out)


def yolos_config() -> Any:
    """Of a detector with a canvas of 64 x 96 pixels."""
    from transformers import YolosConfig

    labels = {number: f"thing_{number}" for number in range(4)}
    return YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=[64, 96],
        patch_size=8,
        num_detection_tokens=QUERIES,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )


def yolos(out: Path) -> None:
    """A detector with, as published, an image processor that keeps the shape of images."""
    from transformers import YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(SEED)
    made = YolosForObjectDetection(yolos_config()).eval()
    made.vit.embeddings.detection_tokens.data.normal_()  # zeros at first: all queries would say the same
    made.save_pretrained(out)
    YolosImageProcessor().save_pretrained(out)


def stable_diffusion(out: Path) -> None:
    """The architecture of Stable Diffusion 2.1 with pictures of 64 x 64 pixels."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    _clip(out)
    UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        use_linear_projection=True,
    ).eval().save_pretrained(out / "unet")
    AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 32, 32, 32),
        norm_num_groups=8,
        layers_per_block=1,
        latent_channels=4,
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).eval().save_pretrained(out / "vae")
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    ).save_pretrained(out / "scheduler")
    parts = {
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
    }
    _write(
        out / "model_index.json",
        {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.35.0", "requires_safety_checker": False, **parts},
    )


def _clip(out: Path) -> None:
    """Tokenizer and text encoder."""
    from safetensors.torch import load_file, save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    letters = _bytes()
    ends = ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate([*letters, *(letter + "</w>" for letter in letters), *ends])}
    _write(out / "tokenizer" / "vocab.json", vocabulary)
    (out / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    _write(
        out / "tokenizer" / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            "bos_token": ends[0],
            "eos_token": ends[1],
            "unk_token": ends[1],
            "pad_token": ends[1],
        },
    )
    torch.manual_seed(SEED)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=len(vocabulary) - 2,
        eos_token_id=len(vocabulary) - 1,
        pad_token_id=len(vocabulary) - 1,
    )
    CLIPTextModel(config).eval().save_pretrained(out / "text_encoder")
    file = out / "text_encoder" / "model.safetensors"
    weights = load_file(file)  # transformers 5 leaves out the prefix that 4.57 needs; both read it with the prefix
    if not next(iter(weights)).startswith("text_model."):
        save_file({f"text_model.{name}": value for name, value in weights.items()}, file, metadata={"format": "pt"})


MAKERS: dict[str, Callable[[Path], None]] = {
    "bert": bert,
    "vit": vit,
    "yolos": yolos,
    "sd": stable_diffusion,
}
TASKS = {
    "bert": "text-classification",
    "vit": "image-classification",
    "yolos": "object-detection",
    "sd": "text-to-image",
}
