"""Published models by the numbers of their config.json.

The counts are exact and round to those of the model cards (0.6B, 1.7B, 4.0B, 8.2B, 14.8B, 32.8B, 30.5B; 1.54B, 7.61B).
A head that is tied to the embedding counts once.
"""

QWEN3 = {
    "model_type": "qwen3",
    "vocab_size": 151936,
    "head_dim": 128,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "max_position_embeddings": 40960,
    "eos_token_id": 151645,
}
QWEN25 = {
    "model_type": "qwen2",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "eos_token_id": 151645,
}


def _sizes(d_model, d_ff, n_layers, n_heads, tied) -> dict:
    return {
        "hidden_size": d_model,
        "intermediate_size": d_ff,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "tie_word_embeddings": tied,
    }


_EXPERTS = {
    "model_type": "qwen3_moe",
    "num_key_value_heads": 4,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
# name -> (config.json, n_params)
MODELS = {
    "Qwen3-0.6B": (QWEN3 | _sizes(1024, 3072, 28, 16, True), 596_049_920),
    "Qwen3-1.7B": (QWEN3 | _sizes(2048, 6144, 28, 16, True), 1_720_574_976),
    "Qwen3-4B": (QWEN3 | _sizes(2560, 9728, 36, 32, True), 4_022_468_096),
    "Qwen3-8B": (QWEN3 | _sizes(4096, 12288, 36, 32, False), 8_190_735_360),
    "Qwen3-14B": (QWEN3 | _sizes(5120, 17408, 40, 40, False), 14_768_307_200),
    "Qwen3-32B": (QWEN3 | _sizes(5120, 25600, 64, 64, False), 32_762_123_264),
    "Qwen3-30B-A3B": (QWEN3 | _sizes(2048, 6144, 48, 32, False) | _EXPERTS, 30_532_122_624),
    "Qwen2.5-1.5B": (
        QWEN25 | _sizes(1536, 8960, 28, 12, True) | {"vocab_size": 151936, "num_key_value_heads": 2},
        1_543_714_304,
    ),
    "Qwen2.5-7B": (
        QWEN25 | _sizes(3584, 18944, 28, 28, False) | {"vocab_size": 152064, "num_key_value_heads": 4},
        7_615_616_512,
    ),
}
