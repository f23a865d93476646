"""Losses straight from coarse logits: value and gradient in one pass over blocks of rows."""
