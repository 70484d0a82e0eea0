# SPDX-License-Identifier: Apache-2.0
"""Makes data into models: tokenizer, small llama, trainer, GGUF export, parity check."""
