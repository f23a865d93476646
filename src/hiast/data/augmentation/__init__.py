"""Weak and strong augmentation, Fourier adaptation, and pasting of hard classes."""
