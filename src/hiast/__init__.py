"""Unsupervised domain adaptation for semantic segmentation by hard-aware instance adaptive self-training."""

import lazy_loader

__version__ = "0.2.0"

# torch and Lightning take seconds to import: a name is imported when it is first used. The names and their modules are
# listed once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
